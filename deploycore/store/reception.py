"""When a server of this installation was last known to receive webhook deliveries."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.reading import first_readable
from deploycore.store.tables import reception
from deploycore.store.times import is_ahead

__all__ = ["RECEIVES_SECONDS", "Reception"]

RECEIVES_SECONDS = 60.0
"""Seconds after which a server that has not been seen is considered down."""


class Reception:
    """Records that servers receive deliveries. ``Store`` has an instance.

    All servers share one row, which the migration creates.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self) -> None:
        """Record that a server is receiving deliveries now."""
        with self._database.writing() as connection:
            connection.execute(update(reception).values(seen_at=present(connection)))

    def seen_at(self) -> datetime | None:
        """Return when a server was last seen, by the database's clock; ``None`` if never."""
        with self._database.reading() as connection:
            return _seen_at(connection)

    def is_interrupted(self) -> bool:
        """Whether servers were seen before, but none is seen now; ``False`` if none was ever seen.

        A time in the future comes from a clock that was ahead. A running server soon replaces it.
        """
        with self._database.reading() as connection:
            seen_at = _seen_at(connection)
            longest = timedelta(seconds=RECEIVES_SECONDS)
            now = present(connection)
            return seen_at is not None and (now - seen_at > longest or is_ahead(seen_at, now))


def _seen_at(connection: Connection) -> datetime | None:
    seen_at: datetime | None = first_readable(connection, select(reception.c.seen_at))
    return seen_at
