"""Locks for storing deliveries, so that one application cannot delay the others.

A database with a single writer is written by one thread at a time: more threads would only wait for
each other, and less fairly. With any other database each application has its own lock, so a row
that another process keeps locked delays only that application's deliveries, in one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploycore.errors import StoreError
from deploycore.store import Store

__all__ = ["StorageLocks"]

_LONG_SECONDS = 1.0
_KEPT_SECONDS = 60.0
_ALL = ""
_AGAIN = (
    "Send the delivery again in a minute. If it happens again, find what keeps transactions of the"
    " database waiting."
)


@dataclass
class _StorageLock:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    began_at: float = float("inf")
    """The start of the current write, by the monotonic clock."""
    failed_at: float = -float("inf")
    """The time at which a write failed after a long time, by the monotonic clock."""


class StorageLocks:
    """Lets threads store deliveries one after another.

    Args:
        store: The database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._locks: dict[str, _StorageLock] = {}

    @contextmanager
    def take(self, application: str, came_at: float) -> Iterator[None]:
        """Wait for earlier writes, then write within this context.

        Args:
            came_at: When the delivery started to wait, by ``time.monotonic()``.

        Raises:
            StoreError: The write failed, or another delivery of the application has waited too long
                for the database.
        """
        has_one_writer = self._store.has_one_writer
        key = _ALL if has_one_writer else application
        with self._guard:
            entry = self._locks.setdefault(key, _StorageLock())
            entry.users += 1
        try:
            # A thread that waits for one application cannot work for the others, so only one thread
            # may wait for long.
            since = max(0.0, time.monotonic() - entry.began_at)
            patience = -1 if has_one_writer else max(0.0, _LONG_SECONDS - since)
            if not entry.lock.acquire(timeout=patience):
                raise StoreError(
                    "Another delivery of this application is waiting for the database.",
                    hint=_AGAIN,
                )
            try:
                yield from self._written(entry, came_at)
            finally:
                entry.lock.release()
        finally:
            with self._guard:
                entry.users -= 1
                if not entry.users and entry.failed_at < time.monotonic() - _KEPT_SECONDS:
                    self._locks.pop(key, None)

    def _written(self, entry: _StorageLock, came_at: float) -> Iterator[None]:
        if entry.failed_at > came_at:
            raise StoreError(
                "The database could not be written for an earlier delivery of this application.",
                hint=_AGAIN,
            )
        entry.began_at = began = time.monotonic()
        try:
            yield
        except StoreError:
            if time.monotonic() - began > _LONG_SECONDS:
                entry.failed_at = time.monotonic()
            raise
        finally:
            entry.began_at = float("inf")
