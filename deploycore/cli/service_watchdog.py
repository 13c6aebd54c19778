"""Messages to a service manager that the process is alive, so that a frozen process is restarted.

A plugin whose code holds the interpreter's lock, such as a catastrophic regular expression, stops
all threads of a server or worker, and nothing in the process can end that. systemd can: with
``WatchdogSec=``, it expects messages at intervals. If one is missing, it kills and restarts the
service; see sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

__all__ = ["telling_watchdog"]

_MICROSECONDS = 1_000_000
_ALIVE = b"WATCHDOG=1"


@contextmanager
def telling_watchdog(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Tell the service manager from a thread that the process is alive, if it expects that.

    Args:
        environ: Has the address of the messages, their interval, and the process that they are
            for: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    """
    address, seconds = environ.get("NOTIFY_SOCKET", ""), _interval(environ)
    if not seconds or address[:1] not in ("/", "@"):
        yield
        return
    ended = threading.Event()
    sender = threading.Thread(
        target=_send, args=(address, seconds, ended), name="deploycore-watchdog", daemon=True
    )
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()


def _interval(environ: Mapping[str, str]) -> float:
    """Return the seconds between two messages: half of the expected interval; 0 for no messages."""
    expected, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not expected.isdecimal() or process not in (None, "", str(os.getpid())):
        return 0
    return int(expected) / _MICROSECONDS / 2


def _send(address: str, seconds: float, ended: threading.Event) -> None:
    # unix(7) writes an address of the abstract namespace with "@"
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.setblocking(False)
        while True:
            with suppress(OSError):  # a lost message is harmless: the next one may arrive
                connection.sendto(_ALIVE, name)
            if ended.wait(seconds):
                return
