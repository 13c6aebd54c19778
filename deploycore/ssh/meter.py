"""How much a server sends besides what a command writes.

SSH has messages that say nothing and may be sent at any time: ``IGNORE``, ``DEBUG``, requests, new
channels, and another exchange of keys. Each takes the client's time, and many have to be answered.

Source: RFC 4253, 9 and 11; RFC 4254, 4
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

__all__ = ["Metered"]

_MAX_BESIDES = 4 * 1024 * 1024
"""Bytes. Besides, each byte of output may take another one: packets have headers and padding."""


class Metered(asyncio.Protocol):
    """Counts what arrives for a protocol, and ends the connection if too much of it is no output.

    Args:
        protocol: Gets everything.
        useful: How many bytes of output it has delivered so far.
        flooded: Is called before the connection is ended.
    """

    def __init__(
        self, protocol: asyncio.Protocol, useful: Callable[[], int], flooded: Callable[[], None]
    ) -> None:
        self._protocol = protocol
        self._useful = useful
        self._flooded = flooded
        self._received = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass data on, and count it."""
        self._protocol.data_received(data)
        self._received += len(data)
        is_flood = self._received > _MAX_BESIDES + 2 * self._useful()
        if is_flood and self._transport is not None and not self._transport.is_closing():
            self._flooded()
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)
