"""Rate-limited logging of invalid requests: some lines a minute, then a count of the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploycore.text.printable import printable

__all__ = ["QuietLogger"]

_SECONDS = 60.0
_KEYS_MOST = 1000
_ARGUMENT_LENGTH = 1000


@dataclass
class _Told:
    since: float
    lines: int = 0
    left_out: int = 0


class QuietLogger:
    """Limits the number of log lines of each kind.

    Args:
        logger: The logger.
        most: The maximum number of lines of a kind per minute.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        most: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, _Told] = {}

    def warn(self, kind: str, message: str, *arguments: object) -> None:
        """Log a warning, unless there were too many of its kind.

        Args:
            kind: One of a few words. Lines of a kind are counted together.
        """
        now = self._clock()
        with self._lock:
            told = self._told.get(kind)
            left_out = 0
            if told is None or now - told.since >= _SECONDS:
                left_out = told.left_out if told else 0
                if len(self._told) >= _KEYS_MOST:
                    self._told.clear()
                told = self._told[kind] = _Told(now)
            told.lines += 1
            if told.lines > self._most:
                told.left_out += 1
                return
        if left_out:
            self._logger.warning("%d more lines like the next one were not logged", left_out)
        self._logger.warning(message, *map(_shown, arguments))


def _shown(argument: object) -> object:
    if isinstance(argument, int | float):
        return argument
    return printable(str(argument)[:_ARGUMENT_LENGTH])
