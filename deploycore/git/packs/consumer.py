"""Interfaces for code that uses a pack's objects while the pack arrives."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Consumer", "LargeFile"]


class LargeFile(Protocol):
    """Receives the content of a large blob, whose hash is not known yet."""

    def write(self, piece: bytes) -> None:
        """Take the next piece."""

    def finish(self, name: bytes) -> None:
        """End the blob, whose hash is known now."""


class Consumer(Protocol):
    """Uses objects while they arrive."""

    def begin(self, objects: int) -> None:
        """Prepare for a pack with this number of objects."""

    def take(self, kind: int, name: bytes, content: bytes) -> None:
        """Take a complete object and its hash."""

    def large_blob(self, size: int) -> LargeFile:
        """Start a blob that is too large for memory."""
