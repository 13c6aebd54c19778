"""Waiting that another thread, or a signal handler, can end."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Self

__all__ = ["Wakeup"]


class Wakeup:
    """What a thread waits for; has a descriptor, so that it can be one among others.

    To be closed. It takes no lock, since a signal handler may run in the thread that waits.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """Readable when somebody has called ``wake``."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """End the waiting, that of now or the next; harmless when nobody waits any more."""
        with suppress(OSError):
            self._sender.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait so long at most."""
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            self._receiver.recv(4096)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sender.close()
        self._receiver.close()
