"""The data that AsyncSSH gets from a connection, and its order."""

import asyncio
import socket
import struct

import pytest

from deploycore.ssh.meter import Metered

_SMALL = b"a packet"


class _Deferring(asyncio.Protocol):
    """Handles what arrives in tasks of several steps, as AsyncSSH does.

    Attributes:
        noted: What it has handled, in order.
    """

    def __init__(self, over):
        self.noted = []
        self._over = over
        self._tasks = set()

    def data_received(self, data):
        self._tasks.add(asyncio.get_running_loop().create_task(self._handle(data)))

    async def _handle(self, data):
        for _ in range(8):
            await asyncio.sleep(0)
        self.noted.append(data)

    def eof_received(self):
        self.noted.append("end")

    def connection_lost(self, exc):
        self.noted.append(type(exc).__name__ if exc else "closed")
        self._over.set_result(None)


async def _received(data, *, is_reset=False):
    ours, theirs = socket.socketpair() if not is_reset else _connected()
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    protocol = _Deferring(over)
    metered = Metered(protocol, lambda: len(data), lambda: None)
    with theirs:
        transport, _ = await loop.create_connection(lambda: metered, sock=ours)
        await loop.sock_sendall(theirs, data)
        if is_reset:  # the rest is handled when the connection is gone already
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await asyncio.wait_for(over, 60)
    transport.close()
    return protocol.noted


def _connected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    theirs.setblocking(False)
    return ours, theirs


@pytest.mark.parametrize("is_reset", [False, True])
def test_data_received_before_a_disconnect_is_processed_first(is_reset):
    noted = asyncio.run(_received(_SMALL, is_reset=is_reset))
    assert noted == [_SMALL, *(["ConnectionResetError"] if is_reset else ["end", "closed"])]


def test_received_data_is_passed_on_completely_and_in_order():
    async def all_of(data):
        received = []
        for size in (1, 70_000, 65_536, 3):
            received.append(data[:size])
            data = data[size:]
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        protocol = _Deferring(loop.create_future())
        metered = Metered(protocol, lambda: 1 << 30, lambda: None)
        with theirs:
            await loop.create_connection(lambda: metered, sock=ours)
            for each in received:
                await loop.sock_sendall(theirs, each)
        await asyncio.wait_for(protocol._over, 60)
        return b"".join(each for each in protocol.noted if isinstance(each, bytes))

    data = bytes(range(256)) * 529
    assert asyncio.run(all_of(data)) == data[: 1 + 70_000 + 65_536 + 3]


class _Acknowledged:
    """A connection that records how the data that arrives is acknowledged."""

    def __init__(self):
        self.options = []

    def get_extra_info(self, name):
        assert name == "socket"
        return self

    def setsockopt(self, *option):
        self.options.append(option)

    def is_closing(self):
        return False


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has the option")
def test_the_first_packets_are_acknowledged_at_once():
    metered = Metered(asyncio.Protocol(), lambda: 1 << 30, lambda: None)
    connected = _Acknowledged()
    metered.connection_made(connected)
    for _ in range(3):
        metered.buffer_updated(100)
    assert connected.options == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * 3
    for _ in range(10):
        metered.buffer_updated(64 * 1024)
    assert len(connected.options) == 3 + 3  # not those of a pack


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has the option")
def test_a_closed_connection_needs_no_acknowledgement():
    class Closed(_Acknowledged):
        def setsockopt(self, *option):
            raise OSError

    metered = Metered(asyncio.Protocol(), lambda: 1 << 30, lambda: None)
    metered.connection_made(Closed())
    metered.buffer_updated(100)
