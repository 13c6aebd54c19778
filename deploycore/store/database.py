"""Open the database, migrate it, and run transactions.

The tables and statements are the same for every database. Only this module has what SQLite needs in
addition: modes, pragmas, explicit transactions, and a lock for creation and migration.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import QueuePool

from deploycore.distribution import install_command
from deploycore.errors import ConfigurationError, StoreError
from deploycore.settings import DATABASE_URL, Settings
from deploycore.store.columns import Unstorable, load_json
from deploycore.store.drivers import prepare_connection, read_text, wait_without_limit
from deploycore.store.failures import Place, Unanswered, store_error, unanswered
from deploycore.store.tables import REVISION
from deploycore.store.waiting import BUSY_SECONDS, NETWORK, POOL, limit_server

__all__ = ["Database", "chunks", "present"]

_SET_UP_SECONDS = 60
_SILENT_SECONDS = 3.0
"""How long nobody else waits for a server that has not answered in time: many may be in a queue."""
_SELECT_REVISION = text("SELECT version_num FROM alembic_version")
_LOCK_SERVER = text("SELECT pg_advisory_xact_lock(7023648101)")  # any number of our own
_WRITING = "deploycore_writing"
_MIGRATING = "deploycore_migrating"
_PATIENCE = "deploycore_patience"
_OF_LIBPQ = {"psycopg", "psycopg2", "psycopg2cffi"}
_VALUES_AT_ONCE = 1000
_EXAMPLES = "sqlite:////var/lib/deploycore.db or postgresql+psycopg://user:password@host/name"


T = TypeVar("T")


class Database:
    """The database of the settings. It is opened, created and migrated when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None
        self._silent_until = 0.0

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one state of the database, and does not block writers.

        Raises:
            StoreError: The database cannot be opened or read.
        """
        with self._transaction() as connection:
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
        options = {_WRITING: True, _PATIENCE: patience}
        with self._transaction(**options) as connection:
            if patience is not None and connection.dialect.name == "postgresql":
                limits = {"lock_timeout": round(patience * 1000)}
                connection.exec_driver_sql(limit_server(limits, local=True))
            yield connection

    @property
    def has_one_writer(self) -> bool:
        """Whether only one transaction at a time can write, as in SQLite."""
        return make_url(self._settings.database_url).get_backend_name() == "sqlite"

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections that this process may open are in use."""
        engine = self._engine
        if engine is None or not isinstance(engine.pool, QueuePool) or self.has_one_writer:
            return False
        most: int = POOL["pool_size"] + POOL["max_overflow"]
        return engine.pool.checkedout() >= most

    def close(self) -> None:
        """Close all connections. The next use opens the database again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def _transaction(self, **options: Any) -> Iterator[Connection]:
        engine = self._opened()
        place = Place.of(engine.url)
        if time.monotonic() < self._silent_until:
            raise unanswered(place)
        try:
            with (
                typed_errors(place),
                engine.connect().execution_options(**options) as connection,
                connection.begin(),
            ):
                yield connection
        except Unanswered:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            raise

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is not None:
                place = Place.of(self._engine.url)
                with typed_errors(place):
                    file = _identity(place.path)
                if self._file is not None and file is None:
                    # What is open could still be written, and nobody would ever find it.
                    raise place.error(
                        "is gone", "Restore it from a backup. A restart creates an empty database."
                    )
                if file != self._file:  # such as a backup that was put back
                    self._engine.dispose()
                    self._engine = None
            if self._engine is None:
                self._engine = _open(self._settings)
                place = Place.of(self._engine.url)
                with typed_errors(place):
                    self._file = _identity(place.path)
            return self._engine


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one in its place; ``None`` where there is none."""
    try:
        found = path and path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_dev, found.st_ino) if found else None


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split values into parts that fit into one statement.

    SQLite allows 32,766 parameters in a statement, PostgreSQL 65,535.
    """
    for start in range(0, len(values), _VALUES_AT_ONCE):
        yield values[start : start + _VALUES_AT_ONCE]


def check_writable(connection: Connection) -> None:
    """Check that a transaction that was started for writing can write.

    Raises:
        StoreError: The server accepts no changes, for example because it is a standby.
    """
    if connection.dialect.name != "postgresql":
        return  # the transaction could not have started
    if connection.scalar(text("SHOW transaction_read_only")) == "on":
        raise Place.of(connection.engine.url).error(
            "is read-only", f"See which server {DATABASE_URL} names."
        )


def present(connection: Connection) -> datetime:
    """Return the current time of the database: the server's time, or this machine's for SQLite.

    The clocks of machines differ. Use this for times that several machines compare.
    """
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    at: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return at.astimezone(UTC)


def _open(settings: Settings) -> Engine:
    engine = engine_of(settings.database_url)
    place = Place.of(engine.url)
    try:
        with typed_errors(place):
            _bring_up_to_date(engine, place, settings)
    except BaseException:
        engine.dispose()
        raise
    return engine


def engine_of(database_url: str) -> Engine:
    """Create the engine for a URL, without opening a connection.

    Raises:
        StoreError: The URL is invalid, or its database cannot be used on this machine.
    """
    url = _parsed(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and (url.database in (None, "", ":memory:") or "mode=memory" in database_url):
        raise StoreError(
            f"{DATABASE_URL} names a database in memory, which keeps nothing.",
            hint="Name a file: sqlite:////absolute/path.",
        )
    missing = ""
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            # A server that was started again has ended all connections: nobody should be refused
            # for each of them, least of all hosts that send a webhook once.
            pool_pre_ping=not is_sqlite,
            json_deserializer=load_json,
            **({"connect_args": {"timeout": BUSY_SECONDS}} if is_sqlite else _server_options(url)),
        )
    except NoSuchModuleError:
        raise StoreError(
            f"{DATABASE_URL} names an unknown kind of database: {url.drivername!r}.",
            hint=f"Write, for example, {_EXAMPLES}.",
        ) from None
    except ImportError as error:
        missing = error.name or url.get_driver_name()
    if missing:
        raise StoreError(
            f"The database of {DATABASE_URL} needs the Python package {missing!r}, which is not "
            "installed.",
            hint=f"Install the extra where deploycore is installed: {install_command('fleet')}"
            if missing == "psycopg"
            else f"Install it where deploycore is installed: pip install {missing}",
        )
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite_connection)
        event.listen(engine, "begin", _begin_sqlite_transaction)
    elif url.get_backend_name() == "postgresql":
        event.listen(engine, "connect", prepare_connection)
    return engine


def _server_options(url: URL) -> dict[str, Any]:
    """Return the options of the connection pool, and the network limits that the URL does not
    set."""
    is_libpq = url.get_backend_name() == "postgresql" and url.get_driver_name() in _OF_LIBPQ
    network = {name: value for name, value in NETWORK.items() if name not in url.query}
    return {**POOL, "connect_args": network if is_libpq else {}}


def _parsed(database_url: str) -> URL:
    # The foreign errors may quote the URL with its password: ours is raised apart from them.
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        pass
    raise StoreError(
        f"{DATABASE_URL} is not a valid database URL.",
        hint=f"Write, for example, {_EXAMPLES}. Percent-encode special characters in a password.",
    )


def _prepare_sqlite_connection(connection: Any, record: object) -> None:
    try:
        connection.text_factory = read_text
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()  # SQLAlchemy does not know it yet
        raise


def _begin_sqlite_transaction(connection: Connection) -> None:
    # The driver would begin late, and not at all for CREATE TABLE, which would leave migrations
    # half-written: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html. And a transaction
    # that reads first and writes later fails at once, instead of waiting, when another has
    # written in between; so writers say it from the start.
    options = connection.get_execution_options()
    if options.get(_MIGRATING):
        # A table that is made anew is dropped first, which would take what refers to it along:
        # https://www.sqlite.org/lang_altertable.html, 7. It can't be said within a transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    if options.get(_WRITING):
        patience = options.get(_PATIENCE)
        seconds = BUSY_SECONDS if patience is None else min(patience, BUSY_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITING) else "BEGIN")


def _bring_up_to_date(engine: Engine, place: Place, settings: Settings) -> None:
    if place.path is None or _has_content(place.path):
        with engine.connect() as connection:
            if _is_up_to_date(connection):
                return
    from filelock import FileLock  # brings asyncio

    settings.make_home()
    with FileLock(settings.home / "database.lock", timeout=_SET_UP_SECONDS, mode=0o600):
        if place.path is not None:
            _prepare_sqlite_file(engine, place.path)
        options = {_WRITING: True, _MIGRATING: place.path is not None}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            _migrate(connection, place)
    engine.dispose()  # the connection that minded no foreign keys


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_up_to_date(connection: Connection) -> bool:
    try:
        return bool(connection.scalar(_SELECT_REVISION) == REVISION)
    except (OperationalError, ProgrammingError):
        return False  # mostly for want of the table; setting up meets any other reason again


def _prepare_sqlite_file(engine: Engine, path: Path) -> None:
    """Make the new file private before data is written to it, and choose a mode in which readers do
    not wait."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = engine.raw_connection()
    try:
        # Kept in the file. SQLite does not wait for others here, so it needs the lock.
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _migrate(connection: Connection, place: Place) -> None:
    from deploycore.store import migrations  # Alembic costs 150 ms: only for what needs it

    if connection.dialect.name == "postgresql":
        # A migration takes as long as it takes; who waits for it does so as for the lock file.
        wait_without_limit(connection.connection.driver_connection)
        limits = {"lock_timeout": _SET_UP_SECONDS * 1000, "statement_timeout": 0}
        connection.exec_driver_sql(limit_server(limits, local=True))
        connection.execute(_LOCK_SERVER)  # the lock file holds off this machine's processes alone
    is_new = not inspect(connection).has_table("alembic_version")
    revision = None if is_new else connection.scalar(_SELECT_REVISION)
    if revision == REVISION:
        return
    if revision is not None and not migrations.is_known(revision):
        raise place.error(
            f"was written by a newer deploycore (its version is {revision}, this deploycore "
            f"knows up to {REVISION})",
            "Upgrade deploycore.",
        )
    migrations.upgrade(connection)


@contextmanager
def typed_errors(place: Place) -> Iterator[None]:
    """Convert errors of the database to typed errors, without values of rows.

    Raises:
        StoreError, ConfigurationError: The converted error.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = error.orig if isinstance(error, StatementError) else error
        if isinstance(cause, Unstorable):
            raise _unstorable(cause.why) from None
        if isinstance(error, DBAPIError):
            error.params = None
        raise store_error(error, place) from None
    except UnicodeEncodeError:
        raise _unstorable("should be valid Unicode text") from None
    except OverflowError:
        raise _unstorable("should be an integer of at most 64 bits") from None


def _unstorable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"A value cannot be stored or found, because it {why}.",
        hint="Remove control characters and invalid characters from the values.",
    )
