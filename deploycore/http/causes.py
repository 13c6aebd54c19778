"""Why a request got no response, from an exception of requests or urllib3."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions

from deploycore.http.answers import Failure

__all__ = ["failure_of"]


def failure_of(error: Exception) -> Failure:
    """Return the reason for an exception of requests or urllib3, without the exception itself."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError | ssl.CertificateError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "handshake failed"
            return Failure(
                f"TLS: {reason}",
                hint="Check the host name and the clock; for a certificate of your own, name its "
                "CA bundle in the provider's ca_bundle or in REQUESTS_CA_BUNDLE.",
            )
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            return Failure("its name cannot be resolved", hint="Check the name and the network.")
    # In urllib3, the class of a refused connection is a subclass of a timeout.
    causes = [each for each in causes if type(each) is not urllib3.exceptions.NewConnectionError]
    for kinds, failure in _FAILURES:
        if any(isinstance(cause, kinds) for cause in causes):
            return failure
    said = next((cause.strerror for cause in causes if getattr(cause, "strerror", None)), "")
    return Failure(said or "the connection was cut", worth_retrying=True)


_FAILURES: tuple[tuple[tuple[type[BaseException], ...], Failure], ...] = (
    (
        (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError),
        Failure("its compression is broken", unexpected=True),
    ),
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError),
        Failure(
            "the proxy refused the connection",
            hint="Check the provider's proxy, or HTTPS_PROXY, or add the host to NO_PROXY.",
        ),
    ),
    (
        (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError),
        Failure("it timed out", worth_retrying=True),
    ),
    (
        (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError),
        Failure("its address is malformed", unexpected=True),
    ),
)


def _causes(error: BaseException) -> Iterator[Any]:
    """Yield the exception and all exceptions in its ``args``, ``reason`` or chain, each once."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [*current.args, getattr(current, "reason", None)]
        inner += [current.__cause__, current.__context__]
        waiting += [each for each in inner if isinstance(each, BaseException)]
