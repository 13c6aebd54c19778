"""Import of AsyncSSH, which is installed with an extra."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from deploycore.errors import ConfigurationError

__all__ = ["require_extra"]


def require_extra() -> None:
    """Import AsyncSSH, and turn off the parts that deploycore does not need.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        import asyncssh.connection
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise ConfigurationError(
            "SSH needs a package that is not installed.",
            hint="Install it: pip install 'deploycore[ssh]'",
        )
    # It asks for the local user's name, for OpenSSH's default of the remote one. A container's user
    # may have none, and then it would fail.
    vars(asyncssh.connection)["getpass"] = SimpleNamespace(getuser=lambda: "git")
    log = logging.getLogger("asyncssh")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)  # below that, it repeats what servers say
