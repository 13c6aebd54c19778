"""While a plugin does not come back: whoever waits is told what for, and can leave at any time.

A thread looks now and then what runs, so that a listing pays nothing for it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from deploycore.cli.output import printable
from deploycore.cli.standard_streams import INTERRUPTED, end_at_once
from deploycore.provider.background import UnderWay, calls_under_way

__all__ = ["telling_of_waits"]

FIRST_SECONDS = 5.0
AGAIN_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_GOODBYE_SECONDS = 1.0


@contextmanager
def telling_of_waits(*, interruptible: bool = True) -> Iterator[None]:
    """Say on standard error which plugin is waited for, once that takes long.

    Args:
        interruptible: For commands that have nothing to clear up: Ctrl-C ends them, whatever the
            plugin does about it.
    """
    watch = _Watch()
    thread = threading.Thread(target=watch.run, name="deploycore-waiting", daemon=True)
    thread.start()
    former = signal.signal(signal.SIGINT, watch.interrupt) if interruptible else None
    try:
        yield
    finally:
        if former is not None and not watch.is_interrupted:
            signal.signal(signal.SIGINT, former)
        watch.stop()


class _Watch:
    def __init__(self) -> None:
        # A signal handler may run while its own thread holds the event's lock: it takes none.
        self.is_interrupted = False
        self._stopped = threading.Event()
        self._told: dict[UnderWay, float] = {}

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.is_interrupted:
            end_at_once(INTERRUPTED)
        self.is_interrupted = True
        raise KeyboardInterrupt

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS) and not self.is_interrupted:
            for call in calls_under_way():
                self._tell(call)
        if self.is_interrupted:
            # A plugin may swallow the interrupt, or wait for threads of its own.
            time.sleep(_GOODBYE_SECONDS)
            end_at_once(INTERRUPTED)

    def _tell(self, call: UnderWay) -> None:
        now = time.monotonic()
        if now < self._told.get(call, call.since + FIRST_SECONDS):
            return
        self._told[call] = now + AGAIN_SECONDS
        with suppress(Exception):
            line = f"still waiting for {call} ({now - call.since:.0f} s)"
            print(printable(line), file=sys.stderr, flush=True)
