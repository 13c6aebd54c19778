"""Timeouts, retries and limits of the HTTP client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["HttpSettings"]


@dataclass(frozen=True)
class HttpSettings:
    """Timeouts, retries and limits. Times are seconds, sizes bytes.

    Attributes:
        connect_timeout: For one connection.
        read_timeout: Between two arrivals of data.
        total_timeout: For one request, with all its tries, waits and the answer's body.
        retries: Tries after the first.
        backoff_first: The most that is waited before the second try; doubles with each.
        backoff_most: The most that is waited before any try of our own choice.
        retry_after_most: The most that is waited because the host asks for it.
        answer_bytes_most: The largest answer, after decompression.
        pages_most: The most pages of one listing.
        connections: Kept open at once.
        ca_bundle: A file of certificates to trust instead of the default ones.
        client_certificate: A PEM file with a client certificate. It also holds the key, unless
            ``client_key`` is set.
        client_key: A PEM file with the key of ``client_certificate``.
        proxy: Address of the proxy for all requests (default: those of HTTPS_PROXY, HTTP_PROXY,
            ALL_PROXY and NO_PROXY). It may hold a user name and a password. Plain HTTP to this
            machine uses no proxy.
        use_proxies: Whether proxies are used.
    """

    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    total_timeout: float = 120.0
    retries: int = 4
    backoff_first: float = 0.5
    backoff_most: float = 20.0
    retry_after_most: float = 60.0
    answer_bytes_most: int = 16 * 1024 * 1024
    pages_most: int = 100_000
    connections: int = 16
    ca_bundle: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    proxy: SecretStr | None = None
    use_proxies: bool = True
