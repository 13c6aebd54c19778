"""A git server on the loopback address, for the demo, ``deploycore sandbox`` and the conformance
kit.

It serves only git over HTTP. For SSH, the plugin's tests use OpenSSH's server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from deploycore.testing.git_http import text_refusal
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Request
from deploycore.testing.repositories import Service
from deploycore.testing.rows import Credential, Repository, credentials_of
from deploycore.testing.sandbox import Sandbox
from deploycore.testing.scenarios import Arranged, Scenario
from pydantic import SecretStr

__all__ = ["PlainGitSandbox"]

FIRST = "shop"
"""The configured repository while the server is empty."""


class PlainGitSandbox(Sandbox):
    """A git server without an API.

    If it has a credential of mode ``anonymous``, all visible repositories are public.
    """

    MODES: ClassVar[Mapping[str, str]] = {
        "basic": "Username and password",
        "bearer": "Bearer token",
        "anonymous": "No credentials",
    }
    OWNER = "acme"

    def routes(self) -> Mapping[str, Route]:
        """Return no routes, because there is no API."""
        return {}

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        shown: dict[str, dict[str, str | SecretStr]] = {
            "basic": {"username": credential.username, "password": credential.secret},
            "bearer": {"token": credential.secret},
            "anonymous": {},
        }
        slugs = [row.slug for row in self.repositories_of(self.OWNER) or ()] or [FIRST]
        return {
            "mode": credential.mode,
            "url": self.url,
            "repositories": " ".join(f"{self.OWNER}/{slug}" for slug in slugs),
            **shown[credential.mode],
        }

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create a repository whose name for people is the one in its address."""
        return tuple(replace(row, name="") for row in super().arrange(scenario))

    def refusal(self, status: int, message: str) -> Answer:
        return text_refusal(status, message).answer

    def shown(self, request: Request, *, for_git: bool = False) -> Credential | None:
        """Accept passwords only with Basic, and tokens only with Bearer."""
        username, secret = credentials_of(request)
        credential = self.credential_of(secret)
        if credential is None:
            return None
        expected = credential.username if credential.mode == "basic" else None
        return credential if username == expected else None

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """Allow anonymous reading if the server is public."""
        row = self.named(name)
        is_open = any(each.mode == "anonymous" for each in self.credentials)
        is_fetch = service == "git-upload-pack" and "authorization" not in request.headers
        if not (is_open and is_fetch):
            return super().permit_git(request, name, service)
        if row is None or not self.readable(row):
            raise text_refusal(404, "Repository not found")
        return row
