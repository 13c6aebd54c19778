"""Messages while a command waits for a plugin, and Ctrl-C that works whatever the plugin does.

A thread checks now and then which calls are running, so the calls themselves are not slowed down.
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
    """Print on standard error which plugin the command is waiting for, if that takes long.

    Args:
        interruptible: Whether Ctrl-C ends the process even if the plugin ignores it. For commands
            that have nothing to clean up.
    """
    watch = _Watch()
    thread = threading.Thread(target=watch.run, name="deploycore-waiting", daemon=True)
    thread.start()
    previous = signal.signal(signal.SIGINT, watch.interrupt) if interruptible else None
    try:
        yield
    finally:
        if previous is not None and not watch.is_interrupted:
            signal.signal(signal.SIGINT, previous)
        watch.stop()


class _Watch:
    def __init__(self) -> None:
        # No lock here: a signal handler may run while its own thread holds the event's lock.
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
            # A plugin may swallow the interrupt, or wait for its own threads.
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
