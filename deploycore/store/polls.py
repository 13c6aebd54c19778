"""When git hosts are asked for news of applications: one process of a fleet at a time asks.

Who takes an application has it until some time has passed, so that one that dies leaves it to
another; and what was found out holds over restarts. All times are the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, insert, select, update

from deploycore.store.database import Database, present
from deploycore.store.reading import as_record, damage_in
from deploycore.store.records import PollRecord
from deploycore.store.tables import applications, polls

__all__ = ["Polls"]

_POLL = as_record(PollRecord, polls)


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

    def note(
        self, application: str, *, after: float, seconds: float, commit: str | None = None
    ) -> None:
        """Note when an application is to be polled again.

        Args:
            after: Seconds from now.
            seconds: The interval that this comes from.
            commit: What its ref was found to be; ``None`` where that was not found out.
        """
        with self._database.writing() as connection:
            values: dict[str, object] = {
                "due_at": present(connection) + timedelta(seconds=after),
                "seconds": seconds,
            }
            if commit is not None:
                values["commit"] = commit
            connection.execute(
                update(polls).where(polls.c.application == application).values(values)
            )
