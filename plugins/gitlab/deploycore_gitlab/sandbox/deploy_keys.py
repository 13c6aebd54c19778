"""The API's deploy keys of a project. If the project already has a key, the response is that key
and not an error.

Source: https://docs.gitlab.com/api/deploy_keys/ and GitLab's ``lib/api/deploy_keys.rb``
"""

from __future__ import annotations

from typing import Any

from deploycore.testing.deploy_keys import DeployKeys, StoredKey
from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.sandbox import Repository

from deploycore_gitlab.sandbox.hooks import decoded
from deploycore_gitlab.sandbox.pages import numbered_pages

__all__ = ["add", "page", "remove"]


def page(request: Request, keys: DeployKeys, row: Repository) -> Answer:
    """``GET``"""
    return numbered_pages(request, keys.of(row.full_name), _shape, names={"id": row.full_name})


def add(request: Request, keys: DeployKeys, row: Repository) -> Answer:
    """``POST``"""
    body = decoded(request)
    text, label = str(body.get("key", "")), str(body.get("title", ""))
    made = keys.add(row.full_name, text, label, read_only=not body.get("can_push", False))
    if made is None:
        known = [each for each in keys.of(row.full_name) if each.text in text]
        if not known:
            said = {"fingerprint_sha256": ["can't be blank"], "key": ["is invalid"]}
            raise Refusal(json_answer({"message": said}, 400))
        made = known[0]
    return json_answer(_shape(made), 201)


def remove(keys: DeployKeys, row: Repository, number: str) -> Answer:
    """``DELETE``"""
    found = keys.find(row.full_name, number)
    if found is None:
        raise Refusal(json_answer({"message": "404 Deploy Key Not Found"}, 404))
    keys.remove(found)
    return Answer(204, {})


def _shape(key: StoredKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "key": key.text,
        "title": key.label,
        "created_at": "2026-01-01T00:00:00.000Z",
        "expires_at": None,
        "can_push": not key.read_only,
    }
