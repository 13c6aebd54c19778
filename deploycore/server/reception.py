"""Record that this server receives deliveries, and request checks for missed ones.

Git hosts send a delivery once, or give up after seconds. A delivery is missed while no server runs,
while the server is suspended or has no database, or while it rejects deliveries. To find missed
pushes, workers ask the hosts for the refs: every host can answer that, with or without a log of
deliveries.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from deploycore.errors import StoreError, with_next_step
from deploycore.installation import Installation
from deploycore.worker import request_checks

__all__ = ["Missed", "Reception"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_NOTED_EVERY = 10.0
_GAP_SECONDS = 10.0
"""Seconds for which hosts wait for a response, approximately."""

_MISSED_AGAIN_AFTER = 60.0
_GOODBYE_SECONDS = 5.0


class Missed:
    """Applications whose deliveries were rejected, each at most once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._taken_at: dict[str, float] = {}

    def add(self, name: str) -> None:
        """Record an application. This is fast, and safe from any thread."""
        with self._lock:
            self._waiting.add(name)

    def take(self) -> set[str]:
        """Return the recorded applications, except those that were returned within the last
        minute."""
        with self._lock:
            now = self._clock()
            found = {
                name
                for name in self._waiting
                if now - self._taken_at.get(name, -float("inf")) >= _MISSED_AGAIN_AFTER
            }
            self._waiting -= found
            self._taken_at |= dict.fromkeys(found, now)
            return found


class Reception:
    """Watches, in a thread, whether this server receives deliveries. Use it as a context manager.

    Args:
        take_missed: Returns the applications whose deliveries were rejected.
        clock: Returns seconds that also pass while the machine is suspended. A jump of the system's
            clock counts too.
    """

    def __init__(
        self,
        installation: Installation,
        take_missed: Callable[[], set[str]],
        *,
        clock: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self._installation = installation
        self._take_missed = take_missed
        self._clock = clock or _clock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked = self._clock()
        self._noted: tuple[float, float] | None = None
        self._owes_all = True  # before this server started, deliveries may have been missed
        self._owed: set[str] = set()
        self._is_failing = False

    def look(self) -> None:
        """Check whether deliveries may have been missed, and record that this server receives."""
        now = self._clock()
        self._owes_all |= _between(self._looked, now) > _GAP_SECONDS
        self._looked = now
        self._owed |= self._take_missed()
        is_due = self._noted is None or _between(self._noted, now) >= _NOTED_EVERY
        if not (self._owes_all or self._owed or is_due):
            return
        try:
            self._catch_up()
            self._installation.store.reception.note()
        except StoreError as error:
            # Deliveries cannot be stored either.
            self._owes_all = True
            if not self._is_failing:
                logger.warning("deliveries may be missed: %s", with_next_step(error))
            self._is_failing = True
            return
        self._noted, self._is_failing = now, False

    def _catch_up(self) -> None:
        if self._owes_all:
            count = request_checks(self._installation)
            if count:
                logger.info(
                    "deliveries may have been missed; workers will check %d applications", count
                )
        elif self._owed:
            request_checks(self._installation, self._owed)
        self._owes_all, self._owed = False, set()

    def start(self) -> None:
        """Start the thread, when the server responds."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-server-reception", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:
                logger.error("watching for missed deliveries failed: %s", type(error).__name__)
            if self._stopped.wait(_LOOK_SECONDS):
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _clock() -> tuple[float, float]:
    """Return the seconds since the machine was started, and those of the system's clock.

    The first ones also pass during suspension, if the system has such a clock. The second ones also
    pass while a virtual machine is paused.
    """
    number = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(number), time.time()


def _between(before: tuple[float, float], now: tuple[float, float]) -> float:
    return max(now[0] - before[0], now[1] - before[1])
