"""When git hosts are asked for news of applications: one process of a fleet at a time asks.

Who takes an application has it until some time has passed, so that one that dies leaves it to
another; and what was found out holds over restarts. All times are the database's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select, update

from deploycore.store.database import Database, present
from deploycore.store.reading import as_record, damage_in, read_records
from deploycore.store.records import PollRecord
from deploycore.store.tables import applications, polls

__all__ = ["Polls"]

_POLL = as_record(PollRecord, polls)
_FEW_NAMES = 100


class Polls:
    """When which application is polled; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, names: Sequence[str], *, lease: float) -> list[PollRecord]:
        """Some applications that share an answer, for who asks alone: all of them if one is to be
        polled now, else none.

        Args:
            lease: Seconds after which others may, unless ``note`` is called before.
        """
        known = []
        with self._database.writing() as connection:
            for name in sorted(names):  # in one order, so that nobody waits for one who waits
                # Locked, so that of two who take it one has it. What somebody else keeps locked is
                # left to them: it must not hold up the others.
                free = select(applications.c.name).where(applications.c.name == name)
                free = free.with_for_update(key_share=True, skip_locked=True)
                if connection.scalar(free) is None:
                    continue
                query = select(polls).where(polls.c.application == name)
                row = connection.execute(query).mappings().one_or_none()
                if row is not None and damage_in(polls, row) is not None:
                    # Nothing is lost with it: the application is polled now, and noted anew.
                    connection.execute(delete(polls).where(polls.c.application == name))
                    row = None
                known.append((name, _POLL(row) if row else None))
            now = present(connection)
            if all(record is not None and record.due_at > now for _, record in known):
                return []
            held = {"due_at": now + timedelta(seconds=lease)}
            for name, record in known:
                if record is None:
                    values = {"application": name, "seconds": 0.0, **held}
                    connection.execute(insert(polls).values(values))
                else:
                    connection.execute(
                        update(polls).where(polls.c.application == name).values(held)
                    )
        return [record or PollRecord(name, now, 0.0, None) for name, record in known]

    def due(self) -> dict[str, bool]:
        """Of each application that was ever polled, whether it is to be now."""
        with self._database.reading() as connection:
            now = present(connection)
            rows = connection.execute(select(polls.c.application, polls.c.due_at))
            # One whose time cannot be read is polled, which writes it anew.
            return {
                row.application: not row.due_at or row.due_at <= now
                for row in rows
                if isinstance(row.application, str)
            }

    def requested(self) -> dict[str, datetime]:
        """The applications whose refs are to be checked because deliveries may have been missed,
        and since when."""
        query = select(polls.c.application, polls.c.requested_at)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(polls.c.requested_at.is_not(None)))
            return {
                row.application: row.requested_at
                for row in rows
                if isinstance(row.application, str) and isinstance(row.requested_at, datetime)
            }

    def request(self, names: Sequence[str], *, spacing: float = 0.0) -> None:
        """Request that refs are checked once, and soon, whatever the usual intervals are.

        A check that is under way does not count, since the host may have answered before. One that
        is owed already is not put off. Applications that are gone are left out.

        Args:
            names: The applications.
            spacing: Seconds between one application's check and the next one's.
        """
        with self._database.writing() as connection:
            missing = _without_row(connection, names)  # locks applications first, as `take` does
            now = present(connection)
            query = _of(select(polls), polls.c.application, names)
            damaged: list[Mapping[Any, Any]] = []
            records = read_records(connection, polls, query, _POLL, damaged=damaged)
            known = {record.application: record for record in records}
            for row in damaged:
                # Nothing is lost with it: the application is checked, and noted anew.
                missing.add(row["application"])
                is_this = polls.c.application == row["application"]
                connection.execute(delete(polls).where(is_this))
            wanted = [each for each in sorted(set(names)) if each in known or each in missing]
            for place, name in enumerate(wanted):
                at = now + timedelta(seconds=spacing * place)
                record = known.get(name)
                if record is None:
                    values = {"application": name, "seconds": 0.0, "due_at": at}
                    connection.execute(insert(polls).values(values | {"requested_at": now}))
                else:
                    values = {"due_at": _due_at(record, at, now), "requested_at": now}
                    connection.execute(
                        update(polls).where(polls.c.application == name).values(values)
                    )

    def note(
        self,
        application: str,
        *,
        after: float,
        seconds: float,
        commit: str | None = None,
        checked: PollRecord | None = None,
        not_before: float | None = None,
    ) -> None:
        """Note when an application is to be polled again.

        Args:
            after: Seconds from now.
            seconds: The interval that this comes from.
            commit: What its ref was found to be; ``None`` where that was not found out.
            checked: What ``take`` gave, where the host has answered: the check that was requested
                before that is done. One that was requested since is still owed.
            not_before: Seconds from now for which the host wants no request.
        """
        is_this = polls.c.application == application
        with self._database.writing() as connection:
            now = present(connection)
            found: dict[str, object] = {"seconds": seconds}
            if commit is not None:
                found["commit"] = commit
            found["not_before"] = (
                None if not_before is None else now + timedelta(seconds=not_before)
            )
            connection.execute(update(polls).where(is_this).values(found))
            then: dict[str, object] = {"due_at": now + timedelta(seconds=after)}
            if checked is None:
                connection.execute(update(polls).where(is_this).values(then))
                return
            connection.execute(
                update(polls)
                .where(is_this, polls.c.requested_at.is_not_distinct_from(checked.requested_at))
                .values(then | {"requested_at": None})
            )


def _without_row(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of some applications that are there and were never polled; they are locked."""
    is_missing = applications.c.name.not_in(select(polls.c.application))
    query = _of(select(applications.c.name).where(is_missing), applications.c.name, names)
    query = query.order_by(applications.c.name).with_for_update()
    return set(connection.scalars(query)) & set(names)


def _of(query: Select[Any], column: ColumnElement[str], names: Sequence[str]) -> Select[Any]:
    """A query that is narrowed to some applications, where those are few."""
    return query.where(column.in_(names)) if len(names) <= _FEW_NAMES else query


def _due_at(record: PollRecord, at: datetime, now: datetime) -> datetime:
    """When a check that is requested now, and may wait until ``at``, is to be done."""
    allowed = max(at, record.not_before or at)
    if record.requested_at is None and record.due_at <= now:
        return allowed  # polling was paused; all that have been paused are not due at once
    return min(allowed, record.due_at)
