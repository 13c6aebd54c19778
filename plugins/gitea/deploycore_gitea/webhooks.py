"""Webhooks of Gitea and Forgejo: parse and verify deliveries, and subscribe to events.

The functions have no side effects: they convert a delivery to events. The models have only the
fields that are read, with strict types.

Sources: https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/, and
Gitea's ``services/repository/push.go``, ``services/webhook`` and ``modules/structs/hook.go``, which
show when each event is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from deploycore.errors import ConfigurationError, UnexpectedAnswer
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
    hmac_sha256_matches,
    unexpected_delivery,
)
from deploycore.http import AnswerModel, parse_answer
from deploycore.models import CommitHash, NonEmpty, RepositoryId
from pydantic import Field, SecretStr, model_validator

__all__ = ["EVENTS", "HookAnswer", "delivered", "is_signed", "subscription"]

EVENTS = ("push", "delete", "pull_request_only", "pull_request_sync")
"""The events that deploycore subscribes to.

A new branch or tag causes ``create`` and ``push``; a deleted branch causes only ``delete``.
``pull_request`` would also cause deliveries for labels, reviews and comments.
"""

FORM_FIELD = "payload"
"""The form field that has the JSON, if the webhook's content type is a form."""

SENDING_JSON = frozenset({"gitea", "gogs", "forgejo"})
"""The types of webhooks that send these deliveries; others are for chats."""


_ACTIONS: dict[str, Literal["opened", "updated"]] = {
    "opened": "opened",
    "reopened": "opened",
    "synchronized": "updated",
    "edited": "updated",  # the title or the target branch
}


class _User(AnswerModel):
    login: str = ""
    full_name: str = ""


class _Repository(AnswerModel):
    number: Annotated[int | None, Field(alias="id")] = None
    full_name: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]

    @property
    def id(self) -> RepositoryId:
        owner, _, slug = self.full_name.partition("/")
        return RepositoryId(owner=owner, slug=slug)

    @property
    def host_id(self) -> str | None:
        return None if self.number is None else str(self.number)


class _Commit(AnswerModel):
    id: CommitHash


class _Push(AnswerModel):
    """A push. ``before`` and ``after`` are zeros for no commit; then ``head_commit`` is null."""

    ref: NonEmpty
    before: CommitHash
    after: CommitHash
    head_commit: _Commit | None = None
    repository: _Repository
    pusher: _User | None = None


class _Delete(AnswerModel):
    """A deletion. ``ref`` is the short name; the previous commit is not included."""

    ref: NonEmpty
    ref_type: Literal["branch", "tag"]
    repository: _Repository
    sender: _User | None = None


class _Base(AnswerModel):
    ref: NonEmpty


class _Head(AnswerModel):
    """The source of a pull request's commits.

    Attributes:
        label: The branch, even if it was deleted; empty for a pull request that was pushed to
            ``refs/for/…`` (AGit).
        ref: The branch, or ``refs/pull/…/head`` if there is none.
        sha: The commit; empty if it is not known.
        repository: The repository; null if the fork was deleted.
    """

    label: str = ""
    ref: NonEmpty
    sha: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")] = ""
    repo: _Repository | None = None

    @property
    def branch(self) -> str:
        return self.label if self.label and self.ref.startswith("refs/pull/") else self.ref

    @property
    def source(self) -> RepositoryId | None:
        # Anyone who can read a repository can push to refs/for/…. A pull request from there is no
        # proof of write access, so it must not count as a branch of the repository.
        return self.repo.id if self.repo and self.label else None


class _PullRequest(AnswerModel):
    number: Annotated[int, Field(ge=1)]
    title: str = ""
    merged: bool = False
    base: _Base
    head: _Head


class _Action(AnswerModel):
    action: str


class _AboutPullRequest(AnswerModel):
    pull_request: _PullRequest
    repository: _Repository
    sender: _User | None = None


class _HookConfig(AnswerModel):
    url: str = ""


class HookAnswer(AnswerModel):
    """A webhook, as in ``GET /repos/{owner}/{repo}/hooks``.

    Attributes:
        url, config: Forgejo has the address in ``url``, and ``config`` is deprecated there. Gitea
            has it only in ``config``.
    """

    id: Annotated[int, Field(ge=0)]
    type: str = "gitea"
    active: bool
    url: str = ""
    config: _HookConfig = _HookConfig()

    @property
    def address(self) -> str:
        """The address of the webhook; empty if the server does not return it."""
        return self.config.url or self.url

    @model_validator(mode="after")
    def _sends_somewhere(self) -> Self:
        if not self.address:
            raise ValueError("a webhook has an address")
        return self

    def webhook(self) -> Webhook:
        """Convert the response to deploycore's model."""
        return Webhook(id=str(self.id), url=self.address, active=self.active)

    def is_ours(self, url: str) -> bool:
        """Whether it sends deliveries that the plugin can parse to an address."""
        return self.address == url and self.type in SENDING_JSON


