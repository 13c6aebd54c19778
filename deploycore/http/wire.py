"""Network connections that another thread can shut down. All deadlines on the network use them.

A socket's timeout starts again with every byte. So a server that sends one byte a minute, or one
interim response after another, never exceeds it, and a thread that waits in ``recv`` cannot check
anything. Shutting down the socket ends such a wait at once. Data that arrived before is still in
the buffers of the system, so each read first checks whether the connection is still wanted.

The API client, git, Git LFS and health checks all connect through this module.
"""

from __future__ import annotations

import errno
import io
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

__all__ = ["PlainConnection", "SecureConnection", "Wire", "cutting_after"]

_CONNECTING_STEP = 0.1
_HEAD_BYTES_MOST = 1024 * 1024
"""What may arrive until an answer's header is complete, interim responses (1xx) included."""


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
        """Look up a name in a thread: nothing can interrupt the system's resolver. One that does
        not answer is left to its own time-out; its thread only waits."""
        outcome: list[list[Any] | Exception] = []

        def look_up() -> None:
            try:
                family = allowed_gai_family()
                outcome.append(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
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


@contextmanager
def cutting_after(wire: Wire, seconds: float) -> Iterator[None]:
    """Shut down a wire after a time. At the end of the block, close it and stop the timer's thread.

    Args:
        seconds: The time from now.
    """
    seconds = max(0.0, seconds)
    wire.end_at(time.monotonic() + seconds)
    deadline = threading.Timer(seconds, wire.cut)
    deadline.name, deadline.daemon = "deploycore-deadline", True
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()
        deadline.join()
        wire.close()


class _WatchedIO(io.RawIOBase):
    """Reads from a socket as long as the data is wanted."""

    def __init__(self, raw: io.RawIOBase, wire: Wire) -> None:
        self._raw = raw
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self._wire.read(self._raw, buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WatchedResponse(HTTPResponse):
    """A response whose reads can all be interrupted, also those of its header."""

    def __init__(self, wire: Wire, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        self._wire = wire
        wire.allow(_HEAD_BYTES_MOST)
        # The type of the buffered reader that ``makefile`` returns.
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_WatchedIO(raw, wire))

    def begin(self) -> None:
        """Read the header, and skip interim responses (RFC 9110, 15.2)."""
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        self._wire.allow(None)


class PlainConnection(HTTPConnection):
    """A connection whose socket is watched. TLS is added later.

    Args:
        wire: Returns the wire of the request that uses the connection now.
    """

    def __init__(self, *args: Any, wire: Callable[[], Wire], **options: Any) -> None:
        self._wire = wire
        self._watched_by: Wire | None = None
        super().__init__(*args, **options)

    def response_class(self, sock: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        """Create the reader of a response, also for a proxy's response to CONNECT."""
        return _WatchedResponse(self._wire(), sock, **options)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request. The connection may have been used by a previous request."""
        wire = self._wire()
        if self.sock is not None and self._watched_by is not wire:
            wire.watch(self.sock)
            self._watched_by = wire
        super().request(*args, **options)

    def _new_conn(self) -> socket.socket:
        wire = self._wire()
        try:
            host = self._dns_host.strip("[]")
            connected = wire.connect(host, self.port, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"{self.host} cannot be reached: {error}") from error
        self._watched_by = wire
        sys.audit("http.client.connect", self, self.host, self.port)
        return connected


class SecureConnection(PlainConnection, HTTPSConnection):
    """A watched connection with TLS."""
