"""Bitbucket Cloud's deploy keys of a repository, which may only read.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-deployments/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from deploycore.events import DeployKey, RegisteredKey
from deploycore.http import AnswerModel, HttpClient, parse_answer
from deploycore.models import NonEmpty, RepositoryId
from deploycore.plugin_parts import add_deploy_key_once, remove_by_number
from deploycore_bitbucket import pagination

__all__ = ["add", "listed", "remove"]


class KeyAnswer(AnswerModel):
    """A deploy key. Bitbucket's deploy keys can only read."""

    id: Annotated[int, Field(ge=0)]
    key: NonEmpty
    label: str = ""

    def key_of_repository(self) -> RegisteredKey:
        """Convert the response to deploycore's model."""
        return RegisteredKey(id=str(self.id), public_key=self.key, label=self.label)


def add(http: HttpClient, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
    """Register a key that may only read; one that is registered already is returned."""
    body = {"key": key.public_key, "label": key.label}

    def send() -> RegisteredKey:
        answer = http.send_json("POST", _path(repository), body=body)
        return parse_answer(KeyAnswer, answer, what="a deploy key").key_of_repository()

    return add_deploy_key_once(listed(http, repository), key, send)


def listed(http: HttpClient, repository: RepositoryId) -> Iterator[RegisteredKey]:
    """The keys of a repository."""
    params: dict[str, str | int] = {"pagelen": pagination.MOST_ITEMS_A_PAGE}
    pages = pagination.pages(http, _path(repository), params=params, prefetch=0)
    read = KeyAnswer.key_of_repository
    return pagination.items(pages, KeyAnswer, read, what="a page of deploy keys")


def remove(http: HttpClient, repository: RepositoryId, key_id: str) -> bool:
    """Remove a key by its number; return whether it existed."""
    path = _path(repository, key_id)
    return remove_by_number(key_id, lambda: http.send_json("DELETE", path))


def _path(repository: RepositoryId, key_id: str | None = None) -> str:
    workspace, slug = quote(repository.owner, safe=""), quote(repository.slug, safe="")
    keys = f"/repositories/{workspace}/{slug}/deploy-keys"
    return keys if key_id is None else f"{keys}/{key_id}"
