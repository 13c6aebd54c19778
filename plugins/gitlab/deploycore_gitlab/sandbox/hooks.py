"""The API of a project's webhooks, and the headers that differ for each delivery.

Source: https://docs.gitlab.com/api/project_webhooks/; where that is silent, GitLab's own
``lib/api/project_hooks.rb`` and ``app/services/web_hook_service.rb``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks
from pydantic import SecretStr

from deploycore_gitlab.sandbox.pages import numbered_pages
from deploycore_gitlab.sandbox.shapes import CREATED_AT

__all__ = ["RULES", "HooksApi", "ProjectHook", "decoded", "delivery_headers"]

RULES = DeliveryRules(timeout=10.0, attempts=1)
"""GitLab sends a delivery once. It sends it again only on request, on its pages."""

EVENTS = {
    "push_events": "Push Hook",
    "tag_push_events": "Tag Push Hook",
    "merge_requests_events": "Merge Request Hook",
}
MOST_HOOKS = 100
KEY_BYTES = 32


@dataclass(frozen=True)
class ProjectHook(Hook):
    """A webhook with GitLab's own fields. ``secret`` is sent with each delivery, unencrypted.

    Attributes:
        number: GitLab's identifier.
        signing_token: The token with which deliveries are signed.
        verifies: Whether it verifies certificates.
    """

    number: int = 0
    name: str = ""
    signing_token: SecretStr | None = None
    verifies: bool = True


class HooksApi:
    """Handles the requests below ``/projects/:id/hooks``. The caller's permission has been checked.

    Args:
        signs: Whether there are signing tokens, as in GitLab 19.0 and later.
    """

    def __init__(self, webhooks: Webhooks, *, signs: bool) -> None:
        self._webhooks = webhooks
        self._signs = signs
        self._numbers = count(1)

    def of(self, row: Repository) -> Sequence[ProjectHook]:
        """List a project's webhooks, in the order in which they were added."""
        found = self._webhooks.of(row.full_name)
        return [hook for hook in found if isinstance(hook, ProjectHook)]

    def page(self, request: Request, row: Repository) -> Answer:
        return numbered_pages(
            request, self.of(row), lambda hook: self._shape(hook, row), names={"id": row.full_name}
        )

    def add(self, request: Request, row: Repository) -> Answer:
        if len(self.of(row)) >= MOST_HOOKS:
            limit = f"Maximum number of project hooks ({MOST_HOOKS}) exceeded"
            raise Refusal(json_answer({"message": {"base": [limit]}}, 422))
        number = next(self._numbers)
        empty = ProjectHook(str(number), row.full_name, "", ("Push Hook",), number=number)
        hook = self._changed(empty, decoded(request))
        self._webhooks.put(hook)
        return json_answer(self._shape(hook, row), 201)

    def change(self, request: Request, row: Repository, number: str) -> Answer:
        hook = self._changed(self._found(row, number), decoded(request))
        self._webhooks.put(hook)
        return json_answer(self._shape(hook, row))

    def remove(self, row: Repository, number: str) -> Answer:
        self._webhooks.remove(self._found(row, number).id)
        return Answer(204, {})

    def _found(self, row: Repository, number: str) -> ProjectHook:
        if not (number.isascii() and number.isdecimal()):
            raise Refusal(json_answer({"error": "hook_id is invalid"}, 400))
        for hook in self.of(row):
            if hook.number == int(number):
                return hook
        raise Refusal(json_answer({"message": "404 Not found"}, 404))

    def _changed(self, hook: ProjectHook, body: Mapping[str, Any]) -> ProjectHook:
        """Return the webhook with the fields of the request. Other fields do not change, and
        unknown ones are ignored."""
        url = body.get("url", hook.url)
        if not url:
            raise Refusal(json_answer({"error": "url is missing"}, 400))
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise Refusal(json_answer({"error": "Invalid url given"}, 422))
        events = tuple(
            event for flag, event in EVENTS.items() if body.get(flag, event in hook.events)
        )
        return replace(
            hook,
            url=url,
            events=events,
            secret=_secret(body, "token", hook.secret),
            signing_token=self._signing_token(body, hook.signing_token),
            name=str(body.get("name", hook.name)),
            verifies=bool(body.get("enable_ssl_verification", hook.verifies)),
        )

    def _signing_token(self, body: Mapping[str, Any], known: SecretStr | None) -> SecretStr | None:
        if not self._signs:
            return None
        token = _secret(body, "signing_token", known)
        if token is not None and _key(token) is None:
            said = "must be in whsec_<base64> format encoding a 32-byte key"
            raise Refusal(json_answer({"message": {"signing_token": [said]}}, 422))
        return token

    def _shape(self, hook: ProjectHook, row: Repository) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "id": hook.number,
            "url": hook.url,
            "name": hook.name,
            "description": "",
            "created_at": CREATED_AT,
            **{flag: event in hook.events for flag, event in EVENTS.items()},
            "repository_update_events": False,
            "enable_ssl_verification": hook.verifies,
            "alert_status": "executable" if hook.active else "disabled",
            "disabled_until": None,
            "url_variables": [],
            "push_events_branch_filter": None,
            "branch_filter_strategy": "wildcard",
            "custom_webhook_template": None,
            "custom_headers": [],
            "project_id": row.number,
            "issues_events": False,
        }
        if self._signs:
            shape["token_present"] = hook.secret is not None
            shape["signing_token_present"] = hook.signing_token is not None
        return shape


def delivery_headers(hook: Hook, body: bytes, root: str) -> Mapping[str, str]:
    """Return the headers that differ for each delivery, with its signature or secret."""
    identifier = str(uuid4())
    headers = {
        "User-Agent": "GitLab/19.6.0",
        "Content-Type": "application/json",
        "Idempotency-Key": identifier,
        "X-Gitlab-Webhook-UUID": str(uuid4()),
        "X-Gitlab-Instance": root,
    }
    if hook.secret is not None:
        headers["X-Gitlab-Token"] = hook.secret.get_secret_value()
    key = _key(hook.signing_token) if isinstance(hook, ProjectHook) and hook.signing_token else None
    if key is not None:
        sent_at = str(int(time.time()))
        signed = b".".join((identifier.encode(), sent_at.encode(), body))
        signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        headers["webhook-id"] = identifier
        headers["webhook-timestamp"] = sent_at
        headers["webhook-signature"] = f"v1,{signature}"
    return headers


def decoded(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        Refusal: The body is not a JSON object (400).
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal(json_answer({"message": "400 Bad request"}, 400))
    return body


def _secret(body: Mapping[str, Any], field: str, known: SecretStr | None) -> SecretStr | None:
    if field not in body:
        return known
    return SecretStr(str(body[field])) if body[field] else None


def _key(token: SecretStr) -> bytes | None:
    """Return the key in a signing token; ``None`` if the token is malformed."""
    prefix, separator, encoded = token.get_secret_value().partition("whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    return key if separator and not prefix and len(key) == KEY_BYTES else None
