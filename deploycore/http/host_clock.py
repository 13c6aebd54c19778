"""The difference between a host's clock and this machine's. A wrong clock breaks TLS and tokens."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["HostClock"]


class HostClock:
    """Reads the ``Date`` header of responses (RFC 9110, 6.6.1), and keeps the last difference.

    Attributes:
        offset: The number of seconds that the host's clock is ahead; ``None`` until it is known.
    """

    def __init__(self) -> None:
        self.offset: float | None = None

    def note(self, headers: Mapping[str, str], now: datetime) -> None:
        """Record the ``Date`` of a response. An invalid one is ignored."""
        try:
            date = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        except (TypeError, ValueError, OverflowError):
            return
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        age = headers.get("Age", "")  # a cached response has an old date
        waited = int(age[:9]) if age.isascii() and age.isdigit() else 0
        self.offset = (date - now).total_seconds() + waited
