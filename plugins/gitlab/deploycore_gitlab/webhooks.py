"""GitLab's webhooks: parse and verify deliveries, and subscribe to events.

The functions have no side effects: they convert a delivery to events. The models have only the
fields that are read, with strict types.

GitLab has two ways to authenticate a delivery. Since 19.0, it signs a delivery with a signing
token, by the Standard Webhooks specification. Earlier versions send a secret token, which
authenticates the sender but not the content. The signing token is derived from deploycore's secret
with a one-way function, so a secret that an older GitLab sends is not the signing token itself.

Sources: https://docs.gitlab.com/user/project/integrations/webhooks/,
https://docs.gitlab.com/user/project/integrations/webhook_events/ and
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from deploycore.errors import ConfigurationError
from deploycore.events import (
    Delivered,
    PullRequestEvent,
    PushEvent,
    RefChange,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    as_documented,
    delivered_json,
    unexpected_delivery,
)
from deploycore.http import AnswerModel, HttpClient, parse_answer, parse_items
from deploycore.models import CommitHash, NonEmpty, RepositoryId
from pydantic import Field, SecretStr

__all__ = [
    "FIRST_SETTINGS",
    "HookAnswer",
    "delivered",
    "is_proved",
    "listed",
    "signature",
    "signing_token",
    "subscription",
]

_PUSHES = {"Push Hook": "push", "Tag Push Hook": "tag_push"}
_MERGE_REQUEST = "Merge Request Hook"
_ACTIONS: Mapping[str, Literal["opened", "updated", "merged", "declined"]] = {
    "open": "opened",
    "reopen": "opened",
    "update": "updated",
    "merge": "merged",
    "close": "declined",
}

FIRST_SETTINGS: Mapping[str, Any] = {"name": "deploycore", "enable_ssl_verification": True}
"""The settings of a new webhook. Later changes on GitLab's pages are kept."""

_PURPOSE = b"deploycore-gitlab: signing token"
_LATEST_SECOND = 253_402_300_799  # the last one of the year 9999
_LONGEST_TIME = len(str(_LATEST_SECOND))


class _Project(AnswerModel):
    number: Annotated[int | None, Field(alias="id")] = None
    path_with_namespace: Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)+$")]

    @property
    def id(self) -> RepositoryId:
        return RepositoryId.parse(self.path_with_namespace)

    @property
    def host_id(self) -> str | None:
        return None if self.number is None else str(self.number)


class _Push(AnswerModel):
    """A branch or tag that was changed. For a tag, ``before`` and ``after`` may be hashes of tag
    objects, and ``checkout_sha`` is its commit."""

    object_kind: Literal["push", "tag_push"]
    before: CommitHash
    after: CommitHash
    checkout_sha: CommitHash | None = None
    ref: NonEmpty
    project: _Project
    user_name: str | None = None
    user_username: str | None = None


class _User(AnswerModel):
    name: str | None = None
    username: str | None = None


class _Commit(AnswerModel):
    id: CommitHash


class _MergeRequest(AnswerModel):
    """A merge request. It has no ``source`` if its fork was deleted, and ``oldrev`` if its commits
    changed."""

    iid: Annotated[int, Field(ge=1)]
    action: str | None = None
    title: str = ""
    source: _Project | None = None
    source_branch: NonEmpty
    target_branch: NonEmpty
    last_commit: _Commit | None = None
    oldrev: str | None = None


class _AboutMergeRequest(AnswerModel):
    object_kind: Literal["merge_request"]
    user: _User | None = None
    project: _Project
    object_attributes: _MergeRequest
    changes: dict[str, object] | None = None


class HookAnswer(AnswerModel):
    """A webhook of ``GET /projects/:id/hooks``.

    Attributes:
        alert_status: Whether GitLab has disabled it after too many failures.
        token_present, signing_token_present: Whether it has a secret token or a signing token.
            GitLab 19.0 and later send these.
    """

    id: Annotated[int, Field(ge=1)]
    url: NonEmpty
    alert_status: str = "executable"
    token_present: bool | None = None
    signing_token_present: bool | None = None

    def webhook(self) -> Webhook:
        """Convert the response to deploycore's model; one that GitLab re-enables is active."""
        return Webhook(id=str(self.id), url=self.url, active=self.alert_status != "disabled")


