"""Expiry of credentials: which warning is due, and its words."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

__all__ = [
    "WARNING_DAYS",
    "describe_expiry",
    "due_warning",
    "is_same_expiry",
    "replacing_command",
]

WARNING_DAYS = (30, 7, 1, 0)
"""How many days before the end a warning is due; 0 once the credentials have expired."""

_SAME = timedelta(minutes=1)
"""Hosts that say in how many seconds a token expires give a slightly different time each time."""


def due_warning(expires_at: datetime, now: datetime) -> int | None:
    """Return the last value of ``WARNING_DAYS`` that was reached; ``None`` if none was."""
    left = expires_at - now
    return min((days for days in WARNING_DAYS if left <= timedelta(days=days)), default=None)


def describe_expiry(expires_at: datetime, now: datetime) -> str:
    """Return words that follow ``The credentials``: ``expire in 6 days (2026-12-05)``."""
    day = expires_at.astimezone(UTC).date().isoformat()
    left = expires_at - now
    if left <= timedelta(0):
        return f"expired on {day}"
    days = math.ceil(left / timedelta(days=1))
    return f"expire within a day ({day})" if days == 1 else f"expire in {days} days ({day})"


def replacing_command(provider: str, *, is_signed_in: bool) -> str:
    """The command that replaces a provider's credentials.

    Args:
        is_signed_in: Whether a person signs in to it.
    """
    return f"deploycore provider {'authorize' if is_signed_in else 'rotate'} {provider}"


def is_same_expiry(one: datetime | None, other: datetime | None) -> bool:
    """Return whether two expiry times are equal; ``None`` means no expiry."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME
