"""Secrets of the server. They are created here and shown once; then only their digests are stored.

Each secret has 256 random bits, so it cannot be guessed, and its digest needs neither salt nor
stretching.
"""

from __future__ import annotations

import hashlib
import secrets

from pydantic import SecretStr

__all__ = ["digest_of", "new_secret", "new_token"]

_PREFIX = "dct_"
"""The prefix by which scanners of leaked secrets can recognize a token."""


def new_token() -> SecretStr:
    """Create a new token."""
    return SecretStr(_PREFIX + secrets.token_urlsafe(32))


def digest_of(token: SecretStr) -> str:
    """Return the digest of a token, which is stored: SHA-256 in hexadecimal."""
    return hashlib.sha256(token.get_secret_value().encode("utf-8", "replace")).hexdigest()


def new_secret() -> SecretStr:
    """Create a new secret for a cookie or a link."""
    return SecretStr(secrets.token_urlsafe(32))
