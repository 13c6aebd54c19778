"""What the process's environment says about connections: proxies, and whom to trust."""

from __future__ import annotations

from typing import Any

import requests

from deploycore.http.origin import Origin

__all__ = ["environment_settings"]


def environment_settings(
    session: requests.Session, url: str, *, ca_bundle: str | None = None
) -> dict[str, Any]:
    """How ``session`` is to send a request, as the process's environment has it.

    Args:
        ca_bundle: A file of certificates to trust, whatever the environment names.

    Returns:
        ``proxies``, ``verify``, ``cert`` and ``stream``, for ``send``.

    Raises:
        ValueError: The address is malformed.
    """
    found = session.merge_environment_settings(url, {}, True, ca_bundle or True, None)
    if Origin.of(url).is_loopback:
        found["proxies"] = {}  # what is meant for this machine goes to no other
    return dict(found)
