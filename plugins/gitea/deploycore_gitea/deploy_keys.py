"""Gitea's and Forgejo's deploy keys of a repository.

Source: https://docs.gitea.com/api/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from deploycore.events import DeployKey, RegisteredKey
from deploycore.http import AnswerModel, HttpClient, parse_answer, parse_items
from deploycore.models import NonEmpty, RepositoryId
from deploycore.plugin_parts import add_deploy_key_once, remove_by_number
from pydantic import Field

__all__ = ["add", "listed", "remove"]


class KeyAnswer(AnswerModel):
    """A deploy key of a repository."""

    id: Annotated[int, Field(ge=0)]
    key: NonEmpty
    title: str = ""
    read_only: bool = True

    def key_of_repository(self) -> RegisteredKey:
        """Convert the response to deploycore's model."""
        return RegisteredKey(
            id=str(self.id), public_key=self.key, label=self.title, read_only=self.read_only
        )


def add(http: HttpClient, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
    """Register a key that may only read; one that is registered already is returned."""
    body = {"title": key.label, "key": key.public_key, "read_only": True}

    def send() -> RegisteredKey:
        answer = http.send_json("POST", _path(repository), body=body)
        return parse_answer(KeyAnswer, answer, what="a deploy key").key_of_repository()

    return add_deploy_key_once(listed(http, repository), key, send)


def listed(http: HttpClient, repository: RepositoryId) -> Iterator[RegisteredKey]:
    """The keys of a repository."""
    what, number = "a page of deploy keys", 1
    # The page after the last one is empty: there are no links to further pages.
    while page := http.get_json(_path(repository), params={"limit": 50, "page": number}):
        yield from parse_items(KeyAnswer, page, what=what, read=KeyAnswer.key_of_repository)
        number += 1


def remove(http: HttpClient, repository: RepositoryId, key_id: str) -> bool:
    """Remove a key by its number; return whether it existed."""
    path = _path(repository, key_id)
    return remove_by_number(key_id, lambda: http.send_json("DELETE", path))


def _path(repository: RepositoryId, key_id: str | None = None) -> str:
    owner, slug = quote(repository.owner, safe=""), quote(repository.slug, safe="")
    keys = f"repos/{owner}/{slug}/keys"
    return keys if key_id is None else f"{keys}/{key_id}"
