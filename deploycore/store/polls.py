"""When applications are polled. Only one process of all machines polls an application at a time.

There is a row for each application that is polled, which is created with the application, so an
index finds those that are due. A process that takes an application reserves it for a time. If it
dies, another process can take it after that. Results are kept across restarts. All times use the
database's clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from deploycore.applications.application import Application
from deploycore.store.database import Database, chunks
from deploycore.store.engine import present
from deploycore.store.new_applications import poll_values
from deploycore.store.queue_records import PollRecord
from deploycore.store.reading import as_record, read_records
from deploycore.store.tables import applications, polls, webhooks
from deploycore.store.times import (
    LONGEST_POLL_INTERVAL,
    LONGEST_POSTPONEMENT,
    TOLERANCE,
    at_most,
    is_ahead,
)

__all__ = ["Polled", "Polls", "Wait", "poll_now", "schedule"]

_POLL = as_record(PollRecord, polls)
_FEW_NAMES = 100


@dataclass(frozen=True)
class Polled:
    """An application to poll.

    Attributes:
        question: A digest of the request. Applications with the same digest share the response.
        definition: The definition as stored, without validation; ``None`` if its record is damaged.
        heard_at: The time of its webhook's last delivery; ``None`` for never.
        is_requested: Whether a check is requested, in addition to usual polls.
        is_due: Whether to poll it now.
    """

    name: str
    question: str
    definition: Mapping[str, Any] | None
    heard_at: datetime | None
    is_requested: bool
    is_due: bool


@dataclass(frozen=True)
class Wait:
    """When to poll an application again.

    Attributes:
        after: Seconds from now.
        seconds: The interval from which ``after`` was computed.
        checked: If the host has responded, the time from ``take`` of the check that is done by
            this. A check that was requested later is still to run.
    """

    application: str
    after: float
    seconds: float
    checked: PollRecord | None = None


class Polls:
    """The polls of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, names: Sequence[str], *, lease: float) -> list[PollRecord]:
        """Reserve the applications that share a response, if one of them is due; otherwise return
        none.

        Args:
            lease: Seconds after which other processes may take them, unless ``note`` is called
                before.
        """
        with self._database.writing() as connection:
            known: list[PollRecord] = []
            for some in chunks(sorted(names)):
                # The rows are locked, so that only one of several processes takes them. Rows that
                # another process keeps locked are left to it, so that they do not delay the others.
                query = _of(some).with_for_update(skip_locked=True)
                known += _read(connection, query)
            now = present(connection)
            if not any(_is_due(each, now) for each in known):
                return []
            held = {"due_at": now + at_most(lease, LONGEST_POLL_INTERVAL), "set_at": now}
            for some in chunks([each.application for each in known]):
                taken = update(polls).where(polls.c.application.in_(some))
                connection.execute(taken.values(held))
            return known

    def due(self, *, host: str, limit: int = 100) -> list[Polled]:
        """Return applications that are due, and all that share a response with them.

        Args:
            host: The name of this machine. Applications of other machines are left out.
            limit: The approximate number of applications that are due.
        """
        with self._database.reading() as connection:
            now = present(connection)
            names, questions = _due(connection, now, host, limit)
            sharing: list[ColumnElement[bool]] = [
                *(polls.c.question.in_(some) for some in chunks(sorted(questions))),
                *(polls.c.application.in_(some) for some in chunks(sorted(names))),
            ]
            found: dict[str, Row[Any]] = {}
            for is_asked in sharing:
                found |= {row.application: row for row in _asked(connection, is_asked, host)}
            definitions = _definitions(connection, found)
        return [
            Polled(
                name,
                row.question if isinstance(row.question, str) else name,
                definitions.get(name),
                row.delivered_at if isinstance(row.delivered_at, datetime) else None,
                is_requested=bool(row.requested_at),
                is_due=name in names or not row.due_at or row.due_at <= now,
            )
            for name, row in sorted(found.items())
        ]

    def requested(self) -> dict[str, datetime]:
        """Return the applications whose refs must be checked, and since when."""
        query = select(polls.c.application, polls.c.requested_at)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(polls.c.requested_at.is_not(None)))
            return {
                row.application: row.requested_at
                for row in rows
                if isinstance(row.application, str) and isinstance(row.requested_at, datetime)
            }

    def request(self, names: Sequence[str], *, spacing: float = 0.0) -> None:
        """Request that refs are checked once and soon, independently of the usual intervals.

        A check that is already running does not count, because the host may have responded before.
        A check that is already requested is not delayed. Unknown applications are ignored.

        Args:
            names: The applications.
            spacing: Seconds between the checks of two applications.
        """
        with self._database.writing() as connection:
            # Lock applications before their polls, in the same order as code that changes
            # applications.
            _renew(connection, _without_row(connection, names))
            known: list[PollRecord] = []
            for some in chunks(sorted(set(names))):
                known += _read(connection, _of(some).with_for_update())
            now = present(connection)
            values = [
                {
                    "named": record.application,
                    "due_at": _due_at(record, now + timedelta(seconds=spacing * place), now),
                    "set_at": now,
                    "requested_at": now,
                }
                for place, record in enumerate(known)
            ]
            if values:
                connection.execute(_update_named(), values)

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
        """Record when to poll an application again; see ``Wait`` and ``note_all``."""
        wait = Wait(application, after, seconds, checked)
        self.note_all([wait], commit=commit, not_before=not_before)

    def note_all(
        self, waits: Iterable[Wait], *, commit: str | None = None, not_before: float | None = None
    ) -> None:
        """Record when to poll applications that share a response again.

        Rows that another process has locked are skipped. They are polled again when their lease
        expires.

        Args:
            waits: The wait of each application.
            commit: The commit that their ref points to; ``None`` if it was not found out.
            not_before: Seconds from now until the host allows the next request.
        """
        by_name = {each.application: each for each in waits}
        found: dict[str, Any] = {} if commit is None else {"commit": commit}
        with self._database.writing() as connection:
            requested = _locked(connection, by_name)
            now = present(connection)
            found["not_before"] = (
                None if not_before is None else now + at_most(not_before, LONGEST_POSTPONEMENT)
            )
            done, owed = [], []
            for name, requested_at in requested.items():
                wait, checked = by_name[name], by_name[name].checked
                values = {"named": name, "seconds": wait.seconds, **found}
                if checked is not None and checked.requested_at != requested_at:
                    owed.append(values)
                else:
                    still = None if checked is not None else requested_at
                    done.append({**values, **_after(now, wait.after), "requested_at": still})
            for changed in filter(None, (done, owed)):
                connection.execute(_update_named(), changed)

    def pause(self, waits: Mapping[str, float]) -> None:
        """Delay polls by a number of seconds for each application. Requested checks are not
        delayed."""
        with self._database.writing() as connection:
            requested = _locked(connection, waits)
            now = present(connection)
            values = [
                {"named": name, **_after(now, waits[name])}
                for name, requested_at in requested.items()
                if requested_at is None
            ]
            if values:
                connection.execute(_update_named(), values)


