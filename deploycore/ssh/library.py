"""Import of AsyncSSH, which is installed with an extra."""

from __future__ import annotations

import ctypes.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import SimpleNamespace

from deploycore.errors import ConfigurationError

__all__ = ["require_extra"]

_UNUSED_LIBRARIES = frozenset({"oqs", "liboqs", "nettle", "libnettle", "libnettle-6"})
"""Libraries that AsyncSSH looks for when it is imported. They add a key exchange (sntrup761) and
message authentication (UMAC) to what the package cryptography has; no server offers only these."""

_importing = Lock()


def require_extra() -> None:
    """Import AsyncSSH, and turn off the parts that deploycore does not need.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        with _importing, _unused_libraries_not_found():
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


@contextmanager
def _unused_libraries_not_found() -> Iterator[None]:
    """Report the unused libraries as not installed, and find all others as before.

    To find one, ctypes runs ldconfig, a C compiler and a linker. That takes as long as the rest of
    the import, and a program that deploys should not run compilers.
    """
    find = ctypes.util.find_library
    try:
        ctypes.util.find_library = lambda name: None if name in _UNUSED_LIBRARIES else find(name)
        yield
    finally:
        ctypes.util.find_library = find
