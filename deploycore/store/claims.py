"""Claims: which worker works on which application. Only one worker at a time has a claim.

A claim expires if its worker sends no heartbeat, so another worker can continue if a worker dies.
All times use the database's clock, because the clocks of machines differ. A claim whose times are
too far in the future counts as expired (see ``times``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.queue_records import ClaimRecord, WorkerRecord
from deploycore.store.reading import as_record, read_records
from deploycore.store.tables import applications, claims, workers
from deploycore.store.times import LONGEST_LEASE, TOLERANCE, at_most, holds, is_ahead

__all__ = ["Claims", "is_claimed"]

_FORGOTTEN = timedelta(days=1)
_CLAIM = as_record(ClaimRecord, claims)
_WORKER = as_record(WorkerRecord, workers)


class Claims:
    """The workers and the claims of all of them. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, worker: str, *, host: str, process: int) -> None:
        """Store a worker. Workers without a heartbeat for a day, or with one in the future, are
        deleted.

        If such a worker still runs, its next heartbeat stores it again.
        """
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
        """Record a heartbeat: the worker's claims are valid for another ``lease`` seconds.

        Args:
            worker: The worker's id.
            lease: The seconds.
            held: The applications that the worker is working on. Its other claims expire.

        Returns:
            The applications that the worker still has a claim on.
        """
        with self._database.writing() as connection:
            now = present(connection)
            seen = update(workers).where(workers.c.id == worker).values(seen_at=now)
            # deleted as dead, for example because the machine was suspended
            if not connection.execute(seen).rowcount:
                values = {"id": worker, "host": host, "process": process}
                connection.execute(
                    insert(workers).values(values | {"started_at": now, "seen_at": now})
                )
            # A row that another process has locked delays only its own application.
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
        """Claim an application for a worker, unless another worker has a claim that has not
        expired.

        Args:
            application: The name of the application.
            worker: The worker's id.
            lease: Seconds without a heartbeat before the claim expires; at most an hour.

        Returns:
            The claim; ``None`` if another worker has it or is claiming it, or if the application
            does not exist.
        """
        with self._database.writing() as connection:
            # The row is locked, so that only one of several workers gets the claim. The others skip
            # the row and do not wait: otherwise, many workers would process the list in step, and
            # all but one would fail to get each claim.
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
        """Release an application, if this worker still has a claim on it."""
        with self._database.writing() as connection:
            connection.execute(
                delete(claims).where(claims.c.application == application, claims.c.worker == worker)
            )

    def retire(self, worker: str) -> None:
        """Delete a worker that ends, and release all its claims."""
        with self._database.writing() as connection:
            connection.execute(delete(claims).where(claims.c.worker == worker))
            connection.execute(delete(workers).where(workers.c.id == worker))

    def workers(self) -> Sequence[WorkerRecord]:
        """List the workers with a heartbeat within about a day. The longest running is first."""
        query = select(workers).order_by(workers.c.started_at, workers.c.id)
        with self._database.reading() as connection:
            return list(read_records(connection, workers, query, _WORKER))

    def list(self) -> Sequence[ClaimRecord]:
        """List all claims by application, including expired ones."""
        query = select(claims).order_by(claims.c.application)
        with self._database.reading() as connection:
            return list(read_records(connection, claims, query, _CLAIM))


def _claim(connection: Connection, application: str) -> ClaimRecord | None:
    """Return the claim of a row. A damaged claim counts as expired, because its expiry is unknown.

    If a worker still has the application, its next heartbeat repairs the row.
    """
    query = select(claims).where(claims.c.application == application)
    return next(read_records(connection, claims, query, _CLAIM), None)


def is_claimed(now: datetime) -> ColumnElement[bool]:
    """Whether a claim prevents other workers from taking its application."""
    return holds(claims.c.expires_at, claims.c.renewed_at, now, LONGEST_LEASE)


def _is_held(claim: ClaimRecord, now: datetime) -> bool:
    is_void = is_ahead(claim.expires_at, now, LONGEST_LEASE) or is_ahead(claim.renewed_at, now)
    return claim.expires_at > now and not is_void