def schedule(connection: Connection, definitions: Iterable[Application]) -> None:
    """Start or stop polling applications, according to their definitions."""
    all_ = {each.name: each for each in definitions}
    known: dict[str, Row[Any]] = {}
    for some in chunks(sorted(all_)):
        rows = select(polls.c.application, polls.c.question, polls.c.requested_at)
        locked = rows.where(polls.c.application.in_(some)).order_by(polls.c.application)
        found = connection.execute(locked.with_for_update())
        known |= {row.application: row for row in found}
    wanted = {
        name: poll_values(each)
        for name, each in sorted(all_.items())
        if each.is_polled or (each.is_followed and name in known and known[name].requested_at)
    }
    for some in chunks([name for name in known if name not in wanted]):
        connection.execute(delete(polls).where(polls.c.application.in_(some)))
    # Due at once, because the interval may have changed. The response to another request does not
    # apply to this one.
    now = present(connection)
    at_once = {"due_at": now, "set_at": now}
    anew = {**at_once, "commit": None, "seconds": 0.0}
    same, other, new = [], [], []
    for name, values in wanted.items():
        if name not in known:
            new.append({"application": name, **anew, **values})
        elif values["question"] == known[name].question:
            same.append({"named": name, **at_once, **values})
        else:
            other.append({"named": name, **anew, **values})
    for changed in filter(None, (same, other)):
        connection.execute(_update_named(), changed)
    if new:
        connection.execute(insert(polls), new)


def poll_now(connection: Connection, application: str) -> None:
    """Make an application due at once, because its webhook no longer delivers."""
    now = present(connection)
    is_this = polls.c.application == application
    connection.execute(update(polls).where(is_this).values(due_at=now, set_at=now))


def _update_named() -> Update:
    return update(polls).where(polls.c.application == bindparam("named"))


def _after(now: datetime, seconds: float) -> dict[str, datetime]:
    return {"due_at": now + at_most(seconds, LONGEST_POLL_INTERVAL), "set_at": now}


