"""Connect to the server that the command line or the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from deploycore.cli.remote import SERVER_VARIABLE
from deploycore.errors import UnexpectedAnswer
from deploycore.remote import Logins, RemoteServer
from deploycore.remote.server import server_url

__all__ = ["connected", "misread_answer"]

_WRONG_FORM = (LookupError, TypeError, ValueError, AttributeError)

_asked: list[str] = []
"""The servers that this command has contacted."""


@contextmanager
def connected() -> Iterator[RemoteServer]:
    """Return the server of ``--server`` or ``DEPLOYCORE_SERVER``.

    Raises:
        ConfigurationError: The address is invalid, or nobody is signed in there.
    """
    url = server_url(os.environ[SERVER_VARIABLE])
    with RemoteServer(url, Logins().token(url)) as server:
        _asked.append(url)
        yield server


def misread_answer(error: BaseException) -> UnexpectedAnswer | None:
    """Return the error for an unexpected exception of a command that has contacted a server: its
    response has another form than this version reads. ``None`` if no server was contacted."""
    if not (_asked and isinstance(error, _WRONG_FORM)):
        return None
    return UnexpectedAnswer(
        f"The server {_asked[-1]} sent a response that this deploycore cannot read.",
        hint="Check the address. If it is right, use the same version of deploycore here and on the"
        " server.",
        server=_asked[-1],
    )
