"""Inspect the database without changing it: without creating, migrating or checkpointing it.

Use it to find out what is wrong. ``Store`` would repair some problems, or wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, func, inspect, select, text
from sqlalchemy.exc import OperationalError

from deploycore.errors import StoreError
from deploycore.settings import Settings
from deploycore.store import migrations
from deploycore.store.ahead import TimesAhead, find_times_ahead
from deploycore.store.application_records import readable_application
from deploycore.store.claims import is_claimed
from deploycore.store.drivers import read_text
from deploycore.store.engine import engine_of, present
from deploycore.store.failures import Place, place_of, typed_errors
from deploycore.store.reading import as_record, first_readable, read_records
from deploycore.store.records import (
    ApplicationRecord,
    DeploymentRecord,
    PreviewRecord,
    ProviderRecord,
    RepositoryRecord,
)
from deploycore.store.repositories import record_of
from deploycore.store.states import FINAL_STATES
from deploycore.store.tables import (
    REVISION,
    deployments,
    metadata,
    polls,
    previews,
    providers,
    reception,
    triggers,
    webhooks,
    workers,
)
from deploycore.store.times import TOLERANCE, is_ahead
from deploycore.store.values import load_json

__all__ = ["Inspection", "inspect_database", "known_releases"]

_BUSY_SECONDS = 3
_MOST_FAULTS = 5
_MOST_DAMAGED = 100
_OLDEST_LOOKED_AT = 20


@dataclass(frozen=True)
class Inspection:
    """The state of the database, and what it contains.

    Attributes:
        name: A description of the database, without a password.
        path: The file, for SQLite.
        is_there: Whether the database exists.
        revision: The revision of its tables; ``None`` if it has none.
        is_known: Whether this version of deploycore knows the revision. If the revision is not the
            newest one, the following fields are empty.
        damage: The damage that SQLite's own check has found.
        is_busy: Whether another process prevents all others from writing.
        damaged: A description of each record that is damaged or has an unknown form.
        unfinished: Deployments that have not ended.
        ended_previews: Previews of closed pull requests that must still be removed.
        worker_seconds: Seconds since the last heartbeat of a worker; 0 if a worker is working on an
            application, ``None`` if no worker is known.
        waiting_seconds: How long the oldest trigger without an attempt has waited; 0 if there is
            none.
        unchecked: The number of applications that must be checked because deliveries may have been
            missed.
        unchecked_seconds: How long the first of these has waited; 0 if there is none.
        server_seconds: Seconds since a server was last seen; ``None`` if this is unknown.
        webhooks: The number of applications with webhooks.
        repositories: The known repositories of applications.
        ahead: Times that are too far in the future.
    """

    name: str
    path: Path | None
    is_there: bool = True
    revision: str | None = None
    is_known: bool = True
    damage: tuple[str, ...] = ()
    is_busy: bool = False
    providers: tuple[ProviderRecord, ...] = ()
    applications: tuple[ApplicationRecord, ...] = ()
    damaged: tuple[StoreError, ...] = ()
    unfinished: tuple[DeploymentRecord, ...] = ()
    ended_previews: tuple[PreviewRecord, ...] = ()
    worker_seconds: float | None = None
    waiting_seconds: float = 0.0
    unchecked: int = 0
    unchecked_seconds: float = 0.0
    server_seconds: float | None = None
    webhooks: int = 0
    repositories: tuple[RepositoryRecord, ...] = ()
    ahead: tuple[TimesAhead, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether the tables have the revision of this version of deploycore."""
        return self.revision == REVISION