def _of(names: Sequence[str]) -> Select[Any]:
    """Return the rows of some applications, in one order, so that two transactions cannot wait for
    each other."""
    return select(polls).where(polls.c.application.in_(names)).order_by(polls.c.application)


def _read(connection: Connection, query: Select[Any]) -> list[PollRecord]:
    """Return the records of a query. A damaged record is created again. Nothing is lost with it,
    because the application is polled now."""
    damaged: list[Mapping[Any, Any]] = []
    known = list(read_records(connection, polls, query, _POLL, damaged=damaged))
    names = [row["application"] for row in damaged]
    if names:
        connection.execute(delete(polls).where(polls.c.application.in_(names)))
        _renew(connection, names)
        known += read_records(connection, polls, _of(names), _POLL)
    return sorted(known, key=lambda each: each.application)


def _renew(connection: Connection, names: Collection[str]) -> None:
    """Create the rows of applications that have none, but not for damaged applications."""
    now = present(connection)
    new = []
    for name, definition in _definitions(connection, names).items():
        try:
            values = poll_values(Application.model_validate(definition))
        except ValidationError:
            continue  # stored by another version, which polls it
        new.append({"application": name, "due_at": now, "set_at": now, "seconds": 0.0, **values})
    if new:
        connection.execute(insert(polls), new)


def _without_row(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return those of some applications that exist and have no row; they are locked."""
    is_missing = applications.c.name.not_in(select(polls.c.application))
    query = select(applications.c.name).where(is_missing).order_by(applications.c.name)
    if len(names) <= _FEW_NAMES:
        query = query.where(applications.c.name.in_(names))
    return set(names).intersection(connection.scalars(query.with_for_update(key_share=True)))


def _locked(connection: Connection, names: Collection[str]) -> dict[str, datetime | None]:
    """Return since when checks of applications are requested. Their rows are locked; rows that
    another process keeps locked are left out."""
    found: dict[str, datetime | None] = {}
    for some in chunks(sorted(names)):
        rows = select(polls.c.application, polls.c.requested_at)
        query = rows.where(polls.c.application.in_(some)).order_by(polls.c.application)
        for row in connection.execute(query.with_for_update(skip_locked=True)):
            found[row.application] = row.requested_at or None
    return found


def _definitions(connection: Connection, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The definitions of applications, as they are stored; those of damaged records are left
    out."""
    found: dict[str, Mapping[str, Any]] = {}
    for some in chunks(sorted(names)):
        query = select(applications).where(applications.c.name.in_(some))
        records = read_records(
            connection, applications, query, lambda row: (row["name"], row["definition"])
        )
        found |= dict(records)
    return found


def _asked(connection: Connection, is_asked: ColumnElement[bool], host: str) -> Sequence[Row[Any]]:
    """Select rows of this machine, with the last delivery to each application's webhook."""
    c = polls.c
    query: Select[Any] = (
        select(c.application, c.question, c.due_at, c.requested_at, webhooks.c.delivered_at)
        .outerjoin(webhooks, webhooks.c.application == c.application)
        .where(is_asked, or_(c.host.is_(None), c.host == host))
    )
    return [row for row in connection.execute(query) if isinstance(row.application, str)]


def _due(connection: Connection, now: datetime, host: str, limit: int) -> tuple[set[str], set[str]]:
    """Select the names and questions of polls that are due. Each condition uses an index."""
    names, questions = set(), set()
    for is_here in (polls.c.host.is_(None), polls.c.host == host):
        for is_due in (
            polls.c.due_at <= now,
            polls.c.due_at > now + LONGEST_POLL_INTERVAL + TOLERANCE,
            polls.c.set_at > now + TOLERANCE,
        ):
            query = select(polls.c.application, polls.c.question).where(is_here, is_due)
            for row in connection.execute(query.limit(limit)):
                if isinstance(row.application, str):
                    names.add(row.application)
                if isinstance(row.question, str):
                    questions.add(row.question)
    return names, questions


def _is_due(record: PollRecord, now: datetime) -> bool:
    return (
        record.due_at <= now
        or is_ahead(record.due_at, now, LONGEST_POLL_INTERVAL)
        or is_ahead(record.set_at, now)
    )


def _due_at(record: PollRecord, at: datetime, now: datetime) -> datetime:
    """Return when to do a check that is requested now, and that may wait until ``at``."""
    not_before = record.not_before
    if is_ahead(not_before, now, LONGEST_POSTPONEMENT) or is_ahead(record.set_at, now):
        not_before = None
    allowed = max(at, not_before or at)
    if record.requested_at is None and _is_due(record, now):
        return allowed  # polling was paused; this way, not all paused applications are due at once
    return min(allowed, record.due_at)
