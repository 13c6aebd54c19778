"""Webhooks of Bitbucket Data Center: parse and verify deliveries, and subscribe to events.

The functions have no side effects: they convert a delivery to events. The models have only the
fields that are read, with strict types. Times are not read: up to version 9, they are numbers of
milliseconds; from version 10 on, they are texts in ISO 8601.

Source: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html and
https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

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
from deploycore.http import AnswerModel, parse_answer
from deploycore.models import CommitHash, NonEmpty
from pydantic import Field, SecretStr, model_validator

from deploycore_bitbucket_datacenter.answers import PullRequestAnswer, RepositoryAnswer

__all__ = ["EVENTS", "HookAnswer", "delivered", "is_signed", "subscription"]

HOST = "Bitbucket Data Center"
PUSH = "repo:refs_changed"
PING = "diagnostics:ping"
"""The event of the button Test connection. Its body is ``{"test": true}``."""

_ACTIONS: dict[str, Literal["opened", "updated", "merged", "declined"]] = {
    "pr:opened": "opened",
    "pr:from_ref_updated": "updated",
    "pr:modified": "updated",
    "pr:merged": "merged",
    "pr:declined": "declined",
    "pr:deleted": "declined",
}

EVENTS = (PUSH, *_ACTIONS)
"""The events that deploycore subscribes to. A declined pull request that is reopened has no
event."""

NAME = "deploycore"


class _Actor(AnswerModel):
    name: str = ""
    display_name: Annotated[str, Field(alias="displayName")] = ""


class _Ref(AnswerModel):
    id: NonEmpty


class _Change(AnswerModel):
    """A branch or tag that was changed. A hash of zeros means that there is no commit."""

    ref: _Ref
    before: Annotated[CommitHash, Field(alias="fromHash")]
    after: Annotated[CommitHash, Field(alias="toHash")]


class _Push(AnswerModel):
    actor: _Actor | None = None
    repository: RepositoryAnswer
    changes: list[_Change]


class _AboutPullRequest(AnswerModel):
    actor: _Actor | None = None
    request: Annotated[PullRequestAnswer, Field(alias="pullRequest")]


class _Body(AnswerModel):
    event: Annotated[str, Field(alias="eventKey")] = ""


class HookAnswer(AnswerModel):
    """A webhook, as in ``…/webhooks``.

    Attributes:
        url: The address, which is optional in the API description. Without one, nothing is sent.
    """

    id: Annotated[int, Field(ge=0)]
    url: str = ""
    active: bool = True

    @model_validator(mode="after")
    def _sends_somewhere(self) -> Self:
        if not self.url:
            raise ValueError("a webhook has an address")
        return self

    def webhook(self) -> Webhook:
        """Convert the response to deploycore's model."""
        return Webhook(id=str(self.id), url=self.url, active=self.active)


def is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Whether ``X-Hub-Signature`` is ``sha256=`` and the HMAC of the raw body.

    Other algorithms are rejected, because Bitbucket uses only this one.
    """
    return signature_header_matches(delivery, "x-hub-signature", secrets)


@as_documented(HOST)
def delivered(delivery: WebhookDelivery) -> Delivered:
    """Parse a delivery; other kinds than the subscribed ones have no events.

    The kind is read from the body, which is signed, and not from the header. Only a test delivery
    has no kind in its body.

    Raises:
        UnexpectedAnswer: The delivery does not match Atlassian's documentation.
    """
    header = delivery.headers.get("x-event-key", "")
    if not header:
        raise unexpected_delivery(HOST, "it has no X-Event-Key header")
    events: tuple[WebhookEvent, ...] = ()
    if header != PING:
        body = json.loads(delivered_json(delivery, HOST))
        kind = parse_answer(_Body, body, what="a delivery").event or header
        if kind == PUSH:
            events = (_push(body),)
        elif kind in _ACTIONS:
            events = (_pull_request(body, kind),)
    return Delivered(delivery=delivery.headers.get("x-request-id", ""), events=events)


def subscription(url: str, secret: SecretStr) -> dict[str, Any]:
    """The body of a request that creates or updates a webhook.

    Raises:
        ConfigurationError: The secret is empty, so deliveries would not be signed.
    """
    if not secret.get_secret_value():
        raise ConfigurationError(
            "Bitbucket does not sign the deliveries of a webhook without a secret.",
            hint="Choose a secret, for example 32 random bytes in hexadecimal.",
        )
    return {
        "name": NAME,
        "url": url,
        "active": True,
        "events": list(EVENTS),
        "configuration": {"secret": secret},
        "sslVerificationRequired": True,
    }


def _push(body: object) -> PushEvent:
    told = parse_answer(_Push, body, what=f"a delivery of {PUSH}")
    changes = (RefChange.of_ref(each.ref.id, each.before, each.after) for each in told.changes)
    return PushEvent(
        repository=told.repository.repository_id,
        changes=tuple(change for change in changes if change is not None),
        actor=_name(told.actor),
        repository_host_id=_host_id(told.repository),
    )


def _pull_request(body: object, kind: str) -> PullRequestEvent:
    told = parse_answer(_AboutPullRequest, body, what=f"a delivery of {kind}")
    request, target = told.request, told.request.target.repository
    if target is None:
        raise unexpected_delivery(HOST, f"{kind} does not name the repository of its toRef")
    return PullRequestEvent(
        repository=target.repository_id,
        number=request.id,
        action=_action(kind, request.state),
        title=request.title,
        source=request.source.repository_id,
        source_branch=request.source.name,
        target_branch=request.target.name,
        commit=request.source.commit,
        actor=_name(told.actor),
        repository_host_id=_host_id(target),
    )


def _action(kind: str, state: str) -> Literal["opened", "updated", "merged", "declined"]:
    """Return the action. A late event never reopens a pull request that has ended."""
    if state == "OPEN" and kind != "pr:deleted":
        if _ACTIONS[kind] in ("merged", "declined"):
            raise unexpected_delivery(HOST, f"the pull request of {kind} is open")
        return _ACTIONS[kind]
    return "merged" if state == "MERGED" else "declined"


def _host_id(repository: RepositoryAnswer) -> str | None:
    return None if repository.id is None else str(repository.id)


def _name(actor: _Actor | None) -> str:
    return (actor.display_name or actor.name) if actor else ""
