"""Import of AsyncSSH, which is installed with an extra."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock
from types import SimpleNamespace

from deploycore.errors import ConfigurationError

__all__ = ["refuse_missing_extra", "require_extra"]

_UNUSED_LIBRARIES = frozenset({"oqs", "liboqs", "nettle", "libnettle", "libnettle-6"})
"""Libraries that AsyncSSH looks for when it is imported. They add a key exchange (sntrup761) and
message authentication (UMAC) to what the package cryptography has; no server offers only these."""

_UNUSED_MODULES = ("asyncssh.crypto.x509", "asyncssh.gss_unix", "asyncssh.gss_win32")
"""Modules that are optional for AsyncSSH: X.509 certificates, which take a sixth of the time of its
import, and GSSAPI. deploycore never uses them to sign in or to verify a server."""

_importing = Lock()


def require_extra() -> None:
    """Import AsyncSSH, and turn off the parts that deploycore does not need.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    try:
        with _importing, _unused_libraries_not_found(), _unused_modules_not_found():
            import asyncssh.connection
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise _missing_extra()
    # It asks for the local user's name, for OpenSSH's default of the remote one. A container's user
    # may have none, and then it would fail.
    vars(asyncssh.connection)["getpass"] = SimpleNamespace(getuser=lambda: "git")
    log = logging.getLogger("asyncssh")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)  # below that, it repeats what servers say


def refuse_missing_extra() -> None:
    """Refuse to go on without AsyncSSH, which is not imported yet.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    if find_spec("asyncssh") is None:
        raise _missing_extra()


def _missing_extra() -> ConfigurationError:
    return ConfigurationError(
        "SSH needs a package that is not installed.",
        hint="Install it: pip install 'deploycore[ssh]'",
    )


@contextmanager
def _unused_libraries_not_found() -> Iterator[None]:
    """Report the unused libraries as not installed, and find all others as before.

    To find one, ctypes runs ldconfig, a C compiler and a linker. That takes as long as the rest of
    the import, and a program that deploys should not run compilers.
    """
    import ctypes.util  # a process that only hands over the connection does not need it

    find = ctypes.util.find_library
    try:
        ctypes.util.find_library = lambda name: None if name in _UNUSED_LIBRARIES else find(name)
        yield
    finally:
        ctypes.util.find_library = find


@contextmanager
def _unused_modules_not_found() -> Iterator[None]:
    """Make the import of an unused module fail, unless it was imported before."""
    absent = [each for each in _UNUSED_MODULES if each not in sys.modules]
    try:
        sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
        yield
    finally:
        for each in absent:
            if sys.modules.get(each, absent) is None:
                del sys.modules[each]
