"""The sign-in of a GitHub App, which signs a JSON web token for each request.

Source:
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

__all__ = ["AppAuth"]

SET_BACK_SECONDS = 60
LIFETIME_SECONDS = 9 * 60
"""The lifetime of a JSON web token. GitHub allows at most ten minutes by its own clock, which may
be behind this machine's clock."""


@dataclass(frozen=True)
class AppAuth:
    """Sign a JSON web token for each request (RS256), which authenticates the app itself."""

    app_id: str
    private_key: SecretStr
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Bearer``; GitHub does not accept ``token`` with a JSON web token."""
        now = int(self.clock())
        pem = self.private_key.get_secret_value().encode()
        # ``Config`` has validated the key, which takes 40 times as long as signing.
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        signed = jwt.encode(
            {
                "iat": now - SET_BACK_SECONDS,
                "exp": now + LIFETIME_SECONDS,
                "iss": self.app_id,
            },
            cast(RSAPrivateKey, key),
            algorithm="RS256",
        )
        return "Authorization", SecretStr(f"Bearer {signed}")
