"""Deprecated endpoints, as hosts report them in headers of their responses.

Sources: RFC 9745 (``Deprecation``, the link relation ``deprecation``), RFC 8594 (``Sunset``)
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from deploycore.http.answers import link_of
from deploycore.http.dates import http_date
from deploycore.http.origin import host_of, path_of

__all__ = ["Deprecation", "Deprecations", "deprecation_of"]

logger = logging.getLogger(__name__)

_AGAIN = timedelta(days=1)
_MOST_ENDPOINTS = 200
_LINK_LENGTH = 200
_STRUCTURED_DATE = r"@(-?[0-9]{1,12})\s*(?:;.*)?"

_told: dict[tuple[str, str], datetime] = {}
"""When each endpoint was last logged in this process. A provider may be opened many times."""
_told_lock = threading.Lock()


class Deprecation(NamedTuple):
    """An endpoint that the host has reported as deprecated.

    Attributes:
        endpoint: Method, path and host of the request.
        since: When the deprecation starts; ``None`` if the host does not say.
        sunset: When the endpoint stops working; ``None`` if the host does not say.
        link: The address of the host's page about it; empty if there is none.
    """

    endpoint: str
    since: datetime | None = None
    sunset: datetime | None = None
    link: str = ""

    def __str__(self) -> str:
        since = f" since {self.since:%Y-%m-%d}" if self.since else ""
        end = f" It stops working on {self.sunset:%Y-%m-%d}." if self.sunset else ""
        link = f" See {self.link}" if self.link else ""
        return f"The host says that {self.endpoint} is deprecated{since}.{end}{link}"


def deprecation_of(endpoint: str, headers: Mapping[str, str], base: str) -> Deprecation | None:
    """Return the deprecation that a response reports; ``None`` if there is none, or an invalid one.

    Args:
        headers: The headers. Their names are case-insensitive.
        base: The address of the request. A relative link is relative to it.
    """
    is_deprecated, since = _deprecation(headers.get("Deprecation", "").strip())
    sunset = http_date(headers.get("Sunset", ""))
    link = _link(headers, base)
    if not is_deprecated and sunset is None and not link:
        return None
    return Deprecation(endpoint, since, sunset, link)


class Deprecations:
    """The deprecations that the responses of one provider have reported. Each is logged once a day.

    Args:
        subject: The name of the provider for log lines, such as ``provider work``.
        mask: Masks secrets in a text.
    """

    def __init__(
        self,
        subject: str,
        mask: Callable[[str], str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._subject = subject
        self._mask = mask
        self._now = now
        self._met: dict[str, Deprecation] = {}

    @property
    def met(self) -> tuple[Deprecation, ...]:
        """The deprecations so far, one for each endpoint."""
        return tuple(self._met.values())

    def note(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        """Record the deprecation in a response, if there is one."""
        if not any(name in headers for name in ("Deprecation", "Sunset", "Link")):
            return
        endpoint = self._mask(f"{method} {path_of(url)} on {host_of(url)}")
        found = deprecation_of(endpoint, headers, url)
        if found is None or len(self._met) >= _MOST_ENDPOINTS:
            return
        self._met[endpoint] = found
        if self._is_due(endpoint):
            logger.warning("%s: %s", self._subject or "a provider", self._mask(str(found)))

    def _is_due(self, endpoint: str) -> bool:
        key, now = (self._subject, endpoint), self._now()
        with _told_lock:
            last = _told.get(key)
            if last is not None and now - last < _AGAIN:
                return False
            for old in [each for each, at in _told.items() if now - at >= _AGAIN]:
                del _told[old]
            _told[key] = now
            return True


def _deprecation(value: str) -> tuple[bool, datetime | None]:
    """Return whether an endpoint is deprecated, and since when.

    The header has a date in the form of RFC 9745 (``@1688169599``), or, as in its drafts, an HTTP
    date or ``true``.
    """
    if value.lower() in ("true", "?1"):
        return True, None
    structured = re.fullmatch(_STRUCTURED_DATE, value)
    if structured is None:
        since = http_date(value)
        return since is not None, since
    try:
        return True, datetime.fromtimestamp(int(structured[1]), UTC)
    except (ValueError, OverflowError, OSError):
        return True, None


def _link(headers: Mapping[str, str], base: str) -> str:
    """Return the address of the page about the deprecation; empty if there is none to show."""
    try:
        link = link_of("deprecation", headers, base) or ""
    except ValueError:
        return ""
    is_shown = link.startswith(("https://", "http://")) and link.isascii() and link.isprintable()
    return link[:_LINK_LENGTH] if is_shown else ""
