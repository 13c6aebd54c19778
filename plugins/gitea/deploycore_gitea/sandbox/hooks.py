"""The API's webhooks of a repository, as in Gitea's ``routers/api/v1/utils/hook.go``.

Changing a webhook does not change its secret: Gitea ignores that field.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256
from pydantic import SecretStr

from deploycore_gitea.sandbox.shapes import MADE

__all__ = ["RULES", "HooksApi", "body_of", "signed"]

RULES = DeliveryRules(timeout=5.0, attempts=1)
"""``DELIVER_TIMEOUT``. Failed deliveries are sent again only at a person's request."""

PULL_REQUESTS = {
    "pull_request_only": "pull_request",
    **{
        name: name
        for name in (
            *("pull_request_assign", "pull_request_label", "pull_request_milestone"),
            *("pull_request_comment", "pull_request_review", "pull_request_review_request"),
            "pull_request_sync",
        )
    },
}
OTHERS = ("create", "delete", "fork", "push", "repository", "release", "wiki", "package")
TYPES = ("gitea", "gogs", "slack", "discord", "msteams")

Refused = Callable[[int, str], Refusal]


@dataclass(frozen=True)
class HooksApi:
    """Handles the requests below ``/repos/{owner}/{repo}/hooks``. The caller's permission has been
    checked.

    Args:
        refused: Returns an error response in the API's form.
    """

    webhooks: Webhooks
    refused: Refused
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add(self, request: Request, row: Repository) -> Answer:
        """``POST``"""
        body = body_of(request, self.refused)
        config = body.get("config")
        if body.get("type") not in TYPES:
            raise self.refused(422, f"Invalid hook type: {body.get('type')}")
        for name in ("url", "content_type"):
            if not isinstance(config, Mapping) or not isinstance(config.get(name), str):
                raise self.refused(422, f"Missing config option: {name}")
        secret = config.get("secret") if isinstance(config, Mapping) else None
        hook = Hook(
            id=str(next(self.numbers)),
            repository=row.full_name,
            url="",
            secret=SecretStr(secret) if isinstance(secret, str) and secret else None,
            active=False,
            description=str(body["type"]),
        )
        return json_answer(self.shape(self.webhooks.put(self._changed(hook, body))), 201)

    def change(self, request: Request, row: Repository, id: str) -> Answer:
        """``PATCH``"""
        body = body_of(request, self.refused)
        return json_answer(self.shape(self.webhooks.put(self._changed(self.found(row, id), body))))

    def remove(self, row: Repository, id: str) -> Answer:
        """``DELETE``"""
        self.webhooks.remove(self.found(row, id).id)
        return Answer(204, {})

    def found(self, row: Repository, id: str) -> Hook:
        """A webhook of the repository.

        Raises:
            Refusal: It does not exist (404).
        """
        for hook in self.webhooks.of(row.full_name):
            if hook.id == id:
                return hook
        raise self.refused(404, id)

    @staticmethod
    def shape(hook: Hook) -> dict[str, Any]:
        """Return ``Hook``, without its secret."""
        return {
            "id": int(hook.id),
            "type": hook.description,
            "branch_filter": "",
            "config": {"content_type": "json", "url": hook.url},
            "events": list(hook.events),
            "authorization_header": "",
            "active": hook.active,
            "updated_at": MADE,
            "created_at": MADE,
        }

    def _changed(self, hook: Hook, body: Mapping[str, Any]) -> Hook:
        """Return the webhook with the fields of the request. Without events, it is reset to
        ``push``."""
        config = body.get("config")
        given = config if isinstance(config, Mapping) else {}
        url = given.get("url", hook.url)
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise self.refused(422, "Invalid url")
        if given.get("content_type", "json") not in ("json", "form"):
            raise self.refused(422, "Invalid content type")
        return replace(
            hook,
            url=url,
            events=_expanded(body.get("events") or ["push"]),
            active=bool(body.get("active", hook.active)),
        )


def body_of(request: Request, refused: Refused) -> Mapping[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        Refusal: The body is not a JSON object (422).
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise refused(422, "invalid JSON")
    return body


def _expanded(asked: Sequence[object]) -> tuple[str, ...]:
    """Return the types of events for a list of names; unknown names are ignored."""
    pulls = [
        type for name, type in PULL_REQUESTS.items() if name in asked or "pull_request" in asked
    ]
    return (*(name for name in OTHERS if name in asked), *pulls)


def signed(hook: Hook, body: bytes) -> Mapping[str, str]:
    """Return the headers that differ for each delivery. Without a secret, the signatures are
    empty."""
    sha256 = sha1 = ""
    if hook.secret is not None:
        sha256 = hmac_sha256(hook.secret, body)
        sha1 = hmac.new(hook.secret.get_secret_value().encode(), body, hashlib.sha1).hexdigest()
    delivery = str(uuid4())
    return {
        "X-Gitea-Delivery": delivery,
        "X-Gogs-Delivery": delivery,
        "X-GitHub-Delivery": delivery,
        "X-Gitea-Signature": sha256,
        "X-Gogs-Signature": sha256,
        "X-Hub-Signature": f"sha1={sha1}",
        "X-Hub-Signature-256": f"sha256={sha256}",
    }
