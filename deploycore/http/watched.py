"""HTTP connections whose sockets another thread can shut down; see ``http.wire``."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from deploycore.http.wire import Wire

__all__ = ["PlainConnection", "SecureConnection"]

_HEAD_BYTES_MOST = 1024 * 1024
"""Maximum number of bytes until a response's header is complete, interim responses (1xx)
included."""


class _WatchedIO(io.RawIOBase):
    """Reads from a socket as long as the data is needed."""

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
