"""Sandbox of Acme, for ``deploycore demo``, ``deploycore sandbox`` and the conformance kit.

This module has only what is specific to Acme; deploycore's ``Sandbox`` does the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.sandbox import Credential, Repository, Sandbox
from pydantic import SecretStr

from deploycore_acme.configuration import READ_SCOPE
from deploycore_acme.provider import GIT_USERNAME

__all__ = ["AcmeSandbox"]


class AcmeSandbox(Sandbox):
    """The part of Acme's API that the provider uses."""

    # EDIT 10: the form of the host's credentials, and their scopes
    MODES = {"token": "Token"}
    SCOPES = (READ_SCOPE, "repositories:write")
    PREFIX = "acme_"

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        return {"url": self.url, "owner": self.OWNER, "token": credential.secret}

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        return [GIT_USERNAME] if for_git else None

    # EDIT 11: the host's API, as its documentation describes it
    def routes(self) -> Mapping[str, Route]:
        return {
            "GET /api/v1/user": self._user,
            "GET /api/v1/owners/{owner}/repositories": self._repositories,
            "GET /api/v1/repositories/{owner}/{slug}/branches": self._branches,
        }

    def _user(self, request: Request) -> Answer:
        caller = self.caller(request)
        return json_answer({"login": caller.username, "name": caller.username.title()})

    def _repositories(self, request: Request, owner: str) -> Answer:
        self.caller(request, READ_SCOPE)
        search = request.query.get("search", "").lower()
        rows = [row for row in self.owned(owner) if search in row.name.lower()]
        return self.page(request, rows, self._repository_json)

    def _branches(self, request: Request, owner: str, slug: str) -> Answer:
        self.caller(request, READ_SCOPE)
        search = request.query.get("search", "").lower()
        rows = [
            branch
            for branch in self.branches(self.repository(owner, slug))
            if search in branch[0].lower()
        ]
        return self.page(request, rows, lambda row: {"name": row[0], "commit": row[1]})

    def _repository_json(self, row: Repository) -> dict[str, Any]:
        empty = not self.branches(row)
        return {
            "slug": row.slug,
            "name": row.name,
            "owner": {"login": row.owner},
            "private": row.private,
            "default_branch": None if empty else row.default_branch,
            "web_url": f"{self.url}/{row.full_name}",
            "clone_url": f"{self.url}/{row.full_name}.git",
        }
