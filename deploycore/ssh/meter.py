"""Limit what a server sends besides a command's output, and detect the end of its connection.

SSH has messages without content that may be sent at any time: ``IGNORE``, ``DEBUG``, requests, new
channels, and another exchange of keys. Each takes the client's time, and many require an answer.

Source: RFC 4253, 9 and 11; RFC 4254, 4
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

__all__ = ["Metered"]

_MAX_BESIDES = 4 * 1024 * 1024
"""Maximum bytes besides the output. In addition, each byte of output may take another one, because
packets have headers and padding."""

_BUFFER_BYTES = 64 * 1024
"""Bytes for each read: at most two packets. AsyncSSH copies its unhandled data once for each
packet, and asyncio would otherwise allocate 256 KiB for each read."""

_PROMPT_BYTES = 256 * 1024
"""The number of bytes at the beginning that are acknowledged at once.

While a client signs in and starts a command, servers send small packets one after another. With
Nagle's algorithm, a server sends the next one only when the previous one is acknowledged. The
client's system delays that by 40 ms if it has nothing to send itself."""

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # only Linux has it

_STEPS = 32
"""The number of steps of the event loop in which AsyncSSH handles what arrived before the end."""


class Metered(asyncio.BufferedProtocol):
    """Counts the bytes that arrive for a protocol, and ends the connection if too many of them are
    not output.

    The protocol is notified of the end of the connection only after it has handled everything that
    arrived before. AsyncSSH handles some messages in tasks. Without this delay, it would report a
    lost connection if a server sends the reason for the end, or if there is no common algorithm.

    Args:
        protocol: Receives everything.
        useful: Returns the number of bytes of output that it has delivered so far.
        flooded: Called before the connection is ended.
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
        """Start to count."""
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the buffer for the bytes that arrive."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass data on, and count it."""
        self._protocol.data_received(bytes(memoryview(self._buffer)[:nbytes]))
        self._received += nbytes
        if self._received < _PROMPT_BYTES:
            self._acknowledge()
        is_flood = self._received > _MAX_BESIDES + 2 * self._useful()
        if is_flood and self._transport is not None and not self._transport.is_closing():
            self._flooded()
            self._transport.abort()

    def _acknowledge(self) -> None:
        connected = self._transport and self._transport.get_extra_info("socket")
        if connected and _QUICKACK is not None:
            with suppress(OSError):  # the connection was closed
                connected.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def eof_received(self) -> bool:
        """Pass the end of the data on later."""
        _after_steps(_STEPS, self._end)
        return True  # the transport stays open until then

    def _end(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._protocol.eof_received():
            transport.close()

    def pause_writing(self) -> None:
        """Pass on that the peer cannot take more data now."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer can take data again."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the connection; a failure is passed on later."""
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
