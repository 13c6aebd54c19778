"""Dates in the headers of responses, which may have any content."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

__all__ = ["http_date"]


def http_date(value: str) -> datetime | None:
    """Read a date (RFC 9110, 5.6.7), in UTC; ``None`` if it is not a valid date."""
    try:
        found = email.utils.parsedate_to_datetime(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
