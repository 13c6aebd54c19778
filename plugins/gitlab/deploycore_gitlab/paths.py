"""Paths of a project in the API."""

from __future__ import annotations

from urllib.parse import quote

from deploycore.models import RepositoryId

__all__ = ["branches_path", "hooks_path", "project_path", "quoted"]


def project_path(repository: RepositoryId) -> str:
    return f"projects/{quoted(str(repository))}"


def branches_path(repository: RepositoryId) -> str:
    return f"{project_path(repository)}/repository/branches"


def hooks_path(repository: RepositoryId, webhook: str | None = None) -> str:
    hooks = f"{project_path(repository)}/hooks"
    return hooks if webhook is None else f"{hooks}/{quoted(webhook)}"


def quoted(name: str) -> str:
    return quote(name, safe="")
