"""Open a database with SQLAlchemy: create it, migrate it, and begin its transactions.

The tables and statements are the same for every database. Only this module and ``direct`` have what
SQLite needs in addition: modes, pragmas, explicit transactions, and a lock for creation and
migration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError
from sqlalchemy.pool import QueuePool

from deploycore.distribution import install_command
from deploycore.errors import StoreError
from deploycore.settings import DATABASE_URL, Settings
from deploycore.store import waiting
from deploycore.store.database import has_content
from deploycore.store.drivers import prepare_connection, prepare_sqlite, wait_without_limit
from deploycore.store.failures import Place, place_of, typed_errors
from deploycore.store.tables import REVISION
from deploycore.store.values import load_json
from deploycore.store.waiting import NETWORK, POOL, limit_server

__all__ = [
    "check_writing",
    "engine_of",
    "is_exhausted",
    "open_engine",
    "present",
    "transaction",
]

_SET_UP_SECONDS = 60
_SELECT_REVISION = text("SELECT version_num FROM alembic_version")
_COUNT_OBJECTS = text("SELECT count(*) FROM sqlite_master")
# any number that no other program is likely to use
_LOCK_SERVER = text("SELECT pg_advisory_xact_lock(7023648101)")
_WRITING = "deploycore_writing"
_MIGRATING = "deploycore_migrating"
_PATIENCE = "deploycore_patience"
_OF_LIBPQ = {"psycopg", "psycopg2", "psycopg2cffi"}
_EXAMPLES = "sqlite:////var/lib/deploycore.db or postgresql+psycopg://user:password@host/name"


def check_writing(connection: Connection) -> None:
    """Check that a transaction for writing can write, without changing anything.

    Raises:
        StoreError: The server accepts no changes, for example because it is a standby.
    """
    # otherwise the transaction could not have begun
    is_server = connection.dialect.name == "postgresql"
    if is_server and connection.scalar(text("SHOW transaction_read_only")) == "on":
        raise place_of(connection.engine.url).error(
            "is read-only", f"See which server {DATABASE_URL} names."
        )
    # SQLite would not write a row that does not change.
    connection.execute(text("UPDATE alembic_version SET version_num = version_num || '-'"))
    connection.execute(text("UPDATE alembic_version SET version_num = rtrim(version_num, '-')"))


def present(connection: Connection) -> datetime:
    """Return the current time of the database: the server's time, or this machine's for SQLite.

    The clocks of machines differ. Use this for times that several machines compare.
    """
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    at: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return at.astimezone(UTC)


@contextmanager
def transaction(
    engine: Engine, *, writes: bool, patience: float | None = None
) -> Iterator[Connection]:
    """A transaction, as ``Database.reading`` and ``Database.writing`` describe it."""
    options: dict[str, Any] = {_WRITING: True, _PATIENCE: patience} if writes else {}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        if patience is not None and connection.dialect.name == "postgresql":
            limits = {"lock_timeout": round(patience * 1000)}
            connection.exec_driver_sql(limit_server(limits, local=True))
        yield connection


def is_exhausted(engine: Engine) -> bool:
    """Whether all connections that this process may open are in use."""
    if not isinstance(engine.pool, QueuePool) or engine.dialect.name == "sqlite":
        return False
    most: int = POOL["pool_size"] + POOL["max_overflow"]
    return engine.pool.checkedout() >= most


def open_engine(settings: Settings) -> Engine:
    """Open the database of the settings. It is created, or migrated, if it is not up to date.

    Raises:
        StoreError: The URL is invalid, or the database cannot be used.
    """
    engine = engine_of(settings.database_url)
    place = place_of(engine.url)
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
            # After a restart of the server, all of its connections are closed. No request may fail
            # because of that, least of all those of hosts, which send a webhook only once.
            pool_pre_ping=not is_sqlite,
            json_deserializer=load_json,
            **(
                {"connect_args": {"timeout": waiting.BUSY_SECONDS}}
                if is_sqlite
                else _server_options(url)
            ),
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
        event.listen(engine, "connect", lambda connection, record: prepare_sqlite(connection))
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
    # The libraries' errors may contain the URL with its password, so ours is raised outside of
    # their handler.
    try:
        return make_url(database_url)
    except (ArgumentError, ValueError):
        pass
    raise StoreError(
        f"{DATABASE_URL} is not a valid database URL.",
        hint=f"Write, for example, {_EXAMPLES}. Percent-encode special characters in a password.",
    )


def _begin_sqlite_transaction(connection: Connection) -> None:
    # The driver would begin the transaction late, and not at all for CREATE TABLE, which would
    # leave incomplete migrations: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html. A
    # transaction that first reads and later writes fails at once, without waiting, if another one
    # has written in between. So transactions for writing declare that at their beginning.
    options = connection.get_execution_options()
    if options.get(_MIGRATING):
        # A table that is recreated is dropped first, which would delete the rows that refer to it:
        # https://www.sqlite.org/lang_altertable.html, 7. The pragma has no effect within a
        # transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    if options.get(_WRITING):
        patience = options.get(_PATIENCE)
        seconds = waiting.BUSY_SECONDS if patience is None else min(patience, waiting.BUSY_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITING) else "BEGIN")


def _bring_up_to_date(engine: Engine, place: Place, settings: Settings) -> None:
    if place.path is None or has_content(place.path):
        with engine.connect() as connection:
            if _is_up_to_date(connection):
                return
    from filelock import FileLock  # imports asyncio

    settings.make_home()
    with FileLock(settings.home / "database.lock", timeout=_SET_UP_SECONDS, mode=0o600):
        if place.path is not None:
            _prepare_sqlite_file(engine, place.path)
        options = {_WRITING: True, _MIGRATING: place.path is not None}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            _migrate(connection, place)
    engine.dispose()  # this closes the connection with foreign keys turned off


def _is_up_to_date(connection: Connection) -> bool:
    try:
        return bool(connection.scalar(_SELECT_REVISION) == REVISION)
    except (OperationalError, ProgrammingError):
        return False  # usually the table does not exist; the setup reports any other reason


def _prepare_sqlite_file(engine: Engine, path: Path) -> None:
    """Make the new file private before data is written to it, and choose a mode in which readers do
    not wait."""
    if not has_content(path):
        # Never for a database that this process has open: to close any descriptor of a file drops
        # all locks of the process on it (https://sqlite.org/howtocorrupt.html, 2.2). The next
        # process that ends would remove the write-ahead log from under the open connections.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = engine.raw_connection()
    try:
        # The file stores this mode. SQLite does not wait for other processes here, so the lock is
        # needed.
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _migrate(connection: Connection, place: Place) -> None:
    if connection.dialect.name == "postgresql":
        # A migration may take any time. Other processes wait for it as long as for the lock file.
        wait_without_limit(connection.connection.driver_connection)
        limits = {"lock_timeout": _SET_UP_SECONDS * 1000, "statement_timeout": 0}
        connection.exec_driver_sql(limit_server(limits, local=True))
        connection.execute(_LOCK_SERVER)  # the lock file stops only processes of this machine
    is_new = not inspect(connection).has_table("alembic_version")
    revision = None if is_new else connection.scalar(_SELECT_REVISION)
    if revision == REVISION:
        return
    if place.path is not None and not connection.scalar(_COUNT_OBJECTS):
        _create(connection)
        return
    from deploycore.store import migrations  # Importing Alembic takes 150 ms

    if revision is not None and not migrations.is_known(revision):
        raise place.error(
            f"was written by a newer deploycore (its version is {revision}, this deploycore "
            f"knows up to {REVISION})",
            "Upgrade deploycore.",
        )
    migrations.upgrade(connection)


def _create(connection: Connection) -> None:
    """Create the tables of a new SQLite database as the migrations would, which take half a
    second."""
    from deploycore.store.creation import CREATION

    for statement in CREATION:
        connection.exec_driver_sql(statement)
