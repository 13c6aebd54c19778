"""Bitbucket Data Center's access keys of a repository.

Source: https://developer.atlassian.com/server/bitbucket/rest/v1004/api-group-authentication/
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

from deploycore_bitbucket_datacenter.pagination import pages

__all__ = ["add", "listed", "page_of", "remove"]

KEYS = "keys/latest"
MAY_READ = "REPO_READ"


class _Key(AnswerModel):
    id: Annotated[int, Field(ge=0)]
    text: NonEmpty
    label: str = ""


class KeyAnswer(AnswerModel):
    """``RestSshAccessKey``: an SSH key, and its permission for a repository."""

    key: _Key
    permission: str = MAY_READ

    def key_of_repository(self) -> RegisteredKey:
        """Convert the response to deploycore's model."""
        key = self.key
        return RegisteredKey(
            id=str(key.id),
            public_key=key.text,
            label=key.label,
            read_only=self.permission == MAY_READ,
        )


def add(http: HttpClient, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
    """Register a key that may only read; one that is registered already is returned."""
    body = {"key": {"text": key.public_key, "label": key.label}, "permission": MAY_READ}

    def send() -> RegisteredKey:
        answer = http.send_json("POST", _path(repository), body=body)
        return parse_answer(KeyAnswer, answer, what="a deploy key").key_of_repository()

    return add_deploy_key_once(listed(http, repository), key, send)


def listed(http: HttpClient, repository: RepositoryId) -> Iterator[RegisteredKey]:
    """The keys of a repository."""
    what = "a page of deploy keys"
    for page in pages(http, _path(repository), what):
        yield from parse_items(KeyAnswer, page, what=what, read=KeyAnswer.key_of_repository)


def remove(http: HttpClient, repository: RepositoryId, key_id: str) -> bool:
    """Remove a key by its number; return whether it existed."""

    def send() -> None:
        # The response to a removal is the same if the key does not exist.
        http.get_json(_path(repository, key_id))
        http.send_json("DELETE", _path(repository, key_id))

    return remove_by_number(key_id, send)


def page_of(url: str, repository: RepositoryId) -> str:
    """The address of the page with the access keys of a repository."""
    project, slug = quote(repository.owner), quote(repository.slug)
    return f"{url}/plugins/servlet/ssh/projects/{project}/repos/{slug}/keys"


def _path(repository: RepositoryId, key_id: str | None = None) -> str:
    project, slug = quote(repository.owner, safe=""), quote(repository.slug, safe="")
    keys = f"{KEYS}/projects/{project}/repos/{slug}/ssh"
    return keys if key_id is None else f"{keys}/{key_id}"
