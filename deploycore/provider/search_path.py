"""Keep results about ``sys.path`` while none of its directories changes.

To find entry points, Python reads a file of each installed distribution. A command needs the entry
points of several groups; a worker and a server need them for each deployment and each request.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

__all__ = ["kept_while_unchanged"]

T = TypeVar("T")

_SETTLED_SECONDS = 2.0
"""Minimum age in seconds of the last change: two changes within one tick of a file system's clock
have the same time."""

_State = tuple[tuple[str, int, int], ...]


def kept_while_unchanged(find: Callable[[], T]) -> Callable[[], T]:
    """Keep the result of a function until a distribution is installed, removed or upgraded, or
    ``sys.path`` changes."""
    kept: list[tuple[_State, T]] = []

    @wraps(find)
    def found() -> T:
        state, now = _state_of_path(), time.time()
        for known, result in kept:
            if known == state:
                return result
        result = find()
        if all(changed <= (now - _SETTLED_SECONDS) * 1e9 for _, changed, _ in state):
            kept[:] = [(state, result)]
        return result

    return found


def _state_of_path() -> _State:
    """Return each entry of ``sys.path``, with the time of its last change and its inode."""
    return tuple(_state_of(place) for place in sys.path)


def _state_of(place: str) -> tuple[str, int, int]:
    try:
        found = os.stat(place or os.curdir)
    except (OSError, ValueError):
        return place, 0, 0
    return place, found.st_mtime_ns, found.st_ino