def is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Whether ``X-Gitea-Signature``, or ``X-Forgejo-Signature``, is the HMAC of the JSON.

    If a delivery is sent as a form, the JSON in its field is signed, not the body.

    Source: Gitea's and Forgejo's ``services/webhook``, which sign the "payload content", and then
    encode it as a form.
    """
    try:
        signed = delivered_json(delivery, "Gitea", form_field=FORM_FIELD)
    except UnexpectedAnswer:
        signed = delivery.body  # never valid, and it takes the same time
    return hmac_sha256_matches(signed, _header(delivery, "signature"), secrets)


@as_documented("Gitea")
def delivered(delivery: WebhookDelivery) -> Delivered:
    """Parse a delivery; other kinds than the subscribed ones have no events.

    Raises:
        UnexpectedAnswer: The delivery does not match Gitea's documentation.
    """
    kind = _header(delivery, "event")
    if not kind:
        raise unexpected_delivery("Gitea", "it has no X-Gitea-Event header")
    event: WebhookEvent | None = None
    if kind in _READERS:
        content = delivered_json(delivery, "Gitea", form_field=FORM_FIELD)
        event = _READERS[kind](json.loads(content))
    events = () if event is None else (event,)
    return Delivered(delivery=_header(delivery, "delivery"), events=events)


def subscription(url: str, secret: SecretStr) -> dict[str, Any]:
    """The body that creates a webhook. Forgejo also accepts the type ``gitea``.

    Raises:
        ConfigurationError: The secret is empty, so deliveries would not be signed.
    """
    if not secret.get_secret_value():
        raise ConfigurationError(
            "Gitea does not sign the deliveries of a webhook without a secret.",
            hint="Choose a secret, for example 32 random bytes in hexadecimal.",
        )
    return {
        "type": "gitea",
        "active": True,
        "events": list(EVENTS),
        "config": {"url": url, "content_type": "json", "secret": secret},
    }


def _header(delivery: WebhookDelivery, name: str) -> str:
    """Return a header of Gitea or Forgejo. Forgejo sends both."""
    found = delivery.headers.get(f"x-gitea-{name}")
    return found or delivery.headers.get(f"x-forgejo-{name}", "")


def _push(body: object) -> PushEvent | None:
    told = parse_answer(_Push, body, what="a delivery of push")
    tagged = told.head_commit.id if told.head_commit else None
    change = RefChange.of_ref(told.ref, told.before, told.after, tagged=tagged)
    if change is None:
        return None  # for example from the button Test of an empty repository
    return PushEvent(
        repository=told.repository.id,
        changes=(change,),
        actor=_name(told.pusher),
        repository_host_id=told.repository.host_id,
    )


def _delete(body: object) -> PushEvent:
    told = parse_answer(_Delete, body, what="a delivery of delete")
    return PushEvent(
        repository=told.repository.id,
        changes=(RefChange(kind=told.ref_type, name=told.ref),),
        actor=_name(told.sender),
        repository_host_id=told.repository.host_id,
    )


def _pull_request(body: object) -> PullRequestEvent | None:
    action = parse_answer(_Action, body, what="a delivery of pull_request").action
    if action != "closed" and action not in _ACTIONS:
        return None
    told = parse_answer(_AboutPullRequest, body, what="a delivery of pull_request")
    request = told.pull_request
    end: Literal["merged", "declined"] = "merged" if request.merged else "declined"
    return PullRequestEvent(
        repository=told.repository.id,
        number=request.number,
        action=_ACTIONS.get(action, end),
        title=request.title,
        source=request.head.source,
        source_branch=request.head.branch,
        target_branch=request.base.ref,
        commit=request.head.sha or None,
        actor=_name(told.sender),
        repository_host_id=told.repository.host_id,
    )


def _name(user: _User | None) -> str:
    return (user.full_name or user.login) if user else ""


_READERS: dict[str, Callable[[object], WebhookEvent | None]] = {
    "push": _push,
    "delete": _delete,
    "pull_request": _pull_request,
    "pull_request_sync": _pull_request,
}
