"""The REST API's webhooks of a repository.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-webhooks/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from pydantic import SecretStr

from deploycore.testing.messages import Answer, Request, json_answer, with_headers
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256
from deploycore_bitbucket.sandbox.authentication import Need
from deploycore_bitbucket.sandbox.messages import decoded, invalid, refuse
from deploycore_bitbucket.sandbox.rows import repository_uuid
from deploycore_bitbucket.sandbox.shapes import CREATED

__all__ = ["RULES", "HooksApi", "needed_for_hooks", "signed"]

RULES = DeliveryRules(
    timeout=10.0, attempts=3, attempt_header="X-Attempt-Number", body_bytes_most=256 * 1024
)
"""Bitbucket may not send bodies larger than 256 KB. The sandbox never sends them.

Source: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/"""

LONGEST_SECRET = 128
KNOWN_EVENTS = frozenset(
    {
        "pipeline:span_created",
        "project:updated",
        *(f"issue:{what}" for what in ("comment_created", "created", "updated")),
        *(
            f"pullrequest:{what}"
            for what in (
                *("approved", "changes_request_created", "changes_request_removed"),
                *("comment_created", "comment_deleted", "comment_reopened", "comment_resolved"),
                *("comment_updated", "created", "fulfilled", "push", "rejected", "unapproved"),
                "updated",
            )
        ),
        *(
            f"repo:{what}"
            for what in (
                *("commit_comment_created", "commit_status_created", "commit_status_updated"),
                *("created", "deleted", "fork", "imported", "push", "transfer", "updated"),
            )
        ),
    }
)

_READ = Need(new=("read:webhook:bitbucket",), old=("webhook",))
_REMOVE = Need(new=("delete:webhook:bitbucket",), old=("webhook",))
_WRITE = ("read:webhook:bitbucket", "write:webhook:bitbucket")
_OF_EVENTS = {
    "repo": ("read:repository:bitbucket", "repository"),
    "pullrequest": ("read:pullrequest:bitbucket", "pullrequest"),
    "issue": ("read:issue:bitbucket", "issue"),
}

Page = Callable[[Sequence[Hook], Request, Callable[[Hook], Any]], Any]


def needed_for_hooks(request: Request) -> Need:
    """Return the scopes that a request needs. A request that writes also needs those of its
    events."""
    if request.method == "GET":
        return _READ
    if request.method == "DELETE":
        return _REMOVE
    events = decoded(request).get("events")
    kinds = {str(event).partition(":")[0] for event in events} if isinstance(events, list) else ()
    pairs = [_OF_EVENTS[kind] for kind in sorted(kinds, reverse=True) if kind in _OF_EVENTS]
    return Need(
        new=(*_WRITE, *(new for new, _ in pairs)), old=("webhook", *(old for _, old in pairs))
    )


@dataclass(frozen=True)
class HooksApi:
    """Handles the requests below ``/repositories/{workspace}/{repo_slug}/hooks``."""

    webhooks: Webhooks

    def answer(self, request: Request, repository: Repository, uid: str, page: Page) -> Any:
        """Return a JSON value or a response, for a caller with the required permission.

        Args:
            uid: The identifier of a webhook; empty for the list.
        """
        match request.method, uid:
            case "GET", "":
                rows = self.webhooks.of(repository.full_name)
                return page(rows, request, lambda hook: _shape(hook, repository, request.origin))
            case "POST", "":
                return self._add(request, repository)
            case "GET", _:
                return _shape(self._found(repository, uid), repository, request.origin)
            case "PUT", _ if uid:
                known = self._found(repository, uid)
                changed = self.webhooks.put(_changed(known, decoded(request)))
                return _shape(changed, repository, request.origin)
            case "DELETE", _ if uid:
                self.webhooks.remove(self._found(repository, uid).id)
                return Answer(204, {})
            case _:
                raise refuse(405, f"Method {request.method} is not allowed.")

    def _add(self, request: Request, repository: Repository) -> Answer:
        empty = Hook(id="{" + str(uuid4()) + "}", repository=repository.full_name, url="")
        hook = self.webhooks.put(_changed(empty, decoded(request)))
        shape = _shape(hook, repository, request.origin)
        return with_headers(json_answer(shape, 201), {"Location": shape["links"]["self"]["href"]})

    def _found(self, repository: Repository, uid: str) -> Hook:
        found = self.webhooks.find(repository.full_name, "{" + uid.strip("{}") + "}")
        if found is None:
            raise refuse(404, f"Webhook {uid} not found")
        return found


def _changed(hook: Hook, body: Mapping[str, Any]) -> Hook:
    """Return the webhook with the fields of the request. Other fields do not change."""
    url, events = body.get("url", hook.url), body.get("events", list(hook.events))
    secret = body.get("secret", hook.secret)
    wrong = {}
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        wrong["url"] = "Enter a valid URL."
    if not isinstance(events, list) or not events or not KNOWN_EVENTS.issuperset(events):
        wrong["events"] = "Select at least one valid event."
    if isinstance(secret, str):
        if len(secret) > LONGEST_SECRET:
            wrong["secret"] = f"Ensure this value has at most {LONGEST_SECRET} characters."
        secret = SecretStr(secret) if secret else None
    if wrong:
        raise invalid(wrong)
    return replace(
        hook,
        url=url,
        events=tuple(dict.fromkeys(events)),
        secret=secret,
        active=bool(body.get("active", hook.active)),
        description=str(body.get("description", hook.description)),
    )


def _shape(hook: Hook, repository: Repository, origin: str) -> Any:
    api = f"{origin}/2.0/repositories/{repository.full_name}"
    return {
        "type": "webhook_subscription",
        "uuid": hook.id,
        "url": hook.url,
        "description": hook.description,
        "subject_type": "repository",
        "subject": {
            "type": "repository",
            "uuid": repository_uuid(repository),
            "full_name": repository.full_name,
            "name": repository.name,
            "links": {"self": {"href": api}},
        },
        "active": hook.active,
        "created_at": CREATED,
        "events": list(hook.events),
        "secret_set": hook.secret is not None,
        "links": {"self": {"href": f"{api}/hooks/{quote(hook.id)}"}},
    }


def signed(hook: Hook, body: bytes) -> Mapping[str, str]:
    """The headers of a delivery: its identifiers, and its signature if the hook has a secret."""
    headers = {"X-Hook-UUID": hook.id.strip("{}"), "X-Request-UUID": str(uuid4())}
    if hook.secret is None:
        return headers
    return {**headers, "X-Hub-Signature": f"sha256={hmac_sha256(hook.secret, body)}"}
