"""Paths of projects and repositories in the API."""

from __future__ import annotations

from urllib.parse import quote

from deploycore.models import RepositoryId

__all__ = ["API", "hooks_path", "project_path", "repository_path"]

API = "api/latest"


def project_path(key: str) -> str:
    return f"{API}/projects/{quote(key, safe='')}"


def repository_path(repository: RepositoryId) -> str:
    return f"{project_path(repository.owner)}/repos/{quote(repository.slug, safe='')}"


def hooks_path(repository: RepositoryId, webhook: str | None = None) -> str:
    hooks = f"{repository_path(repository)}/webhooks"
    return hooks if webhook is None else f"{hooks}/{quote(webhook, safe='')}"
