"""Secrets of the server: made here, shown once, and known by their digests from then on.

Each has 256 random bits, so nobody finds one by trying, and a digest needs neither salt nor
stretching.
"""

from __future__ import annotations

import hashlib
import secrets

from pydantic import SecretStr

__all__ = ["digest_of", "new_secret", "new_token"]

_PREFIX = "dct_"
"""What scanners of leaked secrets can recognise one by."""


def new_token() -> SecretStr:
    """A token that nobody has had before."""
    return SecretStr(_PREFIX + secrets.token_urlsafe(32))


def digest_of(token: SecretStr) -> str:
    """What is kept of a token: SHA-256, hexadecimal."""
    return hashlib.sha256(token.get_secret_value().encode("utf-8", "replace")).hexdigest()


def new_secret() -> SecretStr:
    """A secret for a cookie or a link that nobody has had before."""
    return SecretStr(secrets.token_urlsafe(32))
