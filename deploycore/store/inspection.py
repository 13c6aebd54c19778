"""A look into the database that changes nothing: nothing is made, migrated, or even checkpointed.

For who wants to know what is wrong, while ``Store`` would put it right, or wait.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, func, inspect, select, text
from sqlalchemy.exc import OperationalError

from deploycore.errors import StoreError
from deploycore.settings import Settings
from deploycore.store import migrations
from deploycore.store.ahead import TimesAhead, find_times_ahead
from deploycore.store.claims import is_claimed
from deploycore.store.database import engine_of, present, typed_errors
from deploycore.store.failures import Place
from deploycore.store.records import ApplicationRecord, DeploymentRecord, ProviderRecord
from deploycore.store.states import FINAL_STATES
from deploycore.store.store import application_of
from deploycore.store.tables import (
    REVISION,
    applications,
    claims,
    deployments,
    providers,
    triggers,
    workers,
)
from deploycore.store.times import TOLERANCE

__all__ = ["Inspection", "inspect_database"]

_BUSY_SECONDS = 3
_MOST_FAULTS = 5


@dataclass(frozen=True)
class Inspection:
    """What a database is like, and what is in it.

    Attributes:
        name: Of the database, in words that hold no password.
        path: The file, for SQLite.
        is_there: Whether there is one at all.
        revision: Of its tables; ``None`` where it has none.
        is_known: Whether this deploycore knows the revision. Where it is not the newest one,
            nothing of what follows is known.
        damage: What SQLite's own check has found.
        is_busy: Whether another process keeps everybody from writing.
        unknown: Of applications that are stored in an unknown form.
        unfinished: Deployments that have not come to an end.
        worker_seconds: How long ago a worker gave a sign of life; 0 where one has an application
            in hand, ``None`` where none is known.
        waiting_seconds: How long the oldest trigger waits that nobody has tried to settle; 0
            where none waits.
        ahead: Times that lie further ahead than they could have been set.
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
    unknown: tuple[StoreError, ...] = ()
    unfinished: tuple[DeploymentRecord, ...] = ()
    worker_seconds: float | None = None
    waiting_seconds: float = 0.0
    ahead: tuple[TimesAhead, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether its tables are those of this deploycore."""
        return self.revision == REVISION


def inspect_database(settings: Settings) -> Inspection:
    """Look into the database of the settings.

    Raises:
        StoreError: It can't be opened or read.
    """
    engine = engine_of(settings.database_url)
    place = Place.of(engine.url)
    if place.path is None:
        return _inspected(engine, place)
    engine.dispose()
    with typed_errors(place):
        if place.path.exists() and not place.path.is_file():
            raise place.error("is no regular file", "Move it away, and put back a backup.")
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
        # Somebody began to write while it was read as if nobody would.
        found = _inspected(_reading(place.path, is_still=False), place)
    return found


def _is_in_use(path: Path) -> bool:
    """Whether somebody has it open, or has died with it: there is a journal."""
    return any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal"))


def _reading(path: Path, *, is_still: bool) -> Engine:
    # Without `immutable` SQLite makes files beside the database even to read it.
    uri = _uri(path, "mode=ro&immutable=1" if is_still else "mode=ro")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)

    return create_engine("sqlite://", creator=connect, hide_parameters=True)


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
    """Somebody keeps everybody from reading."""


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
    known, unknown = _applications(connection)
    open_ = select(deployments).where(deployments.c.state.not_in(FINAL_STATES))
    unfinished = connection.execute(open_.order_by(deployments.c.id)).mappings()
    rows = connection.execute(select(providers).order_by(providers.c.name)).mappings()
    return Inspection(
        place.name,
        place.path,
        revision=revision,
        is_busy=is_busy,
        providers=tuple(ProviderRecord(**row) for row in rows),
        applications=known,
        unknown=unknown,
        unfinished=tuple(DeploymentRecord(**row) for row in unfinished),
        worker_seconds=_seconds_since_a_sign(connection),
        waiting_seconds=_seconds_waited(connection),
        ahead=find_times_ahead(connection),
    )


def _seconds_since_a_sign(connection: Connection) -> float | None:
    now = present(connection)
    if connection.scalar(select(claims.c.worker).where(is_claimed(now)).limit(1)):
        return 0.0
    believed = workers.c.seen_at <= now + TOLERANCE
    seen_at = connection.scalar(select(func.max(workers.c.seen_at)).where(believed))
    return _seconds_before(now, seen_at)


def _seconds_waited(connection: Connection) -> float:
    is_new = triggers.c.settled_at.is_(None) & (triggers.c.attempts == 0)
    oldest = connection.scalar(select(func.min(triggers.c.received_at)).where(is_new))
    return _seconds_before(present(connection), oldest) or 0.0


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


def _applications(
    connection: Connection,
) -> tuple[tuple[ApplicationRecord, ...], tuple[StoreError, ...]]:
    known, unknown = [], []
    for row in connection.execute(select(applications).order_by(applications.c.name)).mappings():
        try:
            known.append(application_of(row))
        except StoreError as error:
            unknown.append(error)
    return tuple(known), tuple(unknown)


def _is_kept_from_writing(path: Path) -> bool:
    """Whether nobody else may write. Nothing is written; since the caller has it open, too, this
    connection is not the last one, which would merge the journal when it is closed."""
    how = _uri(path, "mode=rw")
    try:
        with closing(sqlite3.connect(how, uri=True, timeout=_BUSY_SECONDS)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return _says_busy(error)
    return False
