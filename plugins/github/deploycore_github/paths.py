"""Paths and parameters of requests to the API."""

from __future__ import annotations

from urllib.parse import quote

from deploycore.models import RepositoryId

__all__ = ["hooks_path", "page_of", "quoted", "repository_path"]

_MOST_ITEMS_A_PAGE = 100


def repository_path(repository: RepositoryId) -> str:
    return f"repos/{quoted(repository.owner)}/{quoted(repository.slug)}"


def hooks_path(repository: RepositoryId, webhook: str | None = None) -> str:
    hooks = f"{repository_path(repository)}/hooks"
    return hooks if webhook is None else f"{hooks}/{quoted(webhook)}"


def quoted(name: str) -> str:
    return quote(name, safe="")


def page_of(limit: int | None) -> dict[str, str | int]:
    return {"per_page": min(limit or _MOST_ITEMS_A_PAGE, _MOST_ITEMS_A_PAGE)}
