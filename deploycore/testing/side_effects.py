"""Detect changes that code makes to its process, with an audit hook and a comparison of the state
before and after.

Source: https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import errno
import http.client
import importlib
import json
import locale
import logging
import os
import signal
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["SERVING_THREADS", "Watch", "changes_of", "main", "process_state", "threads_left"]

SERVING_THREADS = ("loopback-host", "webhook-sender")
"""The names of the sandbox's threads, which are ignored."""

THREAD_SECONDS = 3
"""Seconds in which threads must end after the provider was closed."""

_FILE_BYTES_MOST = 1 << 20
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BY_PYTEST = "PYTEST_CURRENT_TEST"
_CHILDREN: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    "subprocess.Popen": lambda given: [given[0], given[1]],
    "os.exec": lambda given: [given[0], given[1]],
    "os.posix_spawn": lambda given: [given[0], given[1]],
    "os.spawn": lambda given: [given[1], given[2]],
    "os.system": lambda given: given[0],
    "pty.spawn": lambda given: given[0],
}

_lock = threading.Lock()
_is_installed = False
_current: Watch | None = None


class Watch:
    """Records what the process does during the block. Only one can be active at a time.

    An audit hook cannot be removed from a process. So there is only one, and a flag tells it
    whether to record.

    Args:
        reachable: The host and port that may be connected to. Connections to other addresses are
            recorded, and refused before anything is sent.

    Attributes:
        places: The other addresses that were looked up or connected to, as ``host:port``.
        arguments: The command lines of child processes.
        environment: The variables that were set, as ``NAME=value``.
        directories: The arguments of ``chdir``.
        contents: The content of files that were written, by path.
    """

    def __init__(self, reachable: tuple[str, int] | None = None) -> None:
        self.places: list[str] = []
        self.arguments: list[str] = []
        self.environment: list[str] = []
        self.directories: list[str] = []
        self.contents: dict[str, str] = {}
        self._reachable = reachable
        self._written: list[str] = []
        self._reading = threading.local()

    def __enter__(self) -> Self:
        global _current, _is_installed
        with _lock:
            if not _is_installed:
                sys.addaudithook(_audit)
                _is_installed = True
            _current = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        global _current
        with _lock:
            _current = None
        for path in self._written:
            self._keep(path)

    def note(self, event: str, given: tuple[Any, ...]) -> None:
        """Record one event of the process.

        Raises:
            ConnectionRefusedError: It is a connection to an address that is not ``reachable``.
        """
        if getattr(self._reading, "now", False):
            return
        if threading.current_thread().name.startswith(SERVING_THREADS):
            return
        if event.startswith("socket."):
            self._connecting(event, given)
        elif event in _CHILDREN:
            self.arguments.append(_flat(_CHILDREN[event](given)))
        elif event == "os.putenv":
            self.environment.append(f"{_flat(given[0])}={_flat(given[1])}")
        elif event == "os.chdir":
            self.directories.append(_flat(given[0]))
        else:
            self._file(event, given)

    def _connecting(self, event: str, given: tuple[Any, ...]) -> None:
        place = given[:2] if event.startswith("socket.get") else given[1]
        if not isinstance(place, tuple) or not place or place[0] in (None, ""):
            return  # a socket within this machine, or an address to listen on
        host, port = _flat(place[0]), _flat(place[1]) if len(place) > 1 else ""
        if self._reachable is not None:
            own, own_port = self._reachable
            is_own = host == own or (host in _LOOPBACK and own in _LOOPBACK)
            if is_own and port in (str(own_port), "", "None"):
                return
        self.places.append(f"{host}:{port}")
        raise ConnectionRefusedError(errno.ECONNREFUSED, "only the configured host is reachable")

    def _file(self, event: str, given: tuple[Any, ...]) -> None:
        path = given[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.abspath(os.fsdecode(path))
        if event == "open":
            mode, flags = given[1], given[2]
            writing = set(mode) & set("wax+") if isinstance(mode, str) else flags & _WRITING
            if writing:
                self._written.append(name)
        elif event == "sqlite3.connect":
            self._written.append(name)
        elif name in self._written:
            self._keep(name)
            if event == "os.rename":
                self._written.append(os.path.abspath(os.fsdecode(given[1])))

    def _keep(self, path: str) -> None:
        """Record the content of a file, also if it is about to be removed."""
        self._reading.now = True
        try:
            with suppress(OSError):
                if stat.S_ISREG(os.stat(path).st_mode):
                    with open(path, "rb") as file:
                        text = file.read(_FILE_BYTES_MOST).decode("utf-8", "replace")
                    self.contents[path] = self.contents.get(path, "") + text
        finally:
            self._reading.now = False


_WATCHED = frozenset(
    {
        "open",
        "os.remove",
        "os.rename",
        "os.putenv",
        "os.chdir",
        "socket.connect",
        "socket.sendto",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "sqlite3.connect",
        *_CHILDREN,
    }
)


def _audit(event: str, given: tuple[Any, ...]) -> None:
    watch = _current
    if watch is not None and event in _WATCHED:
        watch.note(event, given)


def process_state() -> Mapping[str, object]:
    """Return the state that the whole process shares.

    Returns:
        A value for each part of the state, by its description. Values are equal if the part has not
        changed.
    """
    root = logging.getLogger()
    opener = sys.modules.get("urllib.request")
    return {
        "the working directory (os.chdir)": os.getcwd(),
        "sys.path": tuple(sys.path),
        "sys.stdout": id(sys.stdout),
        "sys.stderr": id(sys.stderr),
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        "the recursion limit (sys.setrecursionlimit)": sys.getrecursionlimit(),
        "the handlers of the root logger (logging.basicConfig)": tuple(map(id, root.handlers)),
        "the level of the root logger (logging.basicConfig)": root.level,
        "the level of all loggers (logging.disable)": root.manager.disable,
        "the class of loggers (logging.setLoggerClass)": logging.getLoggerClass(),
        "the time-out of all sockets (socket.setdefaulttimeout)": socket.getdefaulttimeout(),
        "the socket module": (socket.socket, socket.create_connection, socket.getaddrinfo),
        "the verification of TLS certificates (ssl)": (
            ssl._create_default_https_context,
            ssl.create_default_context,
            ssl.SSLContext,
        ),
        "the debugging output of http.client": http.client.HTTPConnection.debuglevel,
        "the opener of urllib (install_opener)": id(getattr(opener, "_opener", None)),
        "the handlers of signals": {
            number: signal.getsignal(number) for number in signal.valid_signals()
        },
        "the locale": locale.setlocale(locale.LC_ALL),
        "the time zone": time.tzname,
        "the umask": _umask(),
        **_environment(),
    }


def changes_of(before: Mapping[str, object]) -> list[str]:
    """Return the parts of the process's state that have changed, without their values."""
    now = process_state()
    return sorted(name for name in {*before, *now} if before.get(name, None) != now.get(name, None))


def threads_left(before: Collection[threading.Thread]) -> list[str]:
    """Return the names of threads that did not exist before and do not end."""
    ends = time.monotonic() + THREAD_SECONDS
    for thread in _others(before):
        thread.join(max(0.0, ends - time.monotonic()))
    return sorted(thread.name for thread in _others(before))


def main(arguments: list[str]) -> None:
    """Import modules, and write the side effects of the imports into a file, as JSON.

    Args:
        arguments: The file, and the names of the modules.
    """
    report, *modules = arguments
    # imported first, because it is imported before any plugin
    importlib.import_module("deploycore.provider.handle")
    before, threads = process_state(), set(threading.enumerate())
    failure = ""
    with Watch() as watch:
        for module in modules:
            try:
                importlib.import_module(module)
            except Exception as error:
                failure = f"{module} cannot be imported: {type(error).__name__}: {error}"
    found = [
        *([failure] if failure else []),
        *(f"it changes {name}" for name in changes_of(before)),
        *(f"it connects to {place}" for place in watch.places),
        *(f"it calls os.chdir({place!r})" for place in watch.directories),
        *(f"it starts the thread {name}, which does not end" for name in threads_left(threads)),
    ]
    sys.stdout.flush()
    Path(report).write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)  # otherwise the process would wait for threads that are left


def _others(before: Collection[threading.Thread]) -> Iterable[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.name.startswith(SERVING_THREADS)
    ]


def _environment() -> Mapping[str, object]:
    return {
        f"the environment variable {name}": value
        for name, value in os.environ.items()
        if name != _BY_PYTEST
    }


def _umask() -> str:
    """Read a value without setting it, if that is possible, because other threads would notice a
    change."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as lines:
        return next((line for line in lines if line.startswith("Umask:")), "")
    return ""


def _flat(value: Any) -> str:
    """Yield all texts within an argument."""
    if isinstance(value, bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, list | tuple):
        return " ".join(map(_flat, value))
    return str(value)


if __name__ == "__main__":
    main(sys.argv[1:])
