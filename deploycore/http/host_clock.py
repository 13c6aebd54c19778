"""The difference between a host's clock and this machine's. A wrong clock breaks TLS and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from deploycore.http.dates import http_date

__all__ = ["HostClock"]


class HostClock:
    """Reads the ``Date`` header of responses (RFC 9110, 6.6.1), and keeps the last difference.

    Attributes:
        offset: The number of seconds that the host's clock is ahead; ``None`` until it is known.
    """

    def __init__(self) -> None:
        self.offset: float | None = None

    def note(self, headers: Mapping[str, str], now: datetime) -> None:
        """Read a response that has just arrived. A date that makes no sense is ignored."""
        date = http_date(headers.get("Date", ""))
        if date is None:
            return
        # a cache on the way returns the date at which it stored the response
        age = headers.get("Age", "")
        waited = int(age[:9]) if age.isascii() and age.isdigit() else 0
        self.offset = (date - now).total_seconds() + waited
