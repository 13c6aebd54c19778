"""When git hosts are asked for news of applications: one process of a fleet at a time asks.

There is a row for each application that is polled, made with the application, so that what is due
is found by an index. Who takes an application has it until some time has passed, so that one that
dies leaves it to another; and what was found out holds over restarts. All times are the database's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, delete, insert, or_, select, update

from deploycore.application import Application
from deploycore.store.database import Database, present
from deploycore.store.lookup import chunks
from deploycore.store.records import PollRecord
from deploycore.store.tables import applications, polls, webhooks
from deploycore.store.times import LONGEST_POLL_INTERVAL, TOLERANCE, at_most, is_ahead

__all__ = ["Polled", "Polls", "poll_now", "schedule"]


@dataclass(frozen=True)
class Polled:
    """An application that is polled.

    Attributes:
        definition: As it is stored, not validated.
        heard_at: When its webhook last delivered; ``None`` for never.
        is_due: Whether it is to be polled now.
    """

    name: str
    question: str
    definition: Mapping[str, Any]
    heard_at: datetime | None
    is_due: bool


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
        with self._database.writing() as connection:
            known: list[PollRecord] = []
            for some in chunks(sorted(names)):
                # Locked, so that of two who take it one comes after the other; in one order, so
                # that nobody waits for one who waits.
                rows = select(polls).where(polls.c.application.in_(some))
                locked = rows.order_by(polls.c.application).with_for_update()
                known += [PollRecord(**row) for row in connection.execute(locked).mappings()]
            now = present(connection)
            if not any(_is_due(each, now) for each in known):
                return []
            held = {"due_at": now + at_most(lease, LONGEST_POLL_INTERVAL), "set_at": now}
            for some in chunks([each.application for each in known]):
                taken = update(polls).where(polls.c.application.in_(some))
                connection.execute(taken.values(held))
            return known

    def due(self, *, host: str, limit: int = 100) -> list[Polled]:
        """Applications that are to be polled now, and all that share an answer with them.

        Args:
            host: The name of this machine: what names another one is left to that.
            limit: About so many that are due.
        """
        with self._database.reading() as connection:
            now = present(connection)
            names, questions = _due(connection, now, host, limit)
            found: list[Row[Any]] = []
            for some in chunks(sorted(questions)):
                query = (
                    select(polls, applications.c.definition, webhooks.c.delivered_at)
                    .join(applications, applications.c.name == polls.c.application)
                    .outerjoin(webhooks, webhooks.c.application == polls.c.application)
                    .where(polls.c.question.in_(some))
                    .where(or_(polls.c.host.is_(None), polls.c.host == host))
                    .order_by(polls.c.application)
                )
                found += connection.execute(query).all()
        return [
            Polled(
                row.application,
                row.question,
                row.definition,
                row.delivered_at,
                row.application in names or row.due_at <= now,
            )
            for row in found
        ]

    def note(
        self, application: str, *, after: float, seconds: float, commit: str | None = None
    ) -> None:
        """Note when an application is to be polled again.

        Args:
            after: Seconds from now.
            seconds: The interval that this comes from.
            commit: What its ref was found to be; ``None`` where that was not found out.
        """
        self.note_all([(application, after, seconds)], commit=commit)

    def note_all(
        self, waits: Iterable[tuple[str, float, float]], *, commit: str | None = None
    ) -> None:
        """The same for several that share an answer: each one's name, ``after`` and ``seconds``."""
        known = {} if commit is None else {"commit": commit}
        self._set(
            (name, after, {"seconds": seconds, **known}) for name, after, seconds in sorted(waits)
        )

    def pause(self, waits: Mapping[str, float]) -> None:
        """Put off polling, by so many seconds for each application, without an answer."""
        self._set((name, seconds, {}) for name, seconds in sorted(waits.items()))

    def _set(self, waits: Iterable[tuple[str, float, Mapping[str, object]]]) -> None:
        """In the order of the names, so that nobody waits for one who waits."""
        with self._database.writing() as connection:
            now = present(connection)
            values = [
                {
                    "named": name,
                    "due_at": now + at_most(after, LONGEST_POLL_INTERVAL),
                    "set_at": now,
                    **more,
                }
                for name, after, more in waits
            ]
            if values:
                connection.execute(_update_named(), values)


def schedule(connection: Connection, definitions: Iterable[Application]) -> None:
    """Have applications polled, or no longer, as their definitions say now."""
    all_ = {each.name: each for each in definitions}
    wanted = {name: _values(all_[name]) for name in sorted(all_) if all_[name].is_polled}
    known: dict[str, str] = {}
    for some in chunks(sorted(all_)):
        rows = select(polls.c.application, polls.c.question).where(polls.c.application.in_(some))
        locked = rows.order_by(polls.c.application).with_for_update()
        known |= {row.application: row.question for row in connection.execute(locked)}
    for some in chunks([name for name in known if name not in wanted]):
        connection.execute(delete(polls).where(polls.c.application.in_(some)))
    # At once, since the interval may be another one now. What another question was answered with
    # says nothing about this one.
    now = present(connection)
    at_once = {"due_at": now, "set_at": now}
    anew = {**at_once, "commit": None, "seconds": 0.0}
    same, other, new = [], [], []
    for name, values in wanted.items():
        if name not in known:
            new.append({"application": name, **anew, **values})
        elif values["question"] == known[name]:
            same.append({"named": name, **at_once, **values})
        else:
            other.append({"named": name, **anew, **values})
    for changed in filter(None, (same, other)):
        connection.execute(_update_named(), changed)
    if new:
        connection.execute(insert(polls), new)


def poll_now(connection: Connection, application: str) -> None:
    """Have an application polled as soon as somebody looks: what told its news is gone."""
    now = present(connection)
    is_this = polls.c.application == application
    connection.execute(update(polls).where(is_this).values(due_at=now, set_at=now))


def _update_named() -> Update:
    return update(polls).where(polls.c.application == bindparam("named"))


def _values(definition: Application) -> dict[str, Any]:
    asked = (definition.provider, definition.repository, definition.ref)
    question = hashlib.sha256("\0".join(asked).encode()).hexdigest()
    return {"host": definition.host, "question": question}


def _due(connection: Connection, now: datetime, host: str, limit: int) -> tuple[set[str], set[str]]:
    """The names and questions of what is due; each condition is looked up in an index."""
    names, questions = set(), set()
    for is_here in (polls.c.host.is_(None), polls.c.host == host):
        for is_due in (
            polls.c.due_at <= now,
            polls.c.due_at > now + LONGEST_POLL_INTERVAL + TOLERANCE,
            polls.c.set_at > now + TOLERANCE,
        ):
            query = select(polls.c.application, polls.c.question).where(is_here, is_due)
            for row in connection.execute(query.limit(limit)):
                names.add(row.application)
                questions.add(row.question)
    return names, questions


def _is_due(record: PollRecord, now: datetime) -> bool:
    return (
        record.due_at <= now
        or is_ahead(record.due_at, now, LONGEST_POLL_INTERVAL)
        or is_ahead(record.set_at, now)
    )
