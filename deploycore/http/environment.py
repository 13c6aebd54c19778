"""Proxies and certificates from the process's environment."""

from __future__ import annotations

import os
from typing import Any

from requests.utils import get_environ_proxies

from deploycore.http.origin import Origin
from deploycore.http.settings import HttpSettings

__all__ = ["environment_settings"]


def environment_settings(url: str, settings: HttpSettings | None = None) -> dict[str, Any]:
    """Return the settings with which an adapter sends a request, according to the environment.

    These are the settings of ``requests.Session.merge_environment_settings``, which reads all of
    the environment twice for each request. Here it is read only if a proxy may be used.

    Args:
        settings: Certificates and a proxy that take precedence over the environment.

    Returns:
        ``proxies``, ``verify``, ``cert`` and ``stream``, for ``send``.

    Raises:
        ValueError: The address is malformed.
    """
    settings = settings or HttpSettings()
    of_environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    found: dict[str, Any] = {
        "proxies": _proxies(url, settings),
        "verify": settings.ca_bundle or of_environment or True,
        "cert": None,
        "stream": True,
    }
    if settings.client_certificate:
        key = settings.client_key or settings.client_certificate
        found["cert"] = (settings.client_certificate, key)
    return found


def _proxies(url: str, settings: HttpSettings) -> dict[str, str]:
    origin = Origin.of(url)
    if not settings.use_proxies or (
        origin.is_loopback and (settings.proxy is None or origin.scheme == "http")
    ):
        return {}  # requests to this machine use no proxy
    if settings.proxy is not None:
        proxy = settings.proxy.get_secret_value()
        return {"http": proxy, "https": proxy}
    return dict(get_environ_proxies(url, no_proxy=None))
