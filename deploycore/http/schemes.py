"""The values of the ``Authorization`` header. They contain the secret."""

from __future__ import annotations

import base64

__all__ = ["basic", "bearer"]


def basic(username: str, password: str) -> str:
    """Return the value for HTTP Basic authentication (RFC 7617), in UTF-8."""
    pair = f"{username}:{password}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def bearer(token: str) -> str:
    """Return the value for a bearer token (RFC 6750)."""
    return f"Bearer {token}"
