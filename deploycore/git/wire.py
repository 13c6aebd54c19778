"""The connections of one fetch, in a form that another thread or a signal handler can cut.

Timeouts of sockets begin anew with every byte, so a server that sends one byte a minute meets
none of them, and a thread that waits in ``recv`` looks at nothing. Shutting the socket down
ends such a wait at once; that is what the deadline and a cancellation do. While a connection
is made, there is nothing to shut down yet: that is waited for in small steps.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from certifi import where
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import Url, parse_url
from urllib3.util.connection import allowed_gai_family

from deploycore.errors import ConfigurationError
from deploycore.git.operation import Operation
from deploycore.http.origin import Origin

__all__ = ["PlainConnection", "SecureConnection", "Wire", "media_type", "open_pool"]


_CONNECTING_STEP = 0.1

_TLS_TO_NO_PROXY = ProxyConfig(
    ssl_context=None, use_forwarding_for_https=False, assert_hostname=None, assert_fingerprint=None
)


class Wire:
    """The sockets that are open for one fetch.

    Args:
        connect_timeout: Seconds for each address of a host.
        check: Raises where a connection is no longer wanted.
    """

    def __init__(self, connect_timeout: float, check: Callable[[], None]) -> None:
        self._timeout = connect_timeout
        self._check = check
        self._sockets: tuple[socket.socket, ...] = ()
        self._cut = False

    def connect(self, host: str, port: int, options: Iterable[Any]) -> socket.socket:
        """Connect to one of a host's addresses, the first that answers, and watch the socket.

        Args:
            options: Arguments of ``setsockopt``.

        Raises:
            OSError: There is no address, none can be reached, or all was cut.
            DeploycoreError: What ``check`` raises.
        """
        failure = OSError(f"{host} has no address")
        # The name is looked up by the system, which can't be interrupted.
        found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            connecting = socket.socket(family, kind, protocol)
            try:
                for each in options:
                    connecting.setsockopt(*each)
                self._wait_for(connecting, address)
                self._add(connecting)
                return connecting
            except OSError as error:
                failure = error
                connecting.close()
            except BaseException:
                connecting.close()
                raise
        raise failure

    def _wait_for(self, connecting: socket.socket, address: Any) -> None:
        end = time.monotonic() + self._timeout
        connecting.setblocking(False)
        failed = connecting.connect_ex(address)
        with selectors.DefaultSelector() as selector:
            selector.register(connecting, selectors.EVENT_WRITE)
            while failed == errno.EINPROGRESS:
                self._check()
                if self._cut:
                    raise ConnectionAbortedError(errno.ECONNABORTED, "it was cut")
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if selector.select(min(left, _CONNECTING_STEP)):
                    failed = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        connecting.settimeout(self._timeout)

    def _add(self, connected: socket.socket) -> None:
        """Watch a socket. A duplicate is kept, since TLS takes the original's descriptor away."""
        self._sockets += (connected.dup(),)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """End all that is sent or received now, and all that would be."""
        self._cut = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the duplicates back."""
        for each in self._sockets:
            each.close()
        self._sockets = ()


@contextmanager
def open_pool(url: str, operation: Operation) -> Iterator[HTTPConnectionPool]:
    """Connections to the one origin of ``url``: no redirects, no retries, no other hosts.

    They end when the operation's time is over or when it is cancelled.

    Raises:
        ConfigurationError: The certificates to trust, or to show, or the proxy, can't be used.
    """
    wire = Wire(operation.settings.connect_timeout, operation.check)
    pool = _pool(urlsplit(url), operation, wire)
    deadline = threading.Timer(operation.remaining, wire.cut)
    deadline.daemon = True
    deadline.start()
    try:
        with operation.cancellation.waking(wire.cut):
            yield pool
    finally:
        deadline.cancel()
        pool.close()
        wire.close()


def media_type(response: BaseHTTPResponse) -> str:
    """The media type of an answer, in lower case and without parameters (RFC 9110, 8.3.1)."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _pool(place: SplitResult, operation: Operation, wire: Wire) -> HTTPConnectionPool:
    settings = operation.settings
    options: dict[str, Any] = {
        "timeout": Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
        "retries": False,
        "wire": wire,
    }
    host = place.hostname or ""
    proxy = _proxy(place) if settings.use_proxies else None
    if place.scheme == "http":
        if proxy is None:
            return _PlainPool(host, place.port, **options)
        return _ForwardingPool(f"http://{place.netloc}", proxy, **options)
    trusted = settings.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or where()
    options.update(_trusting(trusted), ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    if settings.client_certificate and _is_home(place, operation):
        options.update(_showing(settings.client_certificate, settings.client_key))
    if proxy is not None:
        options.update(
            _proxy=proxy.url, _proxy_headers=proxy.headers, _proxy_config=_TLS_TO_NO_PROXY
        )
    return _SecurePool(host, place.port, **options)


def _is_home(place: SplitResult, operation: Operation) -> bool:
    """Whether an address is of the origin that was configured, and not one of a submodule's."""
    return Origin.of(place.geturl()) == Origin.of(operation.home)


def _trusting(certificates: str) -> dict[str, Any]:
    if not os.path.exists(certificates):
        raise ConfigurationError(
            f"The CA certificates {certificates!r} are not there.",
            hint="Name a file, or a directory made by c_rehash, in REQUESTS_CA_BUNDLE.",
            path=certificates,
        )
    return {"ca_cert_dir" if os.path.isdir(certificates) else "ca_certs": certificates}


def _showing(certificate: str, key: str | None) -> dict[str, Any]:
    def refuse_password() -> str:
        raise ValueError("the key is encrypted")

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate, key, password=refuse_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(
            f"The client certificate {certificate!r} can't be used: {reason}.",
            hint="Name PEM files: one with the certificate, and the key in it or in one of its"
            " own, not encrypted.",
            path=certificate,
        ) from None
    return {"cert_file": certificate, "key_file": key}


@dataclass(frozen=True)
class _Proxy:
    """Attributes:
    url: Without credentials.
    headers: For the proxy alone.
    """

    url: Url
    headers: dict[str, str] = field(repr=False)


def _proxy(place: SplitResult) -> _Proxy | None:
    """The proxy that the environment names for an address, by the rules that REST has too.

    HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. Plain HTTP to this
    machine goes there: credentials are sent along since they don't leave it.
    """
    address = f"{place.scheme}://{place.netloc}"
    if place.scheme == "http" and Origin.of(address).is_loopback:
        return None
    found = select_proxy(address, get_environ_proxies(address, no_proxy=None))
    if not found:
        return None
    try:
        parts = parse_url(found if "://" in found else f"http://{found}")
    except LocationParseError:
        parts = Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigurationError(
            f"The proxy for {address} is none that can be used: it has to be http:// or https://"
            " with a host.",
            hint="Look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or except the host in NO_PROXY.",
        )
    # urllib3 would know Latin-1 alone, and tell others' passwords in its exception.
    said = b64encode(unquote_to_bytes(parts.auth or "")).decode()
    headers = {"proxy-authorization": f"Basic {said}"} if parts.auth else {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Proxy(Url(parts.scheme, host=parts.host, port=port), headers)


class PlainConnection(HTTPConnection):
    """A connection whose socket is watched; TLS is put on it later."""

    def __init__(self, *args: Any, wire: Wire, **options: Any) -> None:
        self._wire = wire
        super().__init__(*args, **options)

    def _new_conn(self) -> socket.socket:
        try:
            host = self._dns_host.strip("[]")
            connected = self._wire.connect(host, self.port, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"{self.host} can't be reached: {error}") from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return connected


class SecureConnection(PlainConnection, HTTPSConnection):
    """The same, with TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = SecureConnection


class _ForwardingPool(_PlainPool):
    """Plain HTTP through a proxy, which is told the whole address (RFC 9112, 3.2.2)."""

    def __init__(self, origin: str, proxy: _Proxy, **options: Any) -> None:
        super().__init__(proxy.url.host or "", proxy.url.port, **options)
        self._origin = origin
        self._own_headers = proxy.headers

    def urlopen(self, method: str, url: str, **options: Any) -> Any:  # type: ignore[override]
        options["headers"] = {**(options.get("headers") or {}), **self._own_headers}
        # To urllib3, only the proxy is no foreign host.
        options["assert_same_host"] = False
        return super().urlopen(method, self._origin + url, **options)
