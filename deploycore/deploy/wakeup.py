"""A wait that another thread, or a signal handler, can end."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Self

__all__ = ["Wakeup"]


class Wakeup:
    """An object that a thread waits for. It has a descriptor, so that the thread can wait for
    others too.

    Close it after use. It takes no lock, since a signal handler may run in the thread that waits.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """The descriptor; it is readable after a call of ``wake``."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """End the current wait, or the next one. It does nothing if no thread waits any more."""
        with suppress(OSError):
            self._sender.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait for at most this number of seconds."""
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
