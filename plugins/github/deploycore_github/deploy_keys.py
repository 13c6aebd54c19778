"""GitHub's deploy keys. GitHub accepts a key for one repository only.

Source: https://docs.github.com/en/rest/deploy-keys/deploy-keys
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from deploycore.errors import NotFound
from deploycore.events import DeployKey, RegisteredKey
from deploycore.http import AnswerModel, HttpClient, parse_answer, parse_items
from deploycore.models import NonEmpty, RepositoryId

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
    for known in listed(http, repository):
        if known.is_of(key) and known.read_only:
            return known
    body = {"title": key.label, "key": key.public_key, "read_only": True}
    answer = http.send_json("POST", _path(repository), body=body)
    return parse_answer(KeyAnswer, answer, what="a deploy key").key_of_repository()


def listed(http: HttpClient, repository: RepositoryId) -> Iterator[RegisteredKey]:
    """The keys of a repository."""
    what = "a page of deploy keys"
    for page in http.linked_pages(_path(repository), params={"per_page": 100}):
        yield from parse_items(KeyAnswer, page, what=what, read=KeyAnswer.key_of_repository)


def remove(http: HttpClient, repository: RepositoryId, key_id: str) -> bool:
    """Remove a key by its number; whether there was one."""
    if not (key_id.isascii() and key_id.isdecimal()):
        return False
    try:
        http.send_json("DELETE", _path(repository, key_id))
    except NotFound:
        return False
    return True


def _path(repository: RepositoryId, key_id: str | None = None) -> str:
    owner, slug = quote(repository.owner, safe=""), quote(repository.slug, safe="")
    keys = f"repos/{owner}/{slug}/keys"
    return keys if key_id is None else f"{keys}/{key_id}"
