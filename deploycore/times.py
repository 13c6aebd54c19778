"""Points in time as text. One rule: local time with its offset for people, UTC for machines."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["for_machines", "for_people"]

_SECONDS_LENGTH = len("2026-11-24 11:15:00")


def for_people(at: datetime) -> str:
    """Format a time for a person: ``2026-11-24 11:15:00 +01:00``.

    Args:
        at: A time. Without a timezone, it is treated as UTC.

    Returns:
        The time in the timezone of this process (``TZ``, or the system's), to the second.
    """
    try:
        local = _aware(at).astimezone()
    except (OverflowError, ValueError, OSError):  # near the limits of the calendar
        local = _aware(at)
    text = local.isoformat(" ", "seconds")
    return f"{text[:_SECONDS_LENGTH]} {text[_SECONDS_LENGTH:]}"


def for_machines(at: datetime, *, timespec: str = "auto") -> str:
    """Format a time for a program: ``2026-11-24T10:15:00Z``, in UTC as in RFC 3339.

    Args:
        at: A time. Without a timezone, it is treated as UTC.
        timespec: The precision, as for ``datetime.isoformat``; by default as many digits of a
            second as the time has.
    """
    try:
        utc = _aware(at).astimezone(UTC)
    except (OverflowError, ValueError):  # near the limits of the calendar
        return _aware(at).isoformat(timespec=timespec)
    return f"{utc.replace(tzinfo=None).isoformat(timespec=timespec)}Z"


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
