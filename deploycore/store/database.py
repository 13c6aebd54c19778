"""Open the database, and run transactions.

There are two kinds of transactions. Those of SQLAlchemy can do everything, and import it. Those for
named statements (see ``named``) do not need it if the database is a SQLite file. Commands that use
only these start in half the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deploycore.settings import Settings
from deploycore.store.direct import SqliteFile, path_of
from deploycore.store.failures import (
    Place,
    Unanswered,
    place_of,
    place_of_file,
    typed_errors,
    unanswered,
)
from deploycore.store.named import Statements, StatementsOfEngine

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Database", "chunks", "has_content"]

_SILENT_SECONDS = 3.0
"""After a server has not responded in time, no other thread waits for it for this number of
seconds. Otherwise, many threads in a queue would each wait for the whole time."""

_VALUES_AT_ONCE = 1000

T = TypeVar("T")


class Database:
    """The database of the settings. It is opened, created and migrated when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = path_of(settings.database_url)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._direct: SqliteFile | None = None
        self._place: Place | None = None
        self._file: tuple[int, int] | None = None
        self._silent_until = 0.0

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one state of the database, and does not block writers.

        Raises:
            StoreError: The database cannot be opened or read.
        """
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self, *, patience: float | None = None) -> Iterator[Connection]:
        """A transaction for writing. If the block raises, nothing is written.

        Args:
            patience: The maximum seconds to wait for other transactions (default: as in
                ``deploycore.store.waiting``).

        Raises:
            StoreError: The database cannot be opened or written.
        """
        with self._transaction(writes=True, patience=patience) as connection:
            yield connection

    @contextmanager
    def reading_by_name(self) -> Iterator[Statements]:
        """The same as ``reading``, for named statements."""
        with self._statements(writes=False) as statements:
            yield statements

    @contextmanager
    def writing_by_name(self, *, patience: float | None = None) -> Iterator[Statements]:
        """The same as ``writing``, for named statements."""
        with self._statements(writes=True, patience=patience) as statements:
            yield statements

    @property
    def has_one_writer(self) -> bool:
        """Whether only one transaction at a time can write, as in SQLite."""
        if self._path is not None:
            return True
        from sqlalchemy import make_url

        return make_url(self._settings.database_url).get_backend_name() == "sqlite"

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections that this process may open are in use."""
        engine = self._engine
        if engine is None:
            return False
        from deploycore.store.engine import is_exhausted

        return is_exhausted(engine)

    def close(self) -> None:
        """Close all connections. The next use opens the database again."""
        with self._lock:
            self._dispose()

    @contextmanager
    def _statements(self, *, writes: bool, patience: float | None = None) -> Iterator[Statements]:
        path = self._path
        if path is None:
            with self._transaction(writes=writes, patience=patience) as connection:
                yield StatementsOfEngine(connection)
            return
        file, place = self._opened_directly(path)
        with (
            typed_errors(place),
            file.transaction(writes=writes, patience=patience) as statements,
        ):
            yield statements

    @contextmanager
    def _transaction(self, *, writes: bool, patience: float | None = None) -> Iterator[Connection]:
        from deploycore.store.engine import transaction

        engine, place = self._opened()
        if time.monotonic() < self._silent_until:
            raise unanswered(place)
        try:
            with (
                typed_errors(place),
                transaction(engine, writes=writes, patience=patience) as connection,
            ):
                yield connection
        except Unanswered:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            raise

    def _opened(self) -> tuple[Engine, Place]:
        with self._lock:
            self._check_file()
            engine = self._engine or self._open()
            return engine, self._place or place_of(engine.url)

    def _opened_directly(self, path: Path) -> tuple[SqliteFile, Place]:
        with self._lock:
            self._check_file()
            if self._direct is None:
                self._direct = self._open_directly(path)
            return self._direct, self._place or place_of_file(path)

    def _open_directly(self, path: Path) -> SqliteFile:
        place = place_of_file(path)
        file = SqliteFile(path)
        try:
            with typed_errors(place):
                is_ready = has_content(path) and file.is_up_to_date()
                identity = _identity(path)
            if is_ready:
                self._place, self._file = place, identity
            elif self._engine is None:
                self._open()
        except BaseException:
            file.close()
            raise
        return file

    def _open(self) -> Engine:
        """Open the database with SQLAlchemy, which creates or migrates it if it has to be."""
        from deploycore.store.engine import open_engine

        self._engine = open_engine(self._settings)
        self._place = place_of(self._engine.url)
        with typed_errors(self._place):
            self._file = _identity(self._place.path)
        return self._engine

    def _check_file(self) -> None:
        """Close the connections if another file has replaced the database.

        Raises:
            StoreError: The file does not exist any more.
        """
        if self._place is None:
            return
        with typed_errors(self._place):
            file = _identity(self._place.path)
        if self._file is not None and file is None:
            # The open file could still be written, but no other process would ever find it.
            raise self._place.error(
                "is gone", "Restore it from a backup. A restart creates an empty database."
            )
        if file != self._file:  # for example because a backup was restored
            self._dispose()

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._direct is not None:
            self._direct.close()
        self._engine = self._direct = self._place = None


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split values into parts that fit into one statement.

    SQLite allows 32,766 parameters in a statement, PostgreSQL 65,535.
    """
    for start in range(0, len(values), _VALUES_AT_ONCE):
        yield values[start : start + _VALUES_AT_ONCE]


def has_content(path: Path) -> bool:
    """Whether a file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return the identity of a file, which differs from that of a replacement; ``None`` if it does
    not exist."""
    try:
        found = path and path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_dev, found.st_ino) if found else None
