"""Validation of stored times, which a wrong clock may have set.

If a clock is ahead for a while, it stores times that are far in the future when the clock is right
again. Waiting for them would take as long as the clock was ahead. So an expiry time is stored with
the time at which it was set. It is ignored if one of the two is later than possible.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

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
"""The maximum lease of a claim with which a worker can be started."""

LONGEST_KEPT = timedelta(days=7)
"""The maximum time for which a provider's previous secrets can be kept."""

LONGEST_POLL_INTERVAL = timedelta(hours=27)
"""The maximum wait until a poll: a day (the longest interval, and the longest rate limit of a
host), and a tenth of it."""

LONGEST_POSTPONEMENT = timedelta(hours=25)
"""The maximum wait until a retry: a day (the longest rate limit of a host), and the pause after
it."""

TOLERANCE = timedelta(minutes=1)
"""How far in the future a time may be without being ignored: clocks are corrected by seconds all
the time."""


def holds(
    until: ColumnElement[datetime],
    set_at: ColumnElement[datetime | None],
    now: datetime,
    longest: timedelta,
) -> ColumnElement[bool]:
    """Return the condition that a time is in the future and plausible.

    Args:
        until: The expiry time.
        set_at: When it was set; null if that is unknown.
        now: The time by the database's clock.
        longest: The longest possible time between ``set_at`` and ``until``.
    """
    from sqlalchemy import and_, or_

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
    """Return the condition that a time is later than possible; see ``holds``."""
    from sqlalchemy import or_

    return or_(until > now + longest + TOLERANCE, set_at > now + TOLERANCE)


def is_ahead(at: datetime | None, now: datetime, longest: timedelta = timedelta(0)) -> bool:
    """Return whether a time is more than ``longest`` in the future."""
    return at is not None and at > now + longest + TOLERANCE


def at_most(seconds: float, longest: timedelta) -> timedelta:
    """Return a wait in seconds, limited to the longest plausible one."""
    return min(timedelta(seconds=seconds), longest)
