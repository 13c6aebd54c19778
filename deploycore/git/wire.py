"""The connections of one fetch, in a form that another thread or a signal handler can cut.

Timeouts of sockets begin anew with every byte, so a server that sends one byte a minute meets
none of them, and a thread that waits in ``recv`` looks at nothing. Shutting the socket down
ends such a wait at once; that is what the deadline and a cancellation do.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from certifi import where
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

from deploycore.errors import ConfigurationError
from deploycore.git.operation import Operation

__all__ = ["Wire", "open_pool"]


class Wire:
    """The sockets that are open for one fetch."""

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()
        self._cut = False

    def add(self, connected: socket.socket) -> None:
        """Watch a socket. A duplicate is kept, since TLS takes the original's descriptor away."""
        self._sockets += (connected.dup(),)
        if self._cut:
            self.cut()

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


@contextmanager
def open_pool(url: str, operation: Operation) -> Iterator[HTTPConnectionPool]:
    """Connections to the one origin of ``url``: no redirects, no retries, no other hosts.

    They end when the operation's time is over or when it is cancelled.

    Raises:
        ConfigurationError: The certificates to trust are not there.
    """
    wire = Wire()
    pool = _pool(urlsplit(url), operation, wire)
    deadline = threading.Timer(operation.remaining, wire.cut)
    deadline.daemon = True
    deadline.start()
    try:
        with operation.cancellation.waking(wire.cut):
            yield pool
    finally:
        deadline.cancel()
        pool.close()
        wire.close()


def _pool(place: SplitResult, operation: Operation, wire: Wire) -> HTTPConnectionPool:
    settings = operation.settings
    options: dict[str, Any] = {
        "timeout": Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
        "retries": False,
        "wire": wire,
    }
    host = place.hostname or ""
    if place.scheme == "http":
        return _PlainPool(host, place.port, **options)
    trusted = settings.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or where()
    return _SecurePool(host, place.port, **_trusting(trusted), **options)


def _trusting(certificates: str) -> dict[str, Any]:
    if not os.path.exists(certificates):
        raise ConfigurationError(
            f"The CA certificates {certificates!r} are not there.",
            hint="Name a file, or a directory made by c_rehash, in REQUESTS_CA_BUNDLE.",
            path=certificates,
        )
    return {"ca_cert_dir" if os.path.isdir(certificates) else "ca_certs": certificates}


class _PlainConnection(HTTPConnection):
    """A connection whose socket is watched; TLS is put on it later."""

    def __init__(self, *args: Any, wire: Wire, **options: Any) -> None:
        self._wire = wire
        super().__init__(*args, **options)

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self._wire.add(connected)
        return connected


class _SecureConnection(_PlainConnection, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
