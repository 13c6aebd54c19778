"""What drivers of databases are told, so that no value makes them fail while they read.

A driver reads a whole result at once: an error in one value would take all rows with it. So what it
cannot read is given on as something that ``columns`` finds to be damaged.
"""

from __future__ import annotations

from typing import Any

from deploycore.store.columns import DAMAGED
from deploycore.store.waiting import limit_server

__all__ = ["prepare_connection", "read_text"]

_TYPES = ("text", "varchar", "bpchar", "json", "timestamptz", "timestamp")


def read_text(stored: bytes) -> str:
    """SQLite's text; bytes that are no UTF-8 become lone surrogates, which no valid text has."""
    return stored.decode("utf-8", "surrogateescape")


def prepare_connection(connection: Any, record: object) -> None:
    """Limit how long a new connection to PostgreSQL waits, and have it read damaged values."""
    try:
        cursor = connection.cursor()
        cursor.execute(limit_server())
        cursor.close()
        connection.commit()
        if type(connection).__module__.partition(".")[0] == "psycopg":
            _read_damaged(connection)
    except BaseException:
        connection.close()  # SQLAlchemy does not know it yet
        raise


def _read_damaged(connection: Any) -> None:
    """Have psycopg's loaders for our types never raise."""
    from psycopg.pq import Format

    adapters = connection.adapters
    for name in _TYPES:
        oid = adapters.types[name].oid
        loader = adapters.get_loader(oid, Format.TEXT)
        if loader is not None:
            adapters.register_loader(oid, _forgiving(loader))


def _forgiving(loader: Any) -> Any:
    """A loader as another one, but for values that it fails to read."""

    class Forgiving:
        """Reads what the other one reads; anything else is damaged."""

        format = loader.format

        def __init__(self, oid: int, context: Any = None) -> None:
            self._inner = loader(oid, context)

        def load(self, data: Any) -> Any:
            """The value, or what stands for one that cannot be read."""
            try:
                return self._inner.load(data)
            except Exception:
                return DAMAGED

    return Forgiving
