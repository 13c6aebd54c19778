"""How a GitHub App signs in: a JSON web token for the app, and hourly tokens for other requests.

Sources:
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import SecretStr

from deploycore.http import HttpClient, parse_answer
from deploycore_github.answers import InstallationAnswer, InstallationTokenAnswer
from deploycore_github.tasks import READING

__all__ = ["AppAuth", "Installation"]

SET_BACK_SECONDS = 60
LIFETIME_SECONDS = 9 * 60
"""GitHub allows at most ten minutes by its own clock, which may be behind ours."""

RENEWED_BEFORE = timedelta(minutes=5)
"""A long fetch should be able to finish with the token that it started with."""


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


class Installation:
    """One installation of the app as an authorization, with a token that is always valid.

    Safe to use from several threads: one asks for a token, the others wait for it.

    Args:
        number: The installation's ID.
        http: Signs as the app, and explains GitHub's refusals.
        permissions: All that the token may do, whatever else the app may.
    """

    def __init__(
        self,
        number: str,
        http: HttpClient,
        *,
        permissions: Mapping[str, str] = READING.permissions,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = f"app/installations/{number}"
        self._http = http.repeating("POST")
        self._permissions = dict(permissions)
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[SecretStr, datetime] | None = None

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Bearer`` with the installation's token."""
        return "Authorization", SecretStr(f"Bearer {self.token().get_secret_value()}")

    def token(self) -> SecretStr:
        """Return a token that is valid for some minutes at least; request one once an hour.

        Raises:
            AuthenticationFailed, PermissionDenied: GitHub gives none.
        """
        with self._lock:
            if self._held is None or self._clock() > self._held[1] - RENEWED_BEFORE:
                self._held = self._obtained()
            return self._held[0]

    def forget(self) -> None:
        """Request a new token next time, because GitHub rejected this one."""
        with self._lock:
            self._held = None

    def described(self) -> InstallationAnswer:
        """Read the installation. This needs only the app's key, no permission."""
        answer = self._http.get_json(self._path)
        return parse_answer(InstallationAnswer, answer, what="an installation")

    def _obtained(self) -> tuple[SecretStr, datetime]:
        body = {"permissions": self._permissions}
        answer = self._http.send_json("POST", f"{self._path}/access_tokens", body=body)
        given = parse_answer(InstallationTokenAnswer, answer, what="an installation token")
        return SecretStr(given.token), given.expires_at
