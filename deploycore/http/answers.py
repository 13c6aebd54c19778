"""The responses of requests, and the typed error that each of them means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urljoin

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from deploycore.http.dates import http_date
from deploycore.records import record
from deploycore.times import for_people

__all__ = [
    "Answer",
    "ErrorAnswer",
    "Failure",
    "error_for_status",
    "link_of",
    "next_link",
    "quoted",
    "retry_after",
    "retry_at",
]

_RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@record
class ErrorAnswer:
    """A response with status 400 or higher, which a provider can explain.

    Attributes:
        status: The status.
        method: The method of the request.
        path: The path of the request, without origin and query.
        headers: The headers. Their names are case-insensitive.
        text: The first 2,000 characters of the body, with secrets masked.
        json: The decoded body; ``None`` if it is not JSON.
    """

    status: int
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    text: str
    json: Any = field(default=None, repr=False)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the number of seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3).

    Returns:
        Zero or more; ``None`` if the header is missing or invalid.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    at = http_date(value)
    return None if at is None else max(0.0, (at - now).total_seconds())


def retry_at(headers: Mapping[str, str], now: datetime, *, reset: str = "") -> datetime | None:
    """Return the time at which a response allows the client to try again.

    Args:
        headers: The headers of the response.
        now: The current time.
        reset: The name of another header that has this time in seconds since 1970, if the host has
            one besides ``Retry-After``.

    Returns:
        The time; ``None`` if the response has none, or an invalid one.
    """
    seconds = retry_after(headers, now)
    if seconds is not None:
        return now + timedelta(seconds=seconds)
    epoch = headers.get(reset, "") if reset else ""
    if not (epoch.isascii() and epoch.isdigit() and int(epoch[:13]) <= _LATEST_SECOND):
        return None
    return datetime.fromtimestamp(int(epoch[:13]), UTC)


def quoted(message: str, *, most: int = 300) -> str:
    """Return a host's message in parentheses, with a space before, to append it to a sentence.

    Returns:
        The text; empty if the message is longer than ``most`` characters, is HTML, or has control
        characters. The message is never cut, because a part of a secret cannot be masked.
    """
    if not message.isprintable() or "<" in message or not 0 < len(message) <= most:
        return ""
    return f" ({message})"


_LATEST_SECOND = 253_402_300_799  # the last one of the year 9999
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LINK = rf"""[\s,]*<([^>]*)>((?:\s*;\s*[^\s=;,"]+(?:\s*=\s*(?:{_QUOTED}|[^\s;,"]*))?)*)\s*(?:,|$)"""
_PARAMETER = rf""";\s*([^\s=;,"]+)(?:\s*=\s*({_QUOTED}|[^\s;,"]*))?"""


def next_link(headers: Mapping[str, str], base: str) -> str | None:
    """Return the link with the relation ``next`` in a ``Link`` header; see ``link_of``."""
    return link_of("next", headers, base)


def link_of(relation: str, headers: Mapping[str, str], base: str) -> str | None:
    """Return the first link with a relation in a ``Link`` header (RFC 8288).

    ``requests.utils.parse_header_links`` is not used, because it cuts addresses at a semicolon and
    treats a malformed header as the end of a listing.

    Args:
        relation: The relation.
        headers: The headers of the response.
        base: The address of the request. A relative link is relative to it.

    Returns:
        An absolute address; ``None`` if there is no such link.

    Raises:
        ValueError: The header is malformed.
    """
    header = headers.get("Link", "").strip(" \t,")  # ignore empty elements
    place = 0
    pattern = re.compile(_LINK)
    while place < len(header):
        link = pattern.match(header, place)
        if link is None:
            raise ValueError("its Link header is malformed")
        named = ((name.lower(), value) for name, value in re.findall(_PARAMETER, link[2]))
        relations = next((value for name, value in named if name == "rel"), "")
        if relation in relations.strip('"').lower().split():
            return _joined(base, link[1])
        place = link.end()
    return None


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:
        raise ValueError("its Link header is malformed") from None


@record
class Answer:
    """A complete response. It may contain a secret, so ``repr`` does not show its content."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)

    @property
    def worth_retrying(self) -> bool:
        return self.status in _RETRIED_STATUSES


class Failure(NamedTuple):
    """The reason why there is no response. The text contains no secret."""

    reason: str
    hint: str = ""
    worth_retrying: bool = False
    unexpected: bool = False


def error_for_status(answer: Answer, what: str) -> ProviderError:
    """Return the general error for a status that the provider does not explain."""
    status = answer.status
    wait = retry_after(answer.headers, datetime.now(UTC))
    retry_at = None if wait is None else datetime.now(UTC) + timedelta(seconds=wait)
    if status == 401:
        return AuthenticationFailed(
            f"{what}: the host does not accept the credentials.",
            hint="Check the provider's credentials: they may be wrong, expired or revoked.",
            status=status,
        )
    if status == 403:
        return PermissionDenied(
            f"{what}: the credentials do not have permission.",
            hint="Give the provider's credentials the permission, or use others.",
            status=status,
        )
    if status in (404, 410):
        gone = (
            "no longer exists"
            if status == 410
            else "was not found, or these credentials cannot read it"
        )
        return NotFound(
            f"{what}: the resource {gone}.",
            hint="Check the owner and the name of the repository, and the provider's address.",
            status=status,
        )
    if status == 429:
        when = f"after {for_people(retry_at)}" if retry_at else "later"
        return RateLimited(
            f"{what}: the host's rate limit is exceeded.",
            retry_at=retry_at,
            hint=f"Try again {when}.",
            status=status,
        )
    if status >= 500:
        return ProviderUnavailable(
            f"{what}: the host has a problem (status {status}).",
            hint="Try again later.",
            status=status,
        )
    return ProviderError(
        f"{what}: the host refused with status {status}.",
        hint="Check the provider's address. If it is right, upgrade the provider's plugin.",
        status=status,
    )
