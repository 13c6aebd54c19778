"""Limits on attempts to sign in, by user name and by address.

After some failures, an address has to wait before its next attempt. The wait doubles with each
failure, up to a maximum. Failures for a user name make only those addresses wait that have failed
for it themselves: others cannot lock a user out by wrong passwords from elsewhere. And a one-time
link, which can be created on the machine, is not limited at all.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from deploycore.server.problems import Refusal
from deploycore.server.senders import sender_of

__all__ = ["Attempts"]

_FREE_BY_NAME = 5
_FREE_BY_ADDRESS = 10
_WAIT_MOST_BY_NAME = 60.0
_WAIT_MOST_BY_ADDRESS = 900.0
_FORGOTTEN_AFTER = 3600.0
_KEYS_MOST = 10_000

_Key = tuple[str, ...]


@dataclass
class _Failures:
    count: int = 0
    at: float = -math.inf


class Attempts:
    """Counts failures, in the memory of this process.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()

    def begin(self, name: str, address: str) -> None:
        """Count an attempt as a failure, until ``succeed`` is called.

        Raises:
            Refusal: The client has to wait (429).
        """
        sender, now = sender_of(address), self._clock()
        with self._lock:
            wait = self._wait(name, sender, now)
            if wait <= 0:
                for key in _keys(name, sender):
                    self._count(key, now)
                return
        seconds = max(1, math.ceil(wait))
        raise Refusal(
            429,
            "rate_limited",
            "There were too many failed attempts.",
            hint=f"Try again in {seconds} {'second' if seconds == 1 else 'seconds'}.",
            headers={"Retry-After": str(seconds)},
        )

    def succeed(self, name: str, address: str) -> None:
        """Forget the failures for a name, and the last one of the address."""
        by_name, by_address, by_both = _keys(name, sender_of(address))
        with self._lock:
            self._failures.pop(by_name, None)
            self._failures.pop(by_both, None)
            # Were all of them forgotten, an own account would give endless attempts for others.
            failures = self._failures.get(by_address)
            if failures is not None:
                failures.count -= 1

    def _wait(self, name: str, sender: str, now: float) -> float:
        by_name, by_address, by_both = (self._find(key, now) for key in _keys(name, sender))
        delays = (
            (by_address.at, by_address.count - _FREE_BY_ADDRESS, _WAIT_MOST_BY_ADDRESS),
            (by_both.at, by_name.count - _FREE_BY_NAME, _WAIT_MOST_BY_NAME),
        )
        return max(
            at + min(2.0 ** min(more, 20), most) - now if more >= 0 else 0.0
            for at, more, most in delays
        )

    def _find(self, key: _Key, now: float) -> _Failures:
        found = self._failures.get(key)
        return found if found and now - found.at < _FORGOTTEN_AFTER else _Failures()

    def _count(self, key: _Key, now: float) -> None:
        found = self._find(key, now)
        self._failures[key] = _Failures(found.count + 1, now)
        self._failures.move_to_end(key)
        while len(self._failures) > _KEYS_MOST:
            self._failures.popitem(last=False)


def _keys(name: str, sender: str) -> tuple[_Key, _Key, _Key]:
    name = name[:64]
    return ("name", name), ("address", sender), ("both", name, sender)
