"""The REST API's deploy keys of a repository.

Source: https://docs.github.com/en/rest/deploy-keys/deploy-keys
"""

from __future__ import annotations

from typing import Any

from deploycore.testing.deploy_keys import DeployKeys, StoredKey
from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore_github.sandbox.validation import body_of, invalid

__all__ = ["add", "shape"]


def add(request: Request, keys: DeployKeys, repository: Repository) -> Answer:
    """``POST``."""
    body = body_of(request)
    made = keys.add(
        repository.full_name,
        str(body.get("key", "")),
        str(body.get("title", "")),
        read_only=bool(body.get("read_only", False)),
    )
    if made is None:
        raise invalid("PublicKey", "key is already in use")
    return json_answer(shape(made), 201)


def shape(key: StoredKey) -> dict[str, Any]:
    """A deploy key."""
    return {
        "id": key.id,
        "key": key.text,
        "title": key.label,
        "verified": True,
        "created_at": "2026-01-01T00:00:00Z",
        "read_only": key.read_only,
    }
