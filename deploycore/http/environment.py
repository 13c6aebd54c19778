"""Proxies and certificates from the process's environment."""

from __future__ import annotations

from typing import Any

import requests

from deploycore.http.origin import Origin
from deploycore.http.settings import HttpSettings

__all__ = ["environment_settings"]


def environment_settings(
    session: requests.Session, url: str, settings: HttpSettings | None = None
) -> dict[str, Any]:
    """Return the settings with which a ``session`` sends a request, according to the environment.

    Args:
        settings: Certificates and a proxy that take precedence over the environment.

    Returns:
        ``proxies``, ``verify``, ``cert`` and ``stream``, for ``send``.

    Raises:
        ValueError: The address is malformed.
    """
    settings = settings or HttpSettings()
    found = session.merge_environment_settings(url, {}, True, settings.ca_bundle or True, None)
    if settings.client_certificate:
        key = settings.client_key or settings.client_certificate
        found["cert"] = (settings.client_certificate, key)
    origin = Origin.of(url)
    if settings.proxy is not None:
        proxy = settings.proxy.get_secret_value()
        found["proxies"] = {"http": proxy, "https": proxy}
    if not settings.use_proxies or (
        origin.is_loopback and (settings.proxy is None or origin.scheme == "http")
    ):
        found["proxies"] = {}  # requests to this machine use no proxy
    return dict(found)
