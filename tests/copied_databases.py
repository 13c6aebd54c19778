"""Copies of a PostgreSQL database with empty tables, for one test after the other.

Creating a copy, dropping it, and the first connection to it take PostgreSQL several times as long
as removing the few rows that a test has added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from tests.postgresql import Server, name_of

__all__ = ["Copies"]

_WAITS_FOR_CLIENTS = 140_000
"""The first version that can end a connection and wait for its end."""
_LARGE = 64 * 1024
"""The size of a table whose removed rows would make later queries slower."""
_OWN = 16384  # PostgreSQL's own objects have smaller numbers
_DEFINITIONS = " UNION ALL ".join(
    f"SELECT '{catalog}', count(*), sum({number}::bigint), sum(xmin::text::bigint)"
    f" FROM {catalog} WHERE {number} >= {_OWN}"
    for catalog, number in {
        "pg_attrdef": "oid",
        "pg_attribute": "attrelid",
        "pg_class": "oid",
        "pg_constraint": "oid",
        "pg_index": "indexrelid",
        "pg_namespace": "oid",
        "pg_proc": "oid",
        "pg_statistic": "starelid",  # by which a later query would be planned
        "pg_trigger": "oid",
        "pg_type": "oid",
    }.items()
)
"""Selects how many objects of each kind there are, and which transactions changed them last."""
_SETTINGS = (
    "SELECT datconnlimit, (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = oid)"
    " FROM pg_database WHERE datname = current_database()"
)
_TABLES = (
    "SELECT relname, pg_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
)
_RESTART_SEQUENCES = (
    "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)


class Copies:
    """Lends copies of a database. Close it after use.

    Args:
        template: The address of the database to copy. Nothing may be connected to it.
    """

    def __init__(self, server: Server, template: str) -> None:
        self._server = server
        self._template = template
        self._free: list[str] = []
        self._made: tuple[Any, Any] | None = None
        self._connections = ExitStack()
        self._connection = self._connections.enter_context(server.connected("postgres"))

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the address of a copy. No copy had its name before."""
        address = self._free.pop() if self._free else self._created()
        try:
            yield address
        finally:
            renamed = self._renamed(address)
            if renamed is not None and self._is_emptied(renamed):
                self._free.append(renamed)
            else:
                self._server.drop(renamed or address)

    def close(self) -> None:
        """Drop all copies."""
        self._connections.close()
        while self._free:
            self._server.drop(self._free.pop())

    def _created(self) -> str:
        address = self._server.create(self._template)
        if self._made is None:
            with self._server.connected(address) as connection:
                self._made = _definitions(connection), _rows(connection)
        return address

    def _renamed(self, address: str) -> str | None:
        """End all connections to a copy, and give it a name that no client knows; return its new
        address, or ``None`` if it has its old name still."""
        from psycopg import errors

        if self._connection.info.server_version < _WAITS_FOR_CLIENTS:
            return None
        made = self._server.new_address()
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        self._connection.execute(end, [name_of(address)])
        with suppress(errors.ObjectInUse):  # a client has connected again
            self._connection.execute(f"ALTER DATABASE {name_of(address)} RENAME TO {name_of(made)}")
            return made
        return None

    def _is_emptied(self, address: str) -> bool:
        """Remove what was added to a copy. Return whether nothing else was done to it."""
        assert self._made is not None
        definitions, kept = self._made
        with self._server.connected(address) as connection:
            if _definitions(connection) != definitions:
                return False
            sizes = dict(connection.execute(_TABLES).fetchall())
            if max(sizes.values()) > _LARGE:
                return False
            used = [name for name, size in sizes.items() if size and name not in kept]
            with connection.transaction():
                # Rows may be removed in any order.
                connection.execute("SET LOCAL session_replication_role = replica")
                for name in used:
                    connection.execute(f'DELETE FROM "{name}"')
            connection.execute(_RESTART_SEQUENCES)
            return _rows(connection, kept) == kept


def _definitions(connection: Any) -> Any:
    return [connection.execute(query).fetchall() for query in (_DEFINITIONS, _SETTINGS)]


def _rows(connection: Any, tables: Any = None) -> dict[str, Any]:
    """Return the rows of tables (default: all tables that have rows)."""
    if tables is None:
        tables = [name for name, size in connection.execute(_TABLES).fetchall() if size]
    found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    return {name: rows for name, rows in found.items() if rows}
