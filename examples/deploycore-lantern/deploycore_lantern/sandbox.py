"""Sandbox of Lantern, for ``deploycore demo``, ``deploycore sandbox`` and the conformance kit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.paging import JsonCursor, Pages
from deploycore.testing.sandbox import Credential, Repository, Sandbox
from pydantic import SecretStr

from deploycore_lantern.configuration import READ_SCOPE

__all__ = ["LanternSandbox"]

LIFETIME = timedelta(minutes=5)


class LanternSandbox(Sandbox):
    """The part of Lantern's API that the provider uses."""

    MODES = {"client": "Client"}
    SCOPES = (READ_SCOPE, "code:write")
    PAGES = Pages(JsonCursor(cursor="cursor", values="items"), number="cursor", size_default=50)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.issued: dict[str, tuple[Credential, datetime]] = {}

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        names = {"url": self.url, "team": self.OWNER, "client_id": credential.username}
        return {**names, "client_secret": credential.secret}

    def credential_of(self, secret: str) -> Credential | None:
        known, ends = self.issued.get(secret, (None, datetime.max.replace(tzinfo=UTC)))
        return known if known and datetime.now(UTC) < ends else super().credential_of(secret)

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        return ["git"] if for_git else None

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer({"problem": message}, status)

    def routes(self) -> Mapping[str, Route]:
        return {
            "POST /api/token": self._token,
            "GET /api/me": self._me,
            "GET /api/teams/{team}/projects": self._projects,
            "GET /api/projects/{team}/{project}/branches": self._branches,
            "POST /api/projects/{team}/{project}/git-credentials": self._git_credential,
        }

    def _issue(self, credential: Credential) -> str:
        secret = self.new_secret(credential.mode).get_secret_value()
        self.issued[secret] = (credential, datetime.now(UTC) + LIFETIME)
        return secret

    def _token(self, request: Request) -> Answer:
        token = self._issue(self.caller(request))
        return json_answer({"access_token": token, "expires_in": LIFETIME.total_seconds()})

    def _me(self, request: Request) -> Answer:
        return json_answer({"client": self.caller(request).username})

    def _projects(self, request: Request, team: str) -> Answer:
        self.caller(request, READ_SCOPE)
        match = request.query.get("match", "").lower()
        rows = [row for row in self.owned(team) if match in row.name.lower()]
        return self.page(request, rows, self._project_json)

    def _branches(self, request: Request, team: str, project: str) -> Answer:
        self.caller(request, READ_SCOPE)
        match = request.query.get("match", "").lower()
        every = self.branches(self.repository(team, project))
        rows = [row for row in every if match in row[0].lower()]
        return self.page(request, rows, lambda row: {"name": row[0], "tip": row[1]})

    def _git_credential(self, request: Request, team: str, project: str) -> Answer:
        caller = self.caller(request, READ_SCOPE)
        self.repository(team, project)
        ends = (datetime.now(UTC) + LIFETIME).isoformat()
        body = {"username": "git", "password": self._issue(caller), "expires_at": ends}
        return json_answer(body, 201)

    def _project_json(self, row: Repository) -> dict[str, Any]:
        return {
            "team": row.owner,
            "handle": row.slug,
            "title": row.name,
            "private": row.private,
            "main_branch": row.default_branch if self.branches(row) else None,
        }
