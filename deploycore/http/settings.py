"""Timeouts, retries and limits of the HTTP client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.records import record

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["HttpSettings"]


@record
class HttpSettings:
    """Timeouts, retries and limits of the HTTP client. Times are in seconds, sizes in bytes.

    Attributes:
        connect_timeout: The maximum time to establish a connection.
        read_timeout: The maximum time to wait for more data.
        total_timeout: The maximum time for a request with all its attempts, waits and the body of
            the response.
        retries: The number of attempts after the first one.
        backoff_first: The maximum wait before the second attempt. It doubles for each further
            attempt.
        backoff_most: The maximum wait before any attempt, unless the host requests another time.
        retry_after_most: The maximum wait that a host can request.
        answer_bytes_most: The maximum size of a response, after decompression.
        pages_most: The maximum number of pages of a listing.
        connections: The number of connections to keep open.
        ca_bundle: A file of certificates to trust instead of the default ones.
        client_certificate: A PEM file with a client certificate. It also contains the key, unless
            ``client_key`` is set.
        client_key: A PEM file with the key of ``client_certificate``.
        proxy: The address of the proxy for all requests (default: those of HTTPS_PROXY, HTTP_PROXY,
            ALL_PROXY and NO_PROXY). It may contain a username and a password. Plain HTTP to this
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
