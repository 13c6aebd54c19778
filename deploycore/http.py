"""The HTTP client that every provider uses, so that authors write paths and mappings.

It keeps connections, times out, retries what may be retried, honours rate limits, bounds
answers, stays on one origin with its credentials, and turns failures into typed errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import requests
from pydantic import SecretStr

from deploycore.errors import DeploycoreError
from deploycore.redaction import Redactor

__all__ = [
    "BasicAuth",
    "BearerAuth",
    "ErrorAnswer",
    "HeaderAuth",
    "HttpAuth",
    "HttpClient",
    "HttpSettings",
]


class HttpAuth(Protocol):
    """Puts the authorisation into a request's headers, at the last moment."""

    def header(self) -> tuple[str, SecretStr]:
        """The header's name and its whole value."""


@dataclass(frozen=True)
class BasicAuth:
    """HTTP Basic (RFC 7617), in UTF-8."""

    username: str
    password: SecretStr


@dataclass(frozen=True)
class BearerAuth:
    """``Authorization: Bearer`` (RFC 6750)."""

    token: SecretStr


@dataclass(frozen=True)
class HeaderAuth:
    """A token in a header of the host's own, such as ``PRIVATE-TOKEN``."""

    name: str
    token: SecretStr


@dataclass(frozen=True)
class HttpSettings:
    """Times are seconds, sizes bytes."""

    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    total_timeout: float = 120.0
    retries: int = 4
    backoff_first: float = 0.5
    backoff_most: float = 20.0
    retry_after_most: float = 60.0
    answer_bytes_most: int = 16 * 1024 * 1024
    connections: int = 8
    ca_bundle: str | None = None


@dataclass(frozen=True)
class ErrorAnswer:
    """An answer with a status of 400 or more, for a provider to explain.

    Attributes:
        json: The decoded body where it is JSON, else ``None``.
        text: The body's first 2,000 characters, masked.
        headers: Case-insensitive.
        path: The request's path, without origin and query.
    """

    status: int
    method: str
    path: str
    headers: Mapping[str, str]
    text: str
    json: Any = field(default=None)


Explain = Callable[[ErrorAnswer], DeploycoreError | None]


class HttpClient:
    """One provider's connection to its API: bound to one origin and one authorisation."""

    def __init__(
        self,
        base_url: str,
        *,
        auth: HttpAuth | None = None,
        redactor: Redactor | None = None,
        settings: HttpSettings | None = None,
        user_agent: str | None = None,
    ) -> None: ...

    def explaining(self, explain: Explain) -> HttpClient:
        """A client on the same connections whose error answers are first shown to ``explain``;
        where that returns ``None`` the general mapping applies."""
        raise NotImplementedError

    def get_json(self, url: str, *, params: Mapping[str, str | int] | None = None) -> Any:
        """GET a path below the base URL, or an absolute URL on the same origin; JSON decoded."""
        raise NotImplementedError

    def send_json(self, method: str, url: str, *, body: Any = None, params: Mapping[str, str | int] | None = None) -> Any:
        raise NotImplementedError

    def pages(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        next_url: Callable[[Any], str | None],
    ) -> Iterator[Any]:
        """Follow a chain of pages one after another, lazily; ``next_url`` reads the link of a decoded page."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self: return self
    def __exit__(self, *exc: object) -> None: self.close()
