"""Connections that another thread can cut: how every deadline on a network is kept.

Timeouts of sockets begin anew with every byte, so a server that sends one byte a minute, or one
interim response after another, meets none of them, and a thread that waits in ``recv`` checks
nothing. Shutting the socket down ends such a wait at once. What arrived before that is still in
the buffers of the system, so each read asks first whether it is still wanted.

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

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

__all__ = ["PlainConnection", "SecureConnection", "WatchedAdapter", "Wire", "cutting_after"]

_CONNECTING_STEP = 0.1
_HEAD_BYTES_MOST = 1024 * 1024
"""What may arrive until an answer's header is complete, interim responses (1xx) included."""


class Wire:
    """The sockets that are open for one purpose, such as a request or a fetch.

    Args:
        connect_timeout: Seconds for each address of a host.
        check: Raises where a connection is no longer wanted.
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
        """Until it is cut."""
        return max(0.0, self._ends_at - time.monotonic())

    def end_at(self, moment: float) -> None:
        """Note when it is going to be cut, in the time of ``time.monotonic``."""
        self._ends_at = moment

    @property
    def is_cut(self) -> bool:
        """Whether ``cut`` was called."""
        return self._cut

    @property
    def has_overrun(self) -> bool:
        """Whether more arrived than was allowed."""
        return self._has_overrun

    def connect(self, host: str, port: int, options: Iterable[Any] = ()) -> socket.socket:
        """Connect to one of a host's addresses, the first that answers, and watch the socket.

        Args:
            options: Arguments of ``setsockopt``.

        Raises:
            OSError: There is no address, none can be reached, or all was cut.
            DeploycoreError: What ``check`` raises.
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
        """Watch a socket. A duplicate is kept, since TLS takes the original's descriptor away."""
        self._sockets += (socket.socket(fileno=os.dup(connected.fileno())),)
        if self._cut:
            self.cut()

    def allow(self, count: int | None) -> None:
        """Let so many bytes more arrive, or any number.

        Whoever reads content sets this anew for each piece of it, so that a server can't keep
        the reader busy with what holds none: trailers, chunk extensions, empty compressed blocks.
        """
        self._allowed = count

    def read(self, raw: io.RawIOBase, buffer: Any) -> int | None:
        """Read from a watched socket.

        Raises:
            OSError: It was cut, more arrived than was allowed, or reading failed.
        """
        self._raise_if_cut()
        count: int | None = raw.readinto(buffer)
        self._raise_if_cut()  # else the end would pass for that of the answer
        if self._allowed is not None and count:
            self._allowed -= count
            if self._allowed < 0:
                self._has_overrun = True
                raise ConnectionAbortedError(errno.ECONNABORTED, "too much arrived")
        return count

    def cut(self) -> None:
        """End all that is sent or received now, and all that would be."""
        self._cut = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the duplicates back."""
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
    """Cut a wire when the time is over; closes it, and leaves no thread behind.

    Args:
        seconds: From now on.
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
    """What a socket receives, as long as that is wanted."""

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
    """A response whose every read can be cut, also while its header is being read."""

    def __init__(self, wire: Wire, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        self._wire = wire
        wire.allow(_HEAD_BYTES_MOST)
        # The type is that of a buffered reader, as ``makefile`` makes it.
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_WatchedIO(raw, wire))

    def begin(self) -> None:
        """Read the header, and pass over interim responses (RFC 9110, 15.2)."""
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        self._wire.allow(None)


class PlainConnection(HTTPConnection):
    """A connection whose socket is watched; TLS is put on it later.

    Args:
        wire: Gives the wire of the request that the connection is used for now.
    """

    def __init__(self, *args: Any, wire: Callable[[], Wire], **options: Any) -> None:
        self._wire = wire
        self._watched_by: Wire | None = None
        super().__init__(*args, **options)

    def response_class(self, sock: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        """Make what reads an answer, also a proxy's answer to CONNECT."""
        return _WatchedResponse(self._wire(), sock, **options)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, perhaps on a connection that was made for a former one."""
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
    """The same, with TLS."""


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """Makes the connections of a session of requests ones that can be cut.

    Args:
        wire: Gives the wire of the request that is sent by this thread now.
        connections: Kept open at once for each host.
    """

    def __init__(self, wire: Callable[[], Wire], *, connections: int = 1) -> None:
        super().__init__(pool_maxsize=connections)
        self._wire = wire

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Choose the pool of a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = SecureConnection if pool.scheme == "https" else PlainConnection
        pool.conn_kw["wire"] = self._wire
        return pool
