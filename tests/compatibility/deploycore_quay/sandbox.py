"""Sandbox of Quay, for ``deploycore demo``, ``deploycore sandbox`` and the conformance kit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.paging import JsonLink, Pages
from deploycore.testing.sandbox import Credential, Repository, Sandbox
from pydantic import SecretStr

from deploycore_quay.configuration import READ_PERMISSION
from deploycore_quay.provider import GIT_USERNAME

__all__ = ["QuaySandbox"]


class QuaySandbox(Sandbox):
    """The part of Quay's API that the provider uses."""

    MODES = {"key": "Key"}
    SCOPES = (READ_PERMISSION, "code:write")
    TOKEN_HEADER = "X-Quay-Key"
    PAGES = Pages(JsonLink(link="more", values="items"), size="size", size_default=20, size_most=50)

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        return {"url": self.url, "team": self.OWNER, "key": credential.secret}

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        return [GIT_USERNAME] if for_git else None

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer({"problem": message}, status)

    def routes(self) -> Mapping[str, Route]:
        return {
            "GET /api/me": self._me,
            "GET /api/teams/{team}/projects": self._projects,
            "GET /api/projects/{team}/{project}/branches": self._branches,
        }

    def _me(self, request: Request) -> Answer:
        caller = self.caller(request)
        return json_answer({"user": {"handle": caller.username, "full_name": "Ada Lovelace"}})

    def _projects(self, request: Request, team: str) -> Answer:
        self.caller(request, READ_PERMISSION)
        match = request.query.get("match", "").lower()
        rows = [row for row in self.owned(team) if match in row.name.lower()]
        return self.page(request, rows, self._project_json)

    def _branches(self, request: Request, team: str, project: str) -> Answer:
        self.caller(request, READ_PERMISSION)
        match = request.query.get("match", "").lower()
        every = self.branches(self.repository(team, project))
        rows = [row for row in every if match in row[0].lower()]
        return self.page(request, rows, lambda row: {"name": row[0], "tip": row[1]})

    def _project_json(self, row: Repository) -> dict[str, Any]:
        return {
            "team": row.owner,
            "handle": row.slug,
            "title": row.name,
            "visibility": "private" if row.private else "public",
            "main_branch": row.default_branch if self.branches(row) else None,
        }
