"""Send generated statements to a SQLite file, without SQLAlchemy."""

from __future__ import annotations

import sqlite3.dbapi2
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from deploycore.store import waiting
from deploycore.store.drivers import prepare_sqlite
from deploycore.store.named import Result
from deploycore.store.statement import Column
from deploycore.store.statements import COLUMNS, REVISION, STATEMENTS
from deploycore.store.values import sqlite_reader, sqlite_value

__all__ = ["DirectStatements", "SqliteFile", "path_of"]

_IDLE_MOST = 5
_SELECT_REVISION = "SELECT version_num FROM alembic_version"
_LIST = "__[POSTCOMPILE_{}]"
_NOTHING = "SELECT 1 FROM (SELECT 1) WHERE 1!=1"


def path_of(database_url: str) -> Path | None:
    """Return the file of a SQLite URL with an absolute path; ``None`` for any other URL."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url or not path.startswith("/") or "?" in path:
        return None
    plain = path.replace("%25", "%").replace("%3F", "?")
    is_ours = plain.replace("%", "%25").replace("?", "%3F") == path
    return Path(plain) if is_ours else None


class DirectStatements:
    """Sends statements in a transaction of the driver; see ``named.Statements``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, name: str, /, **values: Any) -> Result:
        """Send a statement; see ``Statements``."""
        return self._sent(name, STATEMENTS[name].text, values)

    def change(self, name: str, changes: Mapping[str, Any], /, **values: Any) -> Result:
        """Send a statement that changes some columns; see ``Statements``."""
        statement = STATEMENTS[name]
        assigned = ", ".join(statement.changes[each] for each in changes)
        text = statement.text.replace("{changes}", assigned)
        return self._sent(name, text, {**changes, **values})

    def present(self) -> datetime:
        """Return the current time of this machine."""
        return datetime.now(UTC)

    def lock(self, number: int, /) -> None:
        """Do nothing; see ``Statements``."""

    def _sent(self, name: str, text: str, values: Mapping[str, Any]) -> Result:
        statement = STATEMENTS[name]
        bound: dict[str, Any] = dict(statement.constants)
        for key, value in values.items():
            kind, marker = statement.kinds[key], _LIST.format(key)
            if marker not in text:
                bound[key] = sqlite_value(kind, value)
                continue
            some = {f"{key}_{n}": sqlite_value(kind, each) for n, each in enumerate(value)}
            text = text.replace(marker, ", ".join(f":{each}" for each in some) or _NOTHING)
            bound |= some
        return self._fetched(name, text, bound)

    def _fetched(self, name: str, text: str, bound: Mapping[str, Any]) -> Result:
        cursor = self._connection.cursor()
        try:
            cursor.execute(text, bound)
            if cursor.description is None:
                return Result((), cursor.rowcount)
            rows = [_row(name, each) for each in cursor.fetchall()]
            return Result(rows, len(rows))
        finally:
            cursor.close()


def _row(name: str, row: Sequence[Any]) -> dict[str, Any]:
    found = zip(_readers(name), row, strict=True)
    return {column: read(value) for (column, read), value in found}


@cache
def _readers(name: str) -> Sequence[tuple[str, Callable[[Any], Any]]]:
    columns = STATEMENTS[name].columns
    found: Sequence[Column] = COLUMNS[columns] if isinstance(columns, str) else columns
    return [(each.name, sqlite_reader(each.kind, each.choices)) for each in found]


class SqliteFile:
    """Connections to a SQLite file. Threads may share it.

    Args:
        wait: Seconds to wait for another process that has locked the file (default: as in
            ``deploycore.store.waiting``).
    """

    def __init__(self, path: Path, *, wait: float | None = None) -> None:
        self._path = path
        self._wait = waiting.BUSY_SECONDS if wait is None else wait
        self._lock = Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    def is_up_to_date(self) -> bool:
        """Whether the file has the tables of this version."""
        with self._connection() as connection, suppress(sqlite3.OperationalError):
            # Usually there is no table. The code that creates the tables reports any other reason.
            return connection.execute(_SELECT_REVISION).fetchall() == [(REVISION,)]
        return False

    @contextmanager
    def transaction(
        self, *, writes: bool, patience: float | None = None
    ) -> Iterator[DirectStatements]:
        """A transaction, as ``Database.reading`` and ``Database.writing`` describe it."""
        wait = self._wait if patience is None else min(patience, self._wait)
        with self._connection() as connection, _waiting(connection, wait, self._wait):
            try:
                _execute(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")
                yield DirectStatements(connection)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        """Close the connections. A connection that is in use is closed after its use."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            known = self._idle.pop() if self._idle else None
        connection = known or self._opened()
        try:
            yield connection
        finally:
            with self._lock:
                is_kept = not self._is_closed and len(self._idle) < _IDLE_MOST
                is_kept &= not connection.in_transaction
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        # The file is opened, but never created: the code that creates it also sets its mode and its
        # owner.
        address = f"file:{quote(str(self._path))}?mode=rw"
        connection = sqlite3.dbapi2.connect(
            address,
            uri=True,
            timeout=self._wait,
            check_same_thread=False,
            isolation_level=None,
        )
        prepare_sqlite(connection)
        return connection


@contextmanager
def _waiting(connection: sqlite3.Connection, seconds: float, otherwise: float) -> Iterator[None]:
    """Wait so many seconds for another process that has locked the file."""
    if seconds == otherwise:
        yield
        return
    _execute(connection, f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    try:
        yield
    finally:
        _execute(connection, f"PRAGMA busy_timeout = {round(otherwise * 1000)}")


def _execute(connection: sqlite3.Connection, text: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(text)
    finally:
        cursor.close()