def inspect_database(settings: Settings) -> Inspection:
    """Inspect the database of the settings.

    Raises:
        StoreError: The database cannot be opened or read.
    """
    engine = engine_of(settings.database_url)
    place = place_of(engine.url)
    if place.path is None:
        return _inspected(engine, place)
    engine.dispose()
    with typed_errors(place):
        if place.path.exists() and not place.path.is_file():
            raise place.error("is not a regular file", "Move it away, and put back a backup.")
        if not place.path.exists() or place.path.stat().st_size == 0:
            return Inspection(place.name, place.path, is_there=False)
    is_still = not _is_in_use(place.path)
    try:
        found = _inspected(_reading(place.path, is_still=is_still), place)
    except StoreError:
        if not is_still or not _is_in_use(place.path):
            raise
        found = None
    if found is None or (is_still and found.damage and _is_in_use(place.path)):
        # Another process began to write while the file was read as immutable.
        found = _inspected(_reading(place.path, is_still=False), place)
    return found


def known_releases(
    settings: Settings, names: Mapping[str, Sequence[str]]
) -> dict[str, frozenset[str]]:
    """Return which of the names are releases that deployments have created.

    Args:
        names: The names, by application.

    Raises:
        StoreError: The database cannot be opened or read.
    """
    engine = engine_of(settings.database_url)
    place = place_of(engine.url)
    if place.path is not None:
        engine.dispose()
        engine = _reading(place.path, is_still=not _is_in_use(place.path))
    try:
        with typed_errors(place), engine.connect() as connection:
            return {each: _known_of(connection, each, names[each]) for each in names}
    finally:
        engine.dispose()


def _known_of(connection: Connection, application: str, names: Sequence[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    query = select(deployments.c.release).where(
        deployments.c.application == application,
        deployments.c.kind == "deploy",
        deployments.c.release.in_(names),
    )
    return frozenset(connection.scalars(query))


def _is_in_use(path: Path) -> bool:
    """Whether a process has the database open, or died while it was open: then there is a
    journal."""
    return any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))


def _reading(path: Path, *, is_still: bool) -> Engine:
    # Without `immutable`, SQLite creates files beside the database even for reading.
    uri = _uri(path, "mode=ro&immutable=1" if is_still else "mode=ro")

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
        made.text_factory = read_text
        return made

    return create_engine(
        "sqlite://", creator=connect, hide_parameters=True, json_deserializer=load_json
    )


def _uri(path: Path, how: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{how}"


def _inspected(engine: Engine, place: Place) -> Inspection:
    try:
        with typed_errors(place), engine.connect() as connection:
            return _read(connection, place)
    except _Busy:
        pass
    finally:
        engine.dispose()
    raise place.error(
        "is kept locked by another process",
        f"Find out which process has it open, and end that: fuser {place.path}",
    )


class _Busy(Exception):
    """Another process prevents reading."""


def _read(connection: Connection, place: Place) -> Inspection:
    damage: tuple[str, ...] = ()
    is_busy = False
    if place.path is not None:
        damage = _damage(connection)
        is_busy = _is_in_use(place.path) and _is_kept_from_writing(place.path)
    revision = None
    if not damage and inspect(connection).has_table("alembic_version"):
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision != REVISION:
        return Inspection(
            place.name,
            place.path,
            revision=revision,
            is_known=revision is None or migrations.is_known(revision),
            damage=damage,
            is_busy=is_busy,
        )
    damaged: list[StoreError] = []
    records = {
        table.name: tuple(_records(connection, table, damaged)) for table in metadata.sorted_tables
    }
    return Inspection(
        place.name,
        place.path,
        revision=revision,
        is_busy=is_busy,
        providers=records["providers"],
        applications=records["applications"],
        damaged=(*damaged, *_orphans(connection))[:_MOST_DAMAGED],
        unfinished=tuple(each for each in records["deployments"] if each is not None),
        ended_previews=tuple(each for each in records["previews"] if each is not None),
        worker_seconds=_seconds_since_a_sign(connection),
        waiting_seconds=_seconds_waited(connection),
        **_reception(connection),
        repositories=records["repositories"],
        ahead=find_times_ahead(connection),
    )


def _seconds_since_a_sign(connection: Connection) -> float | None:
    now = present(connection)
    if connection.scalar(select(func.count()).where(is_claimed(now))):
        return 0.0
    believed = workers.c.seen_at <= now + TOLERANCE
    seen = select(workers.c.seen_at).where(believed).order_by(workers.c.seen_at.desc())
    return _seconds_before(now, first_readable(connection, seen.limit(_OLDEST_LOOKED_AT)))


def _seconds_waited(connection: Connection) -> float:
    is_new = triggers.c.settled_at.is_(None) & (triggers.c.attempts == 0)
    oldest = select(triggers.c.received_at).where(is_new).order_by(triggers.c.id + 0)
    at = first_readable(connection, oldest.limit(_OLDEST_LOOKED_AT))
    return _seconds_before(present(connection), at) or 0.0


def _reception(connection: Connection) -> dict[str, Any]:
    """Return what is known about servers, and about deliveries that may have been missed."""
    now = present(connection)
    is_owed = polls.c.requested_at.is_not(None)
    since = select(polls.c.requested_at).where(is_owed).order_by(polls.c.requested_at)
    oldest = first_readable(connection, since.limit(_OLDEST_LOOKED_AT))
    seen_at = first_readable(connection, select(reception.c.seen_at))
    if is_ahead(seen_at, now):
        seen_at = None
    return {
        "unchecked": connection.scalar(select(func.count()).where(is_owed)) or 0,
        "unchecked_seconds": _seconds_before(now, oldest) or 0.0,
        "server_seconds": _seconds_before(now, seen_at),
        "webhooks": connection.scalar(select(func.count()).select_from(webhooks)) or 0,
    }


def _seconds_before(now: datetime, at: datetime | None) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())


