"""How much a server sends besides what a command writes, and when its connection has ended.

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

_BUFFER_BYTES = 64 * 1024
"""At most two packets. AsyncSSH copies what it has not handled yet once for each packet, and
asyncio would otherwise allocate 256 KiB for each read."""

_STEPS = 32
"""Steps of the event loop in which AsyncSSH handles what arrived before the end."""


class Metered(asyncio.BufferedProtocol):
    """Counts what arrives for a protocol, and ends the connection if too much of it is no output.

    The protocol learns of the end of the connection only after it has handled what came before.
    AsyncSSH handles some messages in tasks, and would otherwise report a lost connection for a
    server that says why it leaves, or that has no algorithm in common.

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
        self._buffer = bytearray(_BUFFER_BYTES)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where to put what arrives."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass data on, and count it."""
        self._protocol.data_received(bytes(memoryview(self._buffer)[:nbytes]))
        self._received += nbytes
        is_flood = self._received > _MAX_BESIDES + 2 * self._useful()
        if is_flood and self._transport is not None and not self._transport.is_closing():
            self._flooded()
            self._transport.abort()

    def eof_received(self) -> bool:
        """Pass it on later."""
        _after_steps(_STEPS, self._end)
        return True  # the transport stays open until then

    def _end(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._protocol.eof_received():
            transport.close()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and a failure later."""
        if exc is None:
            self._protocol.connection_lost(None)
        else:
            _after_steps(_STEPS, lambda: self._protocol.connection_lost(exc))


def _after_steps(steps: int, call: Callable[[], None]) -> None:
    """Call a function after a number of steps of the event loop."""
    if steps:
        asyncio.get_running_loop().call_soon(_after_steps, steps - 1, call)
    else:
        call()
