"""Network connections that another thread can shut down. All deadlines on the network use them.

A socket's timeout starts again with every byte. So a server that sends one byte a minute, or one
interim response after another, never exceeds it, and a thread that waits in ``recv`` cannot check
anything. Shutting down the socket ends such a wait at once. Data that arrived before is still in
the buffers of the system, so each read first checks whether the connection is still wanted.

The API client, git over HTTP and SSH, Git LFS and health checks all connect through this module. It
needs no package; ``http.watched`` has the connections of urllib3.
"""

from __future__ import annotations

import _thread
import errno
import io
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

__all__ = ["Wire", "cutting_after"]

_CONNECTING_STEP = 0.1


class Wire:
    """The open sockets of one operation, such as a request or a fetch.

    Args:
        connect_timeout: The maximum seconds to connect to each address of a host.
        check: Raises an error if the connection is no longer wanted.
    """

    def __init__(self, connect_timeout: float, check: Callable[[], None] = lambda: None) -> None:
        self._timeout = connect_timeout
        self._check = check
        self._sockets: tuple[socket.socket, ...] = ()
        self._cut = False
        self._allowed: int | None = None
        self._has_overrun = False
        self._ends_at = float("inf")

    @property
    def seconds_left(self) -> float:
        """The seconds until the connection is shut down."""
        return max(0.0, self._ends_at - time.monotonic())

    def end_at(self, moment: float) -> None:
        """Set the time at which the connection is shut down, in ``time.monotonic``."""
        self._ends_at = moment

    @property
    def is_cut(self) -> bool:
        """Whether ``cut`` was called."""
        return self._cut

    @property
    def has_overrun(self) -> bool:
        """Whether more data arrived than is allowed."""
        return self._has_overrun

    def connect(self, host: str, port: int, options: Iterable[Any] = ()) -> socket.socket:
        """Connect to the first of a host's addresses that responds, and watch the socket.

        Args:
            options: Arguments of ``setsockopt``.

        Raises:
            OSError: The host has no address, none can be reached, or ``cut`` was called.
            DeploycoreError: The error of ``check``.
        """
        failure = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in self._addresses(host, port):
            connecting = socket.socket(family, kind, protocol)
            try:
                for each in options:
                    connecting.setsockopt(*each)
                self._wait_for(connecting, address)
                self.watch(connecting)
                return connecting
            except OSError as error:
                failure = error
                connecting.close()
            except BaseException:
                connecting.close()
                raise
        raise failure

    def watch(self, connected: Any) -> None:
        """Watch a socket. A duplicate is kept, because TLS takes over the descriptor of the
        original."""
        self._sockets += (socket.socket(fileno=os.dup(connected.fileno())),)
        if self._cut:
            self.cut()

    def allow(self, count: int | None) -> None:
        """Set how many more bytes may arrive; ``None`` for any number.

        A reader calls this again for each piece of content. So a server cannot keep it busy with
        data without content, such as trailers, chunk extensions and empty compressed blocks.
        """
        self._allowed = count

    def read(self, raw: io.RawIOBase, buffer: Any) -> int | None:
        """Read from a watched socket.

        Raises:
            OSError: ``cut`` was called, more data arrived than is allowed, or reading failed.
        """
        self._raise_if_cut()
        count: int | None = raw.readinto(buffer)
        self._raise_if_cut()  # otherwise this would look like the end of the response
        if self._allowed is not None and count:
            self._allowed -= count
            if self._allowed < 0:
                self._has_overrun = True
                raise ConnectionAbortedError(errno.ECONNABORTED, "too much arrived")
        return count

    def cut(self) -> None:
        """End everything that is being sent or received, and prevent new connections."""
        self._cut = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the duplicates of the sockets."""
        for each in self._sockets:
            each.close()
        self._sockets = ()

    def _addresses(self, host: str, port: int) -> list[Any]:
        """Look up a name in a thread, because the system's resolver cannot be interrupted. If it
        does not answer, its thread waits until the resolver's own timeout. An address needs no
        resolver."""
        if _is_address(host):
            return socket.getaddrinfo(
                host, port, _family(), socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        outcome: list[list[Any] | Exception] = []

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(host, port, _family(), socket.SOCK_STREAM)
                outcome.append(found)
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=look_up, name="deploycore-resolver", daemon=True)
        thread.start()
        while thread.is_alive():
            self._check()
            self._raise_if_cut()
            thread.join(_CONNECTING_STEP)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def _wait_for(self, connecting: socket.socket, address: Any) -> None:
        end = time.monotonic() + self._timeout
        connecting.setblocking(False)
        failed = connecting.connect_ex(address)
        with selectors.DefaultSelector() as selector:
            selector.register(connecting, selectors.EVENT_WRITE)
            while failed == errno.EINPROGRESS:
                self._check()
                self._raise_if_cut()
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if selector.select(min(left, _CONNECTING_STEP)):
                    failed = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        connecting.settimeout(self._timeout)

    def _raise_if_cut(self) -> None:
        if self._cut:
            raise ConnectionAbortedError(errno.ECONNABORTED, "it was cut")


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return True
    return False


@contextmanager
def cutting_after(wire: Wire, seconds: float) -> Iterator[None]:
    """Shut down a wire after a time. At the end of the block, close it and stop the timer's thread.

    Args:
        seconds: The time from now.
    """
    seconds = min(max(0.0, seconds), threading.TIMEOUT_MAX)
    wire.end_at(time.monotonic() + seconds)
    # Two locks and a plain thread, because every request has one: the events and the other locks of
    # a ``threading.Timer`` take twice as long.
    in_use, watched = _thread.allocate_lock(), _thread.allocate_lock()

    def watch() -> None:
        try:
            if not in_use.acquire(timeout=seconds):
                wire.cut()
        finally:
            watched.release()

    in_use.acquire()
    watched.acquire()
    _thread.start_new_thread(watch, ())
    try:
        yield
    finally:
        in_use.release()
        watched.acquire()
        wire.close()


@cache
def _family() -> socket.AddressFamily:
    """Return the kind of addresses to look up: any, or IPv4 on a system without IPv6."""
    if socket.has_ipv6:
        with suppress(OSError), socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
            return socket.AF_UNSPEC
    return socket.AF_INET
