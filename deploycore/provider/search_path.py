"""What was found on ``sys.path``, kept while no directory of it changes.

To find the entry points of a group, Python reads a file of each installed distribution. A worker
and a server ask for them with each deployment and each request.
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
"""How old the last change must be: two changes within one tick of a file system's clock have the
same time."""

_State = tuple[tuple[str, int, int], ...]


def kept_while_unchanged(find: Callable[[str], T]) -> Callable[[str], T]:
    """Keep the result of a function for each argument, until a distribution is installed, removed
    or upgraded, or ``sys.path`` changes."""
    kept: dict[str, tuple[_State, T]] = {}

    @wraps(find)
    def found(argument: str) -> T:
        state, now = _state_of_path(), time.time()
        known = kept.get(argument)
        if known is not None and known[0] == state:
            return known[1]
        result = find(argument)
        if all(changed <= (now - _SETTLED_SECONDS) * 1e9 for _, changed, _ in state):
            kept[argument] = state, result
        return result

    return found


def _state_of_path() -> _State:
    """Each place of ``sys.path``, with the time of its last change and its inode."""
    return tuple(_state_of(place) for place in sys.path)


def _state_of(place: str) -> tuple[str, int, int]:
    try:
        found = os.stat(place or os.curdir)
    except (OSError, ValueError):
        return place, 0, 0
    return place, found.st_mtime_ns, found.st_ino
