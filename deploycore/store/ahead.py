"""Stored times that lie further ahead than they could have been set: a clock was ahead."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from deploycore.store.database import present
from deploycore.store.tables import claims, polls, previews, tokens, triggers, webhooks, workers
from deploycore.store.times import (
    LONGEST_LEASE,
    LONGEST_POLL_INTERVAL,
    LONGEST_POSTPONEMENT,
    TOLERANCE,
    is_void,
)

__all__ = ["TimesAhead", "find_times_ahead"]

_NAMED = 5


@dataclass(frozen=True)
class TimesAhead:
    """Rows of one kind whose times are not believed.

    Attributes:
        what: Their kind, in the plural.
        count: How many there are.
        names: Those of some of them.
    """

    what: str
    count: int
    names: tuple[str, ...]


def find_times_ahead(connection: Connection) -> tuple[TimesAhead, ...]:
    """All kinds of which there are such rows."""
    now = present(connection)
    latest = now + TOLERANCE
    is_open = triggers.c.settled_at.is_(None)
    is_claim_void = is_void(claims.c.expires_at, claims.c.renewed_at, now, LONGEST_LEASE)
    is_poll_void = is_void(polls.c.due_at, polls.c.set_at, now, LONGEST_POLL_INTERVAL)
    is_retry_void = is_void(triggers.c.not_before, triggers.c.tried_at, now, LONGEST_POSTPONEMENT)
    kinds: tuple[tuple[str, ColumnElement[str], ColumnElement[bool]], ...] = (
        ("claims of workers", claims.c.application, is_claim_void),
        ("next polls", polls.c.application, is_poll_void),
        ("retries", triggers.c.application, is_open & is_retry_void),
        ("triggers", triggers.c.application, is_open & (triggers.c.received_at > latest)),
        ("heartbeats of workers", workers.c.id, workers.c.seen_at > latest),
        ("last deliveries", webhooks.c.application, webhooks.c.delivered_at > latest),
        ("removals of previews", previews.c.name, previews.c.removed_at > latest),
        ("creation times of tokens", tokens.c.name, tokens.c.created_at > latest),
    )
    found = []
    for what, name, is_ahead in kinds:
        count = connection.scalar(select(func.count(name.distinct())).where(is_ahead)) or 0
        if count:
            some = select(name).where(is_ahead).distinct().order_by(name).limit(_NAMED)
            found.append(TimesAhead(what, count, tuple(connection.scalars(some))))
    return tuple(found)
