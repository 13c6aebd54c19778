"""How a GitHub App signs in: with a JSON web token that it signs for each request.

Source:
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import jwt
from pydantic import SecretStr

__all__ = ["AppAuth"]

SET_BACK_SECONDS = 60
LIFETIME_SECONDS = 9 * 60
"""GitHub allows at most ten minutes by its own clock, which may be behind ours."""


@dataclass(frozen=True)
class AppAuth:
    """Sign a JSON web token for each request (RS256), which authenticates the app itself."""

    app_id: str
    private_key: SecretStr
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Bearer``; GitHub does not accept ``token`` with a JSON web token."""
        now = int(self.clock())
        signed = jwt.encode(
            {
                "iat": now - SET_BACK_SECONDS,
                "exp": now + LIFETIME_SECONDS,
                "iss": self.app_id,
            },
            self.private_key.get_secret_value(),
            algorithm="RS256",
        )
        return "Authorization", SecretStr(f"Bearer {signed}")
