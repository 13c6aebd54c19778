"""The API's webhooks of a repository: ``…/webhooks`` and ``…/webhooks/{webhookId}``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256
from pydantic import SecretStr

from deploycore_bitbucket_datacenter.sandbox.shapes import MADE
from deploycore_bitbucket_datacenter.webhooks import EVENTS

__all__ = ["RULES", "HooksApi", "body_of", "signed"]

RULES = DeliveryRules(timeout=20.0, attempts=1)
"""Failed deliveries are not sent again."""

OTHER_EVENTS = ("repo:modified", "repo:forked", "pr:reviewer:updated", "pr:comment:added")

Refused = Callable[[int, str], Refusal]


@dataclass(frozen=True)
class HooksApi:
    """Handles requests about the webhooks of a repository. The caller's permission has been
    checked.

    Args:
        refused: Returns an error response in the API's form.
    """

    webhooks: Webhooks
    refused: Refused
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def add(self, request: Request, row: Repository) -> Answer:
        """``POST``"""
        hook = Hook(id=str(next(self.numbers)), repository=row.full_name, url="")
        return json_answer(self.shape(self.webhooks.put(self._changed(hook, request))))

    def change(self, request: Request, row: Repository, id: str) -> Answer:
        """``PUT``. Without a secret in the request, the secret does not change."""
        changed = self._changed(self.found(row, id), request)
        return json_answer(self.shape(self.webhooks.put(changed)))

    def remove(self, row: Repository, id: str) -> Answer:
        """``DELETE``"""
        self.webhooks.remove(self.found(row, id).id)
        return Answer(204, {})

    def found(self, row: Repository, id: str) -> Hook:
        """A webhook of the repository.

        Raises:
            Refusal: It does not exist (404).
        """
        hook = self.webhooks.find(row.full_name, id)
        if hook is None:
            raise self.refused(404, f"No webhook with ID {id} exists.")
        return hook

    @staticmethod
    def shape(hook: Hook) -> dict[str, Any]:
        """``RestWebhook``, without its secret."""
        return {
            "id": int(hook.id),
            "name": hook.description,
            "createdDate": MADE,
            "updatedDate": MADE,
            "events": list(hook.events),
            "configuration": {"createdBy": "bitbucket"},
            "url": hook.url,
            "active": hook.active,
            "scopeType": "repository",
            "sslVerificationRequired": True,
        }

    def _changed(self, hook: Hook, request: Request) -> Hook:
        body = body_of(request, self.refused)
        url, name, events = body.get("url"), body.get("name"), body.get("events")
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise self.refused(400, "The URL should be a valid HTTP or HTTPS URL.")
        if not isinstance(name, str) or not name:
            raise self.refused(400, "A webhook has to have a name.")
        known = (*EVENTS, *OTHER_EVENTS)
        if not isinstance(events, list) or not events or not set(events) <= set(known):
            raise self.refused(400, "The events are unknown or missing.")
        configuration = body.get("configuration")
        secret = configuration.get("secret") if isinstance(configuration, Mapping) else None
        return replace(
            hook,
            url=url,
            description=name,
            events=tuple(events),
            active=bool(body.get("active", True)),
            secret=SecretStr(secret) if isinstance(secret, str) and secret else hook.secret,
        )


def body_of(request: Request, refused: Refused) -> Mapping[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        Refusal: The body is not a JSON object (400).
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise refused(400, "The request is no valid JSON.")
    return body


def signed(hook: Hook, body: bytes) -> Mapping[str, str]:
    """Return the headers that differ for each delivery. Without a secret, there is no signature."""
    headers = {"X-Request-Id": str(uuid4())}
    if hook.secret is not None:
        headers["X-Hub-Signature"] = f"sha256={hmac_sha256(hook.secret, body)}"
    return headers