def _damage(connection: Connection) -> tuple[str, ...]:
    try:
        check = connection.execute(text(f"PRAGMA quick_check({_MOST_FAULTS})"))
        return tuple(said for said in map(str, check.scalars()) if said != "ok")
    except OperationalError as error:
        if not _says_busy(error.orig):
            raise
    raise _Busy


def _says_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _records(connection: Connection, table: Table, damaged: list[StoreError]) -> Iterator[Any]:
    """Return the records of a table if the report needs them (those in ``_MAKERS``); otherwise
    ``None``."""
    make = _MAKERS.get(table.name, lambda row: None)
    query = select(table).order_by(*table.primary_key)
    return read_records(connection, table, query, make, errors=damaged)


def _unfinished(row: Mapping[Any, Any]) -> DeploymentRecord | None:
    return None if row["state"] in FINAL_STATES else _DEPLOYMENT(row)


def _ended_preview(row: Mapping[Any, Any]) -> PreviewRecord | None:
    return None if row["ended_at"] is None else _PREVIEW(row)


_DEPLOYMENT = as_record(DeploymentRecord, deployments)
_PREVIEW = as_record(PreviewRecord, previews)
_MAKERS: Mapping[str, Callable[[Mapping[Any, Any]], Any]] = {
    "applications": readable_application,
    "deployments": _unfinished,
    "previews": _ended_preview,
    "providers": as_record(ProviderRecord, providers),
    "repositories": record_of,
}


def _orphans(connection: Connection) -> Iterator[StoreError]:
    """Return the records that refer to missing records. They exist if a person has written to
    SQLite without its checks."""
    if connection.dialect.name != "sqlite":
        return
    for table, row, other, _ in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(
        _MOST_DAMAGED
    ):
        yield StoreError(
            f"The record with the row number {row} of the table {table!r} is damaged: it refers to"
            f" a record of the table {other!r} that does not exist.",
            hint="Restore a backup of the database.",
            table=table,
        )


def _is_kept_from_writing(path: Path) -> bool:
    """Whether no other process can write. Nothing is written here.

    The caller has the database open too, so closing this connection does not merge the journal.
    """
    how = _uri(path, "mode=rw")
    try:
        with closing(sqlite3.connect(how, uri=True, timeout=_BUSY_SECONDS)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return _says_busy(error)
    return False
