"""The audit log in the store: who did what, when, and with which outcome."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select

from deploycore.store.account_records import AuditRecord
from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.reading import as_record, read_records
from deploycore.store.tables import audit
from deploycore.text.printable import printable

__all__ = ["COMMAND_LINE", "DONE", "KEPT_DAYS", "KEPT_ROWS", "Audit", "Entry"]

DONE = "done"
"""The outcome of an operation that has succeeded."""

COMMAND_LINE = "command line"
"""The actor of commands on the machine."""

KEPT_DAYS = 365
KEPT_ROWS = 100_000
_PRUNED_EVERY = 100
_TEXT_LENGTH = 200

_ENTRY = as_record(AuditRecord, audit)


@dataclass(frozen=True)
class Entry:
    """An entry to record; see :class:`~deploycore.store.account_records.AuditRecord`."""

    actor: str
    operation: str
    kind: str = ""
    subject: str = ""
    outcome: str = DONE
    request: str = ""
    address: str = ""


class Audit:
    """The audit log, as the attribute ``audit`` of ``Store``.

    Entries are deleted after a year, or when there are 100,000 newer ones.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._count = itertools.count()

    def add(self, entry: Entry) -> None:
        """Record an entry. Its texts are escaped and cut to 200 characters."""
        texts = {name: printable(text)[:_TEXT_LENGTH] for name, text in vars(entry).items()}
        with self._database.writing() as connection:
            at = present(connection)
            connection.execute(insert(audit).values(at=at, **texts))
            if next(self._count) % _PRUNED_EVERY == 0:
                _prune(connection, at)

    def prune(self) -> None:
        """Delete the entries that are no longer kept."""
        with self._database.writing() as connection:
            _prune(connection, present(connection))

    def list(
        self,
        *,
        actor: str | None = None,
        operation: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[AuditRecord]:
        """List entries, newest first.

        Args:
            actor: Only those of this actor, such as ``user ada``.
            operation: Only those of this operation.
            subject: Only those about this name or number.
            since: Only those from this time on.
            until: Only those before this time.
            before: Only those with a smaller number.
            limit: The maximum number.
        """
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        wanted = {"actor": actor, "operation": operation, "subject": subject}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(audit.c[name] == value)
        query = query if before is None else query.where(audit.c.id < before)
        with self._database.reading() as connection:
            query = _within(connection, query, since, until)
            return list(read_records(connection, audit, query, _ENTRY))


def _within(
    connection: Connection, query: Select[Any], since: datetime | None, until: datetime | None
) -> Select[Any]:
    """Return the condition for a range of times.

    The numbers at its ends are found with the index of times, so that the range itself is read by
    number.
    """
    if since is not None:
        first = connection.scalar(select(func.min(audit.c.id)).where(audit.c.at >= since))
        query = query.where(audit.c.at >= since, audit.c.id >= (first or 0))
    if until is not None:
        last = connection.scalar(select(func.max(audit.c.id)).where(audit.c.at < until))
        query = query.where(audit.c.at < until, audit.c.id <= (last or 0))
    return query


def _prune(connection: Connection, at: datetime) -> None:
    connection.execute(delete(audit).where(audit.c.at < at - timedelta(days=KEPT_DAYS)))
    newest = select(audit.c.id).order_by(audit.c.id.desc())
    kept = connection.scalars(newest.offset(KEPT_ROWS).limit(1)).one_or_none()
    if kept is not None:
        connection.execute(delete(audit).where(audit.c.id <= kept))
