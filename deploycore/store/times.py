"""Which stored times are believed.

A clock that is ahead for a while leaves times in the database that lie far ahead once it is set
right. Whoever waited for those would wait for as long as the clock was ahead. So a time until which
something holds is kept with the time at which it was set, and is void where either lies further
ahead than it could have been set.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_

__all__ = [
    "LONGEST_KEPT",
    "LONGEST_LEASE",
    "LONGEST_POLL_INTERVAL",
    "LONGEST_POSTPONEMENT",
    "TOLERANCE",
    "at_most",
    "holds",
    "is_ahead",
    "is_void",
]

LONGEST_LEASE = timedelta(hours=1)
"""The longest lease of a claim that a worker may be started with."""

LONGEST_KEPT = timedelta(days=7)
"""How long a provider's former secrets may be kept at most."""

LONGEST_POLL_INTERVAL = timedelta(hours=27)
"""A day, which is the longest interval and what a host's rate limit is obeyed for, and a tenth."""

LONGEST_POSTPONEMENT = timedelta(hours=25)
"""A day, for which a host's rate limit is obeyed, and the pause after it."""

TOLERANCE = timedelta(minutes=1)
"""How far ahead a clock may have been: clocks are corrected by seconds all the time."""


def holds(
    until: ColumnElement[datetime],
    set_at: ColumnElement[datetime | None],
    now: datetime,
    longest: timedelta,
) -> ColumnElement[bool]:
    """Whether a time lies ahead, and could have been set.

    Args:
        until: The time.
        set_at: When it was set; null where that is not known.
        now: The time by the database's clock.
        longest: How far ahead it may have been set.
    """
    return and_(
        until > now,
        until <= now + longest + TOLERANCE,
        or_(set_at.is_(None), set_at <= now + TOLERANCE),
    )


def is_void(
    until: ColumnElement[datetime],
    set_at: ColumnElement[datetime | None],
    now: datetime,
    longest: timedelta,
) -> ColumnElement[bool]:
    """Whether a time lies further ahead than it could have been set; see ``holds``."""
    return or_(until > now + longest + TOLERANCE, set_at > now + TOLERANCE)


def is_ahead(at: datetime | None, now: datetime, longest: timedelta = timedelta(0)) -> bool:
    """Whether a time that was noted, or set ``longest`` ahead at most, lies further ahead."""
    return at is not None and at > now + longest + TOLERANCE


def at_most(seconds: float, longest: timedelta) -> timedelta:
    """A wait in seconds, cut to the longest that is believed."""
    return min(timedelta(seconds=seconds), longest)
