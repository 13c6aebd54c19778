"""Limits on attempts to sign in, by user name and by address.

After some failures, an address has to wait before its next attempt. The wait doubles with each
failure, up to a maximum. After failures for a user name, only addresses that have failed for this
name have to wait. So an attacker at another address cannot lock the user out with wrong passwords.
One-time links, which can be created on the machine, are not limited.

Failures of addresses are in the store: all servers with one database count them together. Failures
for names are only in the memory of each process, because people enter passwords as names by
mistake, and these must not be stored. So two servers allow twice as many free attempts for a name,
but never more from one address.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from deploycore.server.problems import Refusal
from deploycore.server.senders import sender_of
from deploycore.store.sign_in_failures import SignInFailures
from deploycore.store.times import TOLERANCE

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
    """Counts failures. Call it in a thread.

    Args:
        failures: The failures of addresses.
        clock: Returns the seconds since 1970.
    """

    def __init__(self, failures: SignInFailures, clock: Callable[[], float] = time.time) -> None:
        self._of_addresses = failures
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()

    def begin(self, name: str, address: str) -> None:
        """Count an attempt as a failure, until ``succeed`` is called.

        Raises:
            Refusal: The client has to wait (429).
            StoreError: The failure cannot be counted.
        """
        sender, now = sender_of(address), self._clock()
        keys = _keys(name, sender)
        with self._lock:
            wait = self._wait(keys, now)
            # Counted together with the check, so that none of many attempts at once gets around it.
            counted = [(key, *self._count(key, now)) for key in keys] if wait <= 0 else []
        if not counted:
            raise _refused(wait)
        try:
            wait = self._of_addresses.add(
                sender,
                at=datetime.fromtimestamp(now, UTC),
                forgotten_before=datetime.fromtimestamp(now - _FORGOTTEN_AFTER, UTC),
                wait=lambda count, at: _delay(
                    count - _FREE_BY_ADDRESS, at.timestamp(), _WAIT_MOST_BY_ADDRESS, now
                ),
            )
        except BaseException:
            self._take_back(counted)
            raise
        if wait > 0:
            self._take_back(counted)
            raise _refused(wait)

    def succeed(self, name: str, address: str) -> None:
        """Remove the failures for a name, and the last failure of the address.

        Raises:
            StoreError: The database cannot be written.
        """
        sender = sender_of(address)
        with self._lock:
            for key in _keys(name, sender):
                self._failures.pop(key, None)
        # If all failures of the address were removed, a user could reset them with the own account,
        # and make any number of attempts for other names.
        self._of_addresses.take_back(sender)

    def _wait(self, keys: tuple[_Key, _Key], now: float) -> float:
        by_name, by_both = (self._find(key, now) for key in keys)
        return _delay(by_name.count - _FREE_BY_NAME, by_both.at, _WAIT_MOST_BY_NAME, now)

    def _find(self, key: _Key, now: float) -> _Failures:
        found = self._failures.get(key)
        return found if found and now - found.at < _FORGOTTEN_AFTER else _Failures()

    def _count(self, key: _Key, now: float) -> tuple[_Failures, _Failures]:
        """Return the failures before, and those with this one."""
        before = self._find(key, now)
        self._failures[key] = found = _Failures(before.count + 1, now)
        self._failures.move_to_end(key)
        while len(self._failures) > _KEYS_MOST:
            self._failures.popitem(last=False)
        return before, found

    def _take_back(self, counted: Iterable[tuple[_Key, _Failures, _Failures]]) -> None:
        """Forget what was counted for an attempt that was refused."""
        with self._lock:
            for key, before, counted_now in counted:
                known = self._failures.get(key)
                if known is counted_now:
                    self._failures[key] = before
                elif known is not None:  # others were counted meanwhile
                    known.count -= 1


def _delay(more: int, at: float, most: float, now: float) -> float:
    """Return the seconds to wait after some failures more than are free.

    Args:
        at: The time of the last failure.
        most: The longest wait.
    """
    is_ahead = at > now + TOLERANCE.total_seconds()  # a clock was set back
    if more < 0 or is_ahead or now - at >= _FORGOTTEN_AFTER:
        return 0.0
    longest = min(2.0 ** min(more, 20), most)
    return min(at + longest - now, longest)


def _refused(wait: float) -> Refusal:
    seconds = max(1, math.ceil(wait))
    return Refusal(
        429,
        "rate_limited",
        "There were too many failed attempts.",
        hint=f"Try again in {seconds} {'second' if seconds == 1 else 'seconds'}.",
        headers={"Retry-After": str(seconds)},
    )


def _keys(name: str, sender: str) -> tuple[_Key, _Key]:
    name = name[:64]
    return ("name", name), ("both", name, sender)
