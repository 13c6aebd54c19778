"""Bitbucket's webhooks: parse and verify deliveries, and subscribe to events.

The functions have no side effects: they convert a delivery to events. The models have only the
fields that are read, with strict types.

Source: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/ and
https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

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
    signature_header_matches,
    unexpected_delivery,
)
from deploycore.http import AnswerModel, IncompleteItem, parse_answer
from deploycore.models import CommitHash, HostId, RepositoryId

__all__ = ["EVENTS", "WEBHOOK_FIELDS", "delivered", "is_signed", "subscription", "webhook_from"]

PUSH = "repo:push"
_ACTIONS: dict[str, Literal["opened", "updated", "merged", "declined"]] = {
    "pullrequest:created": "opened",
    "pullrequest:updated": "updated",
    "pullrequest:push": "updated",
    "pullrequest:fulfilled": "merged",
    "pullrequest:rejected": "declined",
}

EVENTS = (PUSH, *_ACTIONS)
"""The events that deploycore subscribes to."""

WEBHOOK_FIELDS = ("uuid", "url", "active")
LONGEST_SECRET = 128
DESCRIPTION = "deploycore"


class _Actor(AnswerModel):
    display_name: str | None = None
    nickname: str | None = None


class _Repository(AnswerModel):
    uuid: HostId | None = None
    full_name: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]

    @property
    def id(self) -> RepositoryId:
        owner, _, slug = self.full_name.partition("/")
        return RepositoryId(owner=owner, slug=slug)


class _Target(AnswerModel):
    hash: CommitHash


class _Ref(AnswerModel):
    type: Literal["branch", "tag", "annotated_tag"]
    name: Annotated[str, Field(min_length=1)]
    target: _Target

    @property
    def kind(self) -> Literal["branch", "tag"]:
        return "branch" if self.type == "branch" else "tag"


class _Change(AnswerModel):
    """A push. Its field ``truncated`` refers to the list of commits, which is not used."""

    old: _Ref | None = None
    new: _Ref | None = None


class _Changes(AnswerModel):
    changes: list[_Change]


class _Push(AnswerModel):
    actor: _Actor | None = None
    repository: _Repository
    push: _Changes


class _Branch(AnswerModel):
    name: Annotated[str, Field(min_length=1)]


class _ShortCommit(AnswerModel):
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")]


class _Destination(AnswerModel):
    branch: _Branch


class _Source(AnswerModel):
    """The source or destination of a pull request. ``repository`` is null if the fork was deleted;
    ``commit`` is null if the branch was deleted."""

    branch: _Branch
    commit: _ShortCommit | None = None
    repository: _Repository | None = None


class _PullRequest(AnswerModel):
    id: Annotated[int, Field(ge=1)]
    state: Literal["OPEN", "MERGED", "DECLINED", "SUPERSEDED"]
    title: str = ""
    source: _Source
    destination: _Destination


class _AboutPullRequest(AnswerModel):
    actor: _Actor | None = None
    repository: _Repository
    pullrequest: _PullRequest


class _Hook(AnswerModel):
    """The API description requires none of the fields."""

    uuid: str = ""
    url: str = ""
    active: bool = True


def is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Whether ``X-Hub-Signature`` is ``sha256=`` and the HMAC of the raw body.

    Other algorithms are rejected, because Bitbucket uses only this one.
    """
    return signature_header_matches(delivery, "x-hub-signature", secrets)


@as_documented("Bitbucket")
def delivered(delivery: WebhookDelivery) -> Delivered:
    """Parse a delivery; other kinds than the subscribed ones have no events.

    Raises:
        UnexpectedAnswer: The delivery does not match Bitbucket's documentation.
    """
    kind = delivery.headers.get("x-event-key", "")
    if not kind:
        raise unexpected_delivery("Bitbucket", "it has no X-Event-Key header")
    events: tuple[WebhookEvent, ...] = ()
    if kind == PUSH:
        events = (_push(json.loads(delivered_json(delivery, "Bitbucket"))),)
    elif kind in _ACTIONS:
        events = (_pull_request(json.loads(delivered_json(delivery, "Bitbucket")), kind),)
    return Delivered(delivery=delivery.headers.get("x-request-uuid", ""), events=events)


def subscription(url: str, secret: SecretStr) -> dict[str, Any]:
    """The body of a request that creates or updates a webhook.

    Raises:
        ConfigurationError: Bitbucket does not accept the secret, or the secret is empty, so
            deliveries would not be signed.
    """
    length = len(secret.get_secret_value())
    if not 1 <= length <= LONGEST_SECRET:
        raise ConfigurationError(
            f"Bitbucket accepts webhook secrets of 1 to {LONGEST_SECRET} characters, and this"
            f" one has {length}.",
            hint="Choose another secret, for example 32 random bytes in hexadecimal.",
        )
    return {
        "description": DESCRIPTION,
        "url": url,
        "active": True,
        "secret": secret,
        "events": list(EVENTS),
    }


def webhook_from(item: object, *, url: str = "") -> Webhook:
    """Read a value of ``GET /repositories/{workspace}/{repo_slug}/hooks``.

    Args:
        url: The address of the webhook, if the response does not have it.

    Raises:
        IncompleteItem: It has no identifier or no address.
        UnexpectedAnswer: A field is of the wrong type.
    """
    hook = parse_answer(_Hook, item, what="a webhook")
    for field, value in (("uuid", hook.uuid), ("url", hook.url or url)):
        if not value:
            raise IncompleteItem(
                f"Bitbucket described a webhook without a field that deploycore needs: {field}.",
                hint="Remove it in the repository's webhook settings in Bitbucket.",
                field=field,
            )
    return Webhook(id=hook.uuid, url=hook.url or url, active=hook.active)


def _push(body: object) -> PushEvent:
    told = parse_answer(_Push, body, what=f"a delivery of {PUSH}")
    return PushEvent(
        repository=told.repository.id,
        changes=tuple(map(_ref_change, told.push.changes)),
        # A push always has changes: if the list is empty, Bitbucket left some out.
        truncated=not told.push.changes,
        actor=_name(told.actor),
        repository_host_id=told.repository.uuid,
    )


def _ref_change(change: _Change) -> RefChange:
    ref = change.new or change.old
    if ref is None:
        raise unexpected_delivery("Bitbucket", "a change has neither old nor new")
    return RefChange(
        kind=ref.kind,
        name=ref.name,
        before=change.old.target.hash if change.old else None,
        after=change.new.target.hash if change.new else None,
    )


def _pull_request(body: object, kind: str) -> PullRequestEvent:
    told = parse_answer(_AboutPullRequest, body, what=f"a delivery of {kind}")
    request, source = told.pullrequest, told.pullrequest.source
    return PullRequestEvent(
        repository=told.repository.id,
        number=request.id,
        action=_action(kind, request.state),
        title=request.title,
        source=source.repository.id if source.repository else None,
        source_branch=source.branch.name,
        target_branch=request.destination.branch.name,
        commit=source.commit.hash if source.commit else None,
        actor=_name(told.actor),
        repository_host_id=told.repository.uuid,
    )


def _action(kind: str, state: str) -> Literal["opened", "updated", "merged", "declined"]:
    """The action, read from the body, because only the body is signed."""
    if state != "OPEN":
        return "merged" if state == "MERGED" else "declined"
    action = _ACTIONS[kind]
    if action in ("merged", "declined"):
        raise unexpected_delivery("Bitbucket", f"the pull request of {kind} is open")
    return action


def _name(actor: _Actor | None) -> str:
    return (actor.display_name or actor.nickname or "") if actor else ""
