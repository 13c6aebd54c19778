"""Connect to the server that the command line or the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from deploycore.cli.remote import SERVER_VARIABLE
from deploycore.remote import Logins, RemoteServer
from deploycore.remote.server import server_url

__all__ = ["connected"]


@contextmanager
def connected() -> Iterator[RemoteServer]:
    """Return the server of ``--server`` or ``DEPLOYCORE_SERVER``.

    Raises:
        ConfigurationError: The address is invalid, or nobody is signed in there.
    """
    url = server_url(os.environ[SERVER_VARIABLE])
    with RemoteServer(url, Logins().token(url)) as server:
        yield server
