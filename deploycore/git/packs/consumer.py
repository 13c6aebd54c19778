"""What makes use of a pack's objects while the pack arrives."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Consumer", "LargeFile"]


class LargeFile(Protocol):
    """Where the content of a large blob goes before its hash is known."""

    def write(self, piece: bytes) -> None:
        """Take the next piece."""

    def finish(self, name: bytes) -> None:
        """All was written; this is its hash."""


class Consumer(Protocol):
    """What makes use of objects while they arrive."""

    def begin(self, objects: int) -> None:
        """So many objects are going to come."""

    def take(self, kind: int, name: bytes, content: bytes) -> None:
        """An object, complete, and its hash."""

    def large_blob(self, size: int) -> LargeFile:
        """A blob too large for memory begins."""
