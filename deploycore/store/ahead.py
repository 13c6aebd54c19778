"""Find stored times that are too far in the future, because a clock was ahead when they were
stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, true

from deploycore.store.engine import present
from deploycore.store.tables import (
    claims,
    polls,
    previews,
    reception,
    tokens,
    triggers,
    webhooks,
    workers,
)
from deploycore.store.times import (
    LONGEST_LEASE,
    LONGEST_POLL_INTERVAL,
    LONGEST_POSTPONEMENT,
    TOLERANCE,
    is_void,
)
from deploycore.store.values import Damaged

__all__ = ["TimesAhead", "find_times_ahead"]

_NAMED_MOST = 5
_C, _P, _T = claims.c, polls.c, triggers.c
_Kind = tuple[str, ColumnElement[Any], tuple[ColumnElement[Any], ...], ColumnElement[bool]]


@dataclass(frozen=True)
class TimesAhead:
    """Rows of one kind whose times are ignored.

    Attributes:
        what: The kind of the rows, in the plural.
        count: The number of rows.
        names: The names of some of them.
    """

    what: str
    count: int
    names: tuple[str, ...]


def find_times_ahead(connection: Connection) -> tuple[TimesAhead, ...]:
    """Return all kinds of rows with such times. A time that cannot be read is not counted."""
    found = []
    for what, name, times, is_ahead in _kinds(present(connection)):
        rows = connection.execute(select(name, *times).where(is_ahead)).all()
        names = sorted({str(row[0]) for row in rows if not any(map(_is_damaged, row))})
        if names:
            found.append(TimesAhead(what, len(names), tuple(names[:_NAMED_MOST])))
    return tuple(found)


def _kinds(now: datetime) -> Iterator[_Kind]:
    """Yield each kind with its names, its times, and the condition for ignored times."""
    is_open = triggers.c.settled_at.is_(None)
    for what, name, until, set_at, longest, is_meant in (
        ("claims of workers", _C.application, _C.expires_at, _C.renewed_at, LONGEST_LEASE, true()),
        ("next polls", _P.application, _P.due_at, _P.set_at, LONGEST_POLL_INTERVAL, true()),
        ("retries", _T.application, _T.not_before, _T.tried_at, LONGEST_POSTPONEMENT, is_open),
    ):
        yield what, name, (until, set_at), is_meant & is_void(until, set_at, now, longest)
    yes, moment = true(), timedelta(0)
    for what, name, at, longest, is_meant in (
        ("triggers", _T.application, _T.received_at, moment, is_open),
        ("requested checks", _P.application, _P.requested_at, moment, yes),
        ("pauses of git hosts", _P.application, _P.not_before, LONGEST_POSTPONEMENT, yes),
        ("signs of life of servers", reception.c.id, reception.c.seen_at, moment, yes),
        ("heartbeats of workers", workers.c.id, workers.c.seen_at, moment, yes),
        ("last deliveries", webhooks.c.application, webhooks.c.delivered_at, moment, yes),
        ("removals of previews", previews.c.name, previews.c.removed_at, moment, yes),
        ("creation times of tokens", tokens.c.name, tokens.c.created_at, moment, yes),
    ):
        yield what, name, (at,), is_meant & (at > now + longest + TOLERANCE)


def _is_damaged(value: object) -> bool:
    return isinstance(value, Damaged)
