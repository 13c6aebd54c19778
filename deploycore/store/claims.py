"""Which worker has which application in hand: one at a time in the whole fleet.

A claim lapses unless its worker gives a sign of life, so that an application outlives whatever
happens to who works on it. All times are the database's: clocks of machines differ. A claim that a
clock which was ahead has left is void, as if it had lapsed (``times``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from deploycore.store.database import Database, present
from deploycore.store.reading import as_record, read_records
from deploycore.store.records import ClaimRecord, WorkerRecord
from deploycore.store.tables import applications, claims, workers
from deploycore.store.times import LONGEST_LEASE, TOLERANCE, at_most, holds, is_ahead

__all__ = ["Claims", "is_claimed"]

_FORGOTTEN = timedelta(days=1)
_CLAIM = as_record(ClaimRecord, claims)
_WORKER = as_record(WorkerRecord, workers)


class Claims:
    """The claims of all workers, and the workers; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, worker: str, *, host: str, process: int) -> None:
        """Make a worker known. Those that gave no sign of life for a day are forgotten, and those
        that did so when the clock was ahead; one of these that lives is known again soon."""
        with self._database.writing() as connection:
            now = present(connection)
            seen = workers.c.seen_at
            is_gone = or_(seen < now - _FORGOTTEN, seen > now + TOLERANCE)
            connection.execute(delete(workers).where(is_gone))
            values = {"id": worker, "host": host, "process": process}
            connection.execute(insert(workers).values(values | {"started_at": now, "seen_at": now}))

    def beat(
        self, worker: str, *, host: str, process: int, lease: float, held: Collection[str]
    ) -> Collection[str]:
        """Give a sign of life: the worker's claims hold for another ``lease`` seconds.

        Args:
            held: The applications that it has in hand. A claim on another one, which could not be
                released say, lapses.

        Returns:
            The applications that are the worker's still.
        """
        with self._database.writing() as connection:
            now = present(connection)
            seen = update(workers).where(workers.c.id == worker).values(seen_at=now)
            if not connection.execute(seen).rowcount:  # forgotten, after a long sleep say
                values = {"id": worker, "host": host, "process": process}
                connection.execute(
                    insert(workers).values(values | {"started_at": now, "seen_at": now})
                )
            # What somebody else keeps locked holds up that application alone.
            own = select(claims.c.application).where(
                claims.c.worker == worker, claims.c.application.in_(held)
            )
            free = connection.scalars(own.with_for_update(skip_locked=True)).all()
            renewed = (
                update(claims)
                .where(claims.c.worker == worker, claims.c.application.in_(free))
                .values(expires_at=now + at_most(lease, LONGEST_LEASE), renewed_at=now)
                .returning(claims.c.application)
            )
            return set(connection.scalars(renewed))

    def take(self, application: str, worker: str, *, lease: float) -> ClaimRecord | None:
        """Claim an application for a worker, if nobody has it, or who had it is dead.

        Args:
            lease: Seconds after which the worker counts as dead, unless it gives a sign of life;
                an hour at most.

        Returns:
            ``None`` where another worker has it, or is about to, or it is gone.
        """
        with self._database.writing() as connection:
            # Locked, so that of two who claim it one has it. The other does not wait for that: many
            # workers would come through what there is to do in step, all but one in vain.
            row = select(applications.c.name).where(applications.c.name == application)
            if connection.scalar(row.with_for_update(key_share=True, skip_locked=True)) is None:
                return None
            now = present(connection)
            former = _claim(connection, application)
            if former is not None and _is_held(former, now):
                return None
            connection.execute(delete(claims).where(claims.c.application == application))
            record = ClaimRecord(
                application,
                worker,
                now,
                now + at_most(lease, LONGEST_LEASE),
                renewed_at=now,
                taken_from=former.worker if former else None,
            )
            values = {name: value for name, value in vars(record).items() if name in claims.c}
            connection.execute(insert(claims).values(values))
            return record

    def release(self, application: str, worker: str) -> None:
        """Give an application back, if it is this worker's still."""
        with self._database.writing() as connection:
            connection.execute(
                delete(claims).where(claims.c.application == application, claims.c.worker == worker)
            )

    def retire(self, worker: str) -> None:
        """Forget a worker, and release whatever it has claimed; for one that ends."""
        with self._database.writing() as connection:
            connection.execute(delete(claims).where(claims.c.worker == worker))
            connection.execute(delete(workers).where(workers.c.id == worker))

    def workers(self) -> Sequence[WorkerRecord]:
        """Workers that gave a sign of life within about a day, the longest-serving first."""
        query = select(workers).order_by(workers.c.started_at, workers.c.id)
        with self._database.reading() as connection:
            return list(read_records(connection, workers, query, _WORKER))

    def list(self) -> Sequence[ClaimRecord]:
        """All claims, by application, those that have lapsed too."""
        query = select(claims).order_by(claims.c.application)
        with self._database.reading() as connection:
            return list(read_records(connection, claims, query, _CLAIM))


def _claim(connection: Connection, application: str) -> ClaimRecord | None:
    """The claim on an application; one that is damaged holds nothing, since nobody could tell when
    it lapses. A worker that has the application still renews it with its next heartbeat."""
    query = select(claims).where(claims.c.application == application)
    return next(read_records(connection, claims, query, _CLAIM), None)


def is_claimed(now: datetime) -> ColumnElement[bool]:
    """Whether a claim keeps others from its application."""
    return holds(claims.c.expires_at, claims.c.renewed_at, now, LONGEST_LEASE)


def _is_held(claim: ClaimRecord, now: datetime) -> bool:
    is_void = is_ahead(claim.expires_at, now, LONGEST_LEASE) or is_ahead(claim.renewed_at, now)
    return claim.expires_at > now and not is_void
