"""Check whether a host can be reached: its name, a connection, and its certificate.

No request is sent, so no credential is sent either.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import certifi
import requests
import requests.utils

from deploycore.errors import ProviderUnavailable
from deploycore.http.causes import failure_of
from deploycore.http.environment import environment_settings
from deploycore.http.origin import Origin
from deploycore.http.settings import HttpSettings
from deploycore.http.wire import Wire, cutting_after

__all__ = ["Reached", "reach"]


@dataclass(frozen=True)
class Reached:
    """A connection that could be established.

    Attributes:
        host: The host that was reached: the proxy, if there is one.
        is_proxy: Whether it is a proxy. Then it is not known whether the host behind it is
            reachable.
        is_encrypted: Whether the connection uses TLS with a trusted certificate.
    """

    host: str
    is_proxy: bool
    is_encrypted: bool
    milliseconds: int


def reach(url: str, *, seconds: float, settings: HttpSettings | None = None) -> Reached:
    """Connect to the server that requests for a URL would be sent to.

    Args:
        url: An absolute http or https URL.
        settings: Certificates and a proxy that take precedence over the environment.
        seconds: The maximum time for name resolution, connection and TLS together.

    Raises:
        ProviderUnavailable: The server cannot be reached. The message says which step failed.
    """
    how = environment_settings(url, settings)
    proxy = requests.utils.select_proxy(url, how["proxies"])
    origin = _origin_of_proxy(proxy) if proxy else Origin.of(url)
    is_encrypted = not proxy and origin.scheme == "https"
    wire, started = Wire(seconds), time.monotonic()
    try:
        context = _context(how["verify"], how["cert"]) if is_encrypted else None
        with (
            cutting_after(wire, seconds),
            closing(wire.connect(origin.host, origin.port or 0)) as connected,
        ):
            if context is not None:
                context.wrap_socket(connected, server_hostname=origin.host).close()
    except socket.gaierror:
        problem, hint = "its name cannot be resolved", "Check the name and the network."
    except (OSError, ValueError) as error:
        failure = failure_of(TimeoutError() if wire.is_cut else error)
        problem, hint = failure.reason, failure.hint or "Check the address and the network."
    else:
        taken = round(1000 * (time.monotonic() - started))
        return Reached(origin.host, bool(proxy), is_encrypted, taken)
    what = f"The proxy {origin.host}" if proxy else f"The host {origin.host}"
    raise ProviderUnavailable(f"{what} cannot be reached: {problem}.", hint=hint)


def _origin_of_proxy(proxy: str) -> Origin:
    try:
        return Origin.of(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return Origin("http", "that is configured", 0)


def _context(verify: bool | str, certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """Return the certificates that requests would trust: certifi's, or those of the environment or
    settings."""
    bundle = verify if isinstance(verify, str) else certifi.where()
    if Path(bundle).is_dir():
        context = ssl.create_default_context(capath=bundle)
    else:
        context = ssl.create_default_context(cafile=bundle)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context