def is_proved(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Whether a delivery is signed with one of the secrets, or has one as its token.

    If a delivery has a signature, the signature must be valid, whatever its token is.
    """
    if "webhook-signature" in delivery.headers:
        return _is_signed(delivery, secrets)
    given = _digest(delivery.headers.get("x-gitlab-token", ""))
    matches = False
    for secret in secrets:
        value = secret.get_secret_value()
        # Digests have one length, so the time of a comparison does not reveal the secret's length.
        matches |= hmac.compare_digest(_digest(value), given) & bool(value)
    return matches


def signature(delivery: WebhookDelivery, secret: SecretStr) -> str:
    """The ``webhook-signature`` of a delivery that is signed with a secret's signing token."""
    headers = delivery.headers
    told = (headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""))
    signed = b".".join((*(part.encode("utf-8", "replace") for part in told), delivery.body))
    digest = hmac.digest(_signing_key(secret), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def signing_token(secret: SecretStr) -> SecretStr:
    """The signing token for GitLab: ``whsec_`` and 32 bytes in Base64."""
    return SecretStr(f"whsec_{base64.b64encode(_signing_key(secret)).decode()}")


def subscription(url: str, secret: SecretStr) -> dict[str, Any]:
    """The body that creates or updates a webhook, without the secret token.

    Raises:
        ConfigurationError: The secret is empty, or cannot be sent in a header.
    """
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable():
        raise ConfigurationError(
            "GitLab accepts webhook secrets of printable ASCII characters only, and at least one.",
            hint="Choose another secret, for example 32 random bytes in hexadecimal.",
        )
    return {
        "url": url,
        "push_events": True,
        "tag_push_events": True,
        "merge_requests_events": True,
        "signing_token": signing_token(secret),
    }


@as_documented("GitLab")
def delivered(delivery: WebhookDelivery) -> Delivered:
    """Parse a delivery; other kinds than the subscribed ones have no events.

    ``webhook-id`` and ``Idempotency-Key`` stay the same if a delivery is sent again. Before GitLab
    17.4, neither exists: ``X-Gitlab-Webhook-UUID`` changes each time, and ``X-Gitlab-Event-UUID``
    is the same for all events of a push.

    Raises:
        UnexpectedAnswer: The delivery does not match GitLab's documentation.
    """
    headers = delivery.headers
    kind = headers.get("x-gitlab-event", "")
    if not kind:
        raise unexpected_delivery("GitLab", "it has no X-Gitlab-Event header")
    events: tuple[WebhookEvent, ...] = ()
    if kind in _PUSHES:
        events = (_push(json.loads(delivered_json(delivery, "GitLab")), kind),)
    elif kind == _MERGE_REQUEST:
        events = _merge_request(json.loads(delivered_json(delivery, "GitLab")))
    identifier = headers.get("webhook-id") or headers.get("idempotency-key", "")
    sent_at = _sent_at(headers)
    return Delivered(delivery=identifier, sent_at=sent_at, events=events)


def listed(http: HttpClient, path: str) -> Iterator[Webhook]:
    """List the webhooks of a project; ``path`` is the one of its webhooks."""
    for page in http.linked_pages(path, params={"per_page": 100}):
        yield from parse_items(HookAnswer, page, what="a page of webhooks", read=HookAnswer.webhook)


def _is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """The header may have several signatures, separated by spaces: one for each key."""
    headers = delivery.headers
    # Otherwise the same text, split differently into identifier, time and body, would be valid too.
    is_whole = "." not in headers.get("webhook-id", ".") and _is_time(headers)
    given = [each.encode("utf-8", "replace") for each in headers["webhook-signature"].split(" ")]
    matches = False
    for secret in secrets:
        wanted = signature(delivery, secret).encode()
        for each in given:
            matches |= hmac.compare_digest(wanted, each) & bool(secret.get_secret_value())
    return matches & is_whole


def _signing_key(secret: SecretStr) -> bytes:
    return hmac.digest(secret.get_secret_value().encode(), _PURPOSE, hashlib.sha256)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _is_time(headers: Mapping[str, str]) -> bool:
    text = headers.get("webhook-timestamp", "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_TIME
    return is_number and int(text) <= _LATEST_SECOND


def _sent_at(headers: Mapping[str, str]) -> datetime | None:
    if "webhook-timestamp" not in headers:
        return None
    if not _is_time(headers):
        raise unexpected_delivery("GitLab", "its webhook-timestamp is not a time")
    return datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)


def _push(body: object, kind: str) -> PushEvent:
    told = parse_answer(_Push, body, what=f"a delivery of {kind}")
    change = _ref_change(told)
    if told.object_kind != _PUSHES[kind]:
        raise unexpected_delivery(
            "GitLab", "its X-Gitlab-Event and its object_kind are not of one kind"
        )
    return PushEvent(
        repository=told.project.id,
        changes=(change,),
        actor=told.user_name or told.user_username or "",
        repository_host_id=told.project.host_id,
    )


def _ref_change(told: _Push) -> RefChange:
    change = RefChange.of_ref(told.ref, told.before, told.after, tagged=told.checkout_sha)
    if change is None or (change.kind == "tag") != (told.object_kind == "tag_push"):
        raise unexpected_delivery("GitLab", "it does not say which ref was changed")
    return change


def _merge_request(body: object) -> tuple[PullRequestEvent, ...]:
    """Ignore approvals, and updates that change neither commits nor the target."""
    told = parse_answer(_AboutMergeRequest, body, what=f"a delivery of {_MERGE_REQUEST}")
    request = told.object_attributes
    action = _ACTIONS.get(request.action or "")
    is_news = request.oldrev is not None or "target_branch" in (told.changes or {})
    if action is None or (action == "updated" and not is_news):
        return ()
    user = told.user or _User()
    event = PullRequestEvent(
        repository=told.project.id,
        number=request.iid,
        action=action,
        title=request.title,
        source=request.source.id if request.source else None,
        source_branch=request.source_branch,
        target_branch=request.target_branch,
        commit=request.last_commit.id if request.last_commit else None,
        actor=user.name or user.username or "",
        repository_host_id=told.project.host_id,
    )
    return (event,)
