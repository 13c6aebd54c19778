"""Options of database drivers: no value makes a read fail, and no server makes it wait forever.

A driver reads a whole result at once: an error in one value would lose all rows. So it returns a
value that it cannot read in a form that ``columns`` recognizes as damaged.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from deploycore.store import waiting
from deploycore.store.values import DAMAGED
from deploycore.store.waiting import limit_server

__all__ = ["prepare_connection", "prepare_sqlite", "read_text", "wait_without_limit"]

_TYPES = ("text", "varchar", "bpchar", "json", "timestamptz", "timestamp")


def read_text(stored: bytes) -> str:
    """Decode SQLite's text. Invalid UTF-8 becomes lone surrogates, which no valid text contains."""
    return stored.decode("utf-8", "surrogateescape")


_WITHOUT_COMPILING = "SELECT set_config('jit', 'off', false) FROM pg_settings WHERE name = 'jit'"
"""Turns off PostgreSQL's compilation, which takes longer for the query of many applications than
the query itself. Servers that cannot compile do not have the setting."""


def prepare_sqlite(connection: Any) -> None:
    """Make a new SQLite connection return damaged values, keep references between rows, and wait
    for the disk."""
    try:
        connection.text_factory = read_text
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()  # no other code knows the connection yet
        raise


def prepare_connection(connection: Any, record: object) -> None:
    """Limit how long a new PostgreSQL connection waits, and make it return damaged values."""
    try:
        is_psycopg = type(connection).__module__.partition(".")[0] == "psycopg"
        if is_psycopg:
            _limit_waiting(connection)
        cursor = connection.cursor()
        cursor.execute(limit_server())
        cursor.execute(_WITHOUT_COMPILING)
        cursor.close()
        connection.commit()
        if is_psycopg:
            _read_damaged(connection)
    except BaseException:
        connection.close()  # SQLAlchemy does not know the connection yet
        raise


def wait_without_limit(connection: Any) -> None:
    """Let a connection wait without a limit, for example for a migration."""
    vars(connection).pop("wait", None)


def _limit_waiting(connection: Any) -> None:
    """Make psycopg close the connection if the server does not respond in time."""
    wait_for = connection.wait

    def wait(operation: Any, *arguments: Any, **options: Any) -> Any:
        # SQLAlchemy uses autocommit only while it checks whether a connection is still alive.
        seconds = waiting.PING_SECONDS if connection.autocommit else waiting.ANSWER_SECONDS
        return wait_for(_ending(operation, connection, seconds), *arguments, **options)

    connection.wait = wait


def _ending(operation: Any, connection: Any, seconds: float) -> Generator[Any, Any, Any]:
    """Wrap an operation of psycopg, a generator that is resumed about every 0.1 s with the
    information whether the server has sent something. The wrapper ends if the server has not
    finished the operation in time."""
    from psycopg.errors import ConnectionTimeout

    ends_at = time.monotonic() + seconds
    try:
        wanted = next(operation)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= ends_at:
                connection.pgconn.finish()  # a later response would not belong to any operation
                raise ConnectionTimeout(f"no answer for {seconds:g} seconds")
            wanted = operation.send(ready)
    except StopIteration as done:
        return done.value


def _read_damaged(connection: Any) -> None:
    """Make psycopg's loaders for our types never raise."""
    from psycopg.pq import Format

    adapters = connection.adapters
    for name in _TYPES:
        oid = adapters.types[name].oid
        loader = adapters.get_loader(oid, Format.TEXT)
        if loader is not None:
            adapters.register_loader(oid, _forgiving(loader))


def _forgiving(loader: Any) -> Any:
    """Return a loader that behaves like another one, except for values that it cannot read."""

    class Forgiving:
        """Reads what the other one reads; anything else is damaged."""

        format = loader.format

        def __init__(self, oid: int, context: Any = None) -> None:
            self._inner = loader(oid, context)

        def load(self, data: Any) -> Any:
            """Return the value, or ``Damaged`` if it cannot be read."""
            try:
                return self._inner.load(data)
            except Exception:
                return DAMAGED

    return Forgiving
