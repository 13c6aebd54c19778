"""The differences between two releases on disk: the files that a rollback would restore or remove.

Files are compared by their content, up to limits, since a build may write the same file again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FileChanges", "compare_releases"]

ENTRIES_MOST = 100_000
BYTES_MOST = 256 * 1024 * 1024
SECONDS_MOST = 5.0
NAMED_MOST = 200

_STEP = 256 * 1024


@dataclass
class FileChanges:
    """The files that differ between two releases.

    Attributes:
        added: Paths that only the new release has. If there are very many, this has only some of
            them; so do ``changed`` and ``removed``.
        changed: Paths that differ.
        removed: Paths that only the old one has.
        counts: The numbers of all of them.
        is_all: Whether everything was compared within the limits.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"added": 0, "changed": 0, "removed": 0})
    is_all: bool = True

    def note(self, kind: str, path: str) -> None:
        """Count a path, and add it to the list unless the list is full."""
        self.counts[kind] += 1
        named: list[str] = getattr(self, kind)
        if len(named) < NAMED_MOST:
            named.append(path.encode("utf-8", "replace").decode())


class _Enough(Exception):
    """A limit was reached."""


class _Limits:
    def __init__(self) -> None:
        self._entries, self._bytes = ENTRIES_MOST, BYTES_MOST
        self._ends_at = time.monotonic() + SECONDS_MOST

    def take(self, *, entries: int = 0, count: int = 0) -> None:
        self._entries -= entries
        self._bytes -= count
        if self._entries < 0 or self._bytes < 0 or time.monotonic() > self._ends_at:
            raise _Enough


def compare_releases(old: Path, new: Path) -> FileChanges:
    """Compare two directories. Links are compared, not followed.

    What cannot be read, for example because it is being removed, counts as different.
    """
    found, limits = FileChanges(), _Limits()
    try:
        for path, before, after in _pairs(old, new, limits):
            if before is None:
                found.note("added", path)
            elif after is None:
                found.note("removed", path)
            elif not _is_same(old / path, before, new / path, after, limits):
                found.note("changed", path)
    except _Enough:
        found.is_all = False
    return found


def _pairs(
    old: Path, new: Path, limits: _Limits
) -> Iterator[tuple[str, os.stat_result | None, os.stat_result | None]]:
    """Yield the paths of everything except directories, in order, with the entry on each side."""
    pending = [""]
    while pending:
        place = pending.pop()
        before, after = _entries(old / place, limits), _entries(new / place, limits)
        directories = []
        for name in sorted({*before, *after}):
            path = os.path.join(place, name)
            sides = [before.get(name), after.get(name)]
            if any(each and stat.S_ISDIR(each.st_mode) for each in sides):
                directories.append(path)
            files = [each if each and not stat.S_ISDIR(each.st_mode) else None for each in sides]
            if any(files):
                yield path, files[0], files[1]
        pending += reversed(directories)


def _entries(directory: Path, limits: _Limits) -> dict[str, os.stat_result]:
    found = {}
    try:
        with os.scandir(directory) as entries:
            for each in entries:
                limits.take(entries=1)
                found[each.name] = each.stat(follow_symlinks=False)
    except OSError:
        return found
    return found


def _is_same(
    old: Path, before: os.stat_result, new: Path, after: os.stat_result, limits: _Limits
) -> bool:
    if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino):
        return True  # a hard link
    if (before.st_mode, before.st_size) != (after.st_mode, after.st_size):
        return False
    try:
        if stat.S_ISLNK(before.st_mode):
            return os.readlink(old) == os.readlink(new)
        return stat.S_ISREG(before.st_mode) and _has_same_content(old, new, limits)
    except OSError:
        return False


def _has_same_content(old: Path, new: Path, limits: _Limits) -> bool:
    with old.open("rb") as one, new.open("rb") as other:
        while True:
            piece = one.read(_STEP)
            limits.take(count=len(piece))
            if piece != other.read(_STEP):
                return False
            if not piece:
                return True
