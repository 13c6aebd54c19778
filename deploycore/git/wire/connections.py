"""The connections of one fetch, which its deadline or a cancellation closes; see ``http.wire``."""

from __future__ import annotations

import os
import ssl
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from certifi import where
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import ProxyConfig
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from deploycore.errors import ConfigurationError
from deploycore.git.operation import Operation
from deploycore.git.settings import GitSettings
from deploycore.http.certificates import refuse_unusable_certificate
from deploycore.http.origin import Origin
from deploycore.http.watched import PlainConnection, SecureConnection
from deploycore.http.wire import Wire, cutting_after
from deploycore.records import record

__all__ = ["media_type", "open_pool"]

_SUCH_AS = "such as http://proxy.example.com:3128"
_TLS_TO_NO_PROXY = ProxyConfig(
    ssl_context=None, use_forwarding_for_https=False, assert_hostname=None, assert_fingerprint=None
)


@contextmanager
def open_pool(url: str, operation: Operation) -> Iterator[HTTPConnectionPool]:
    """Open connections to the origin of ``url``, without redirects, retries or other hosts.

    They are closed when the operation's time is over or when it is cancelled.

    Raises:
        ConfigurationError: The CA certificates, the client certificate or the proxy is invalid.
    """
    wire = Wire(operation.settings.connect_timeout, operation.check)
    pool = _pool(urlsplit(url), operation, wire)
    with cutting_after(wire, operation.remaining), operation.cancellation.waking(wire.cut):
        try:
            yield pool
        finally:
            pool.close()


def media_type(response: BaseHTTPResponse) -> str:
    """The media type of an answer, in lower case and without parameters (RFC 9110, 8.3.1)."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _pool(place: SplitResult, operation: Operation, wire: Wire) -> HTTPConnectionPool:
    settings = operation.settings
    options: dict[str, Any] = {
        "timeout": Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
        "retries": False,
        "wire": lambda: wire,
    }
    host = place.hostname or ""
    proxy = _proxy(place, settings) if settings.use_proxies else None
    if place.scheme == "http":
        if proxy is None:
            return _PlainPool(host, place.port, **options)
        return _ForwardingPool(f"http://{place.netloc}", proxy, **options)
    options.update(_trusting(settings.ca_bundle), ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    if settings.client_certificate and _is_home(place, operation):
        options.update(_showing(settings.client_certificate, settings.client_key))
    if proxy is not None:
        options.update(
            _proxy=proxy.url, _proxy_headers=proxy.headers, _proxy_config=_TLS_TO_NO_PROXY
        )
    return _SecurePool(host, place.port, **options)


def _is_home(place: SplitResult, operation: Operation) -> bool:
    """Whether an address has the origin of the outermost repository, not that of a submodule."""
    return Origin.of(place.geturl()) == Origin.of(operation.home)


def _trusting(bundle: str | None) -> dict[str, Any]:
    certificates = bundle or os.environ.get("REQUESTS_CA_BUNDLE") or where()
    if not os.path.exists(certificates):
        named_in = "the provider's ca_bundle" if bundle else "REQUESTS_CA_BUNDLE"
        raise ConfigurationError(
            f"The CA certificates {certificates!r} do not exist.",
            hint=f"Restore them, or set {named_in} to a PEM file or a directory made by c_rehash.",
            path=certificates,
        )
    return {"ca_cert_dir" if os.path.isdir(certificates) else "ca_certs": certificates}


def _showing(certificate: str, key: str | None) -> dict[str, Any]:
    refuse_unusable_certificate(certificate, key)
    return {"cert_file": certificate, "key_file": key}


@record
class _Proxy:
    """A proxy.

    Attributes:
    url: Without credentials.
    headers: Sent only to the proxy.
    """

    url: Url
    headers: dict[str, str] = field(repr=False)


def _proxy(place: SplitResult, settings: GitSettings) -> _Proxy | None:
    """The proxy for an address, by the same rules as for API requests: that of the settings, else
    that of the environment.

    It reads HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. Plain HTTP to
    this machine uses no proxy: it may carry credentials, which must not leave the machine.
    """
    address = f"{place.scheme}://{place.netloc}"
    if place.scheme == "http" and Origin.of(address).is_loopback:
        return None
    if settings.proxy is not None:
        found = settings.proxy.get_secret_value()
        hint = f"Set the provider's proxy to an address {_SUCH_AS}."
    else:
        found = _environment_proxy(address)
        hint = (
            f"Set HTTPS_PROXY, HTTP_PROXY or ALL_PROXY to an address {_SUCH_AS}, or add the host to"
            " NO_PROXY."
        )
    if not found:
        return None
    try:
        parts = parse_url(found if "://" in found else f"http://{found}")
    except LocationParseError:
        parts = Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigurationError(
            f"The proxy for {address} is not valid: it must be http:// or https:// with a host.",
            hint=hint,
        )
    # urllib3 supports only Latin-1 here, and its exception would show any other password.
    said = b64encode(unquote_to_bytes(parts.auth or "")).decode()
    headers = {"proxy-authorization": f"Basic {said}"} if parts.auth else {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Proxy(Url(parts.scheme, host=parts.host, port=port), headers)


def _environment_proxy(address: str) -> str:
    """The proxy that the environment names for an address; empty if there is none."""
    # Elsewhere, the system's settings may name one too.
    if sys.platform == "linux" and not any(each.lower().endswith("_proxy") for each in os.environ):
        return ""
    from requests.utils import get_environ_proxies, select_proxy  # few environments need it

    return select_proxy(address, get_environ_proxies(address, no_proxy=None)) or ""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = SecureConnection


class _ForwardingPool(_PlainPool):
    """Plain HTTP through a proxy, which gets the whole address in each request (RFC 9112,
    3.2.2)."""

    def __init__(self, origin: str, proxy: _Proxy, **options: Any) -> None:
        super().__init__(proxy.url.host or "", proxy.url.port, **options)
        self._origin = origin
        self._own_headers = proxy.headers

    def urlopen(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override]
        options["headers"] = {**(options.get("headers") or {}), **self._own_headers}
        # urllib3 treats every host except the proxy as a foreign host.
        options["assert_same_host"] = False
        return super().urlopen(method, self._origin + url, **options)
