"""Limits on connections: how many are open, and how much is read from each.

A connection that exceeds a limit is ended before the application, or even a task, exists for it.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploycore.server.options import ServerOptions
from deploycore.server.quiet import QuietLogger
from deploycore.server.senders import sender_of

__all__ = ["Connection", "Connections"]

quiet = QuietLogger(logging.getLogger(__name__))

_IDLE_SECONDS = 10.0
_CONNECTIONS_MOST = 2000
_SHARE = 8
"""A sender may have this fraction (one in ``_SHARE``) of all connections."""

_SHARE_LEAST = 16
_HEAD_BYTES_MOST = 64 * 1024
_HEADERS_MOST = 100
_PIPELINED_MOST = 8
_CHUNKS_FREE = 1000
_CHUNK_BYTES_LEAST = 128
"""The minimum mean size of a body's chunks, if there are many. Each chunk costs as much as a large
one. Senders and proxies create chunks of kilobytes."""


class Connections:
    """All connections of a server, by sender.

    If there are too many, the oldest connection without a complete request is closed: that of a
    sender above its share, or else that of the sender with the most connections. So a new sender
    always gets a connection.

    Args:
        are_shared: Whether senders have shares. They have none if all connections come from a
            proxy.
    """

    def __init__(self, *, are_shared: bool) -> None:
        self._are_shared = are_shared
        self._count = 0
        self._by_sender: dict[str, dict[Connection, None]] = {}

    def admit(self, connection: Connection) -> bool:
        """Count a connection, unless there are too many."""
        most, sender = connections_most(), connection.sender
        own = len(self._by_sender.get(sender, ()))
        if self._are_shared and own >= max(most // _SHARE, _SHARE_LEAST):
            quiet.warn("share", "%s already uses its share of %d connections", sender, own)
            if not self._end_one_of(sender):
                return False
        elif self._count >= most:
            quiet.warn("connections", "all %d connections are in use", most)
            if not self._end_one_of(max(self._by_sender, key=self._count_of)):
                return False
        self._count += 1
        self._by_sender.setdefault(sender, {})[connection] = None
        return True

    def remove(self, connection: Connection) -> None:
        """Stop counting a connection. This can be called twice."""
        own = self._by_sender.get(connection.sender, {})
        if connection in own:
            del own[connection]
            self._count -= 1
            if not own:
                del self._by_sender[connection.sender]

    def _count_of(self, sender: str) -> int:
        return len(self._by_sender[sender])

    def _end_one_of(self, sender: str) -> bool:
        """End the oldest connection of a sender that has no complete request, if there is one."""
        own = self._by_sender[sender]
        ended = next((each for each in own if not each.is_being_answered), None)
        if ended is None:
            return False
        self.remove(ended)
        ended.transport.abort()
        return True


def connections_most() -> int:
    """Return the maximum number of connections. It leaves half of the files that the process may
    open to everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS_MOST if files < 0 else min(_CONNECTIONS_MOST, files // 2)


class _Refused(Exception):
    """Raised to stop the parser."""


class Connection(HttpToolsProtocol):
    """A connection that is counted, and is closed if it does not send a complete request in time.

    Without this, clients that connect and send nothing could use up this process's open files. Then
    no client would get a response, and asyncio would log this endlessly.

    The HTTP parser has no limits, so this class checks them while it parses.

    Args:
        admitted: All connections of the server.
    """

    _looking: asyncio.TimerHandle | None = None
    _answered: object = None
    _received = 0
    _headers = 0
    _chunks = 0
    _is_in_body = False

    def __init__(
        self, config: uvicorn.Config, *args: Any, admitted: Connections, options: ServerOptions,
        **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(config, *args, **more)
        self._admitted = admitted
        self._request_bytes_most = 2 * options.body_bytes_most + _HEAD_BYTES_MOST
        self.sender = "-"

    @property
    def is_being_answered(self) -> bool:
        """Whether a complete request has arrived, and its response has not been sent."""
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        self.sender = sender_of(self.client[0] if self.client else "")
        if self._admitted.admit(self):
            self._looking = self.loop.call_later(_IDLE_SECONDS, self._look)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        super().connection_lost(exc)
        self._admitted.remove(self)
        if self._looking is not None:
            self._looking.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, within the limits."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        super().data_received(data)
        if not self.transport.is_closing() and self._is_too_much():
            self.send_400_response("The request is too large.")

    def send_400_response(self, msg: str) -> None:
        """Reject invalid data, unless a response has begun."""
        if self.pipeline or (self.cycle is not None and self.cycle.response_started):
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Start a new count for each request."""
        super().on_message_begin()
        self._received = self._headers = self._chunks = 0
        self._is_in_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is counted, but not used as a header (RFC 9110, 6.5.1)."""
        self._headers += 1
        if self._headers > _HEADERS_MOST:
            raise _Refused
        if not self._is_in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to respond."""
        super().on_headers_complete()
        self._is_in_body = True
        if len(self.pipeline) > _PIPELINED_MOST:
            raise _Refused

    def on_chunk_header(self) -> None:
        """Count a chunk of the body; the parser calls this before each."""
        self._chunks += 1
        too_many = self._chunks > _CHUNKS_FREE + self._received // _CHUNK_BYTES_LEAST
        if too_many:
            raise _Refused

    def _is_too_much(self) -> bool:
        if not self._is_in_body:
            return self._received > _HEAD_BYTES_MOST
        is_answered = self.cycle.response_complete and self.cycle.more_body
        return self._received > (_HEAD_BYTES_MOST if is_answered else self._request_bytes_most)

    def _look(self) -> None:
        """End the connection, unless a request is being answered or was started since the last
        check."""
        request = self.cycle
        if request is self._answered:
            self.transport.abort()
            return
        self._answered = request if request.response_complete else None
        self._looking = self.loop.call_later(_IDLE_SECONDS, self._look)
