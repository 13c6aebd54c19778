"""GitHub's webhooks: parse and verify deliveries, and subscribe to events.

The functions have no side effects: they convert a delivery to events. The models have only the
fields that are read, with strict types.

Sources:
https://docs.github.com/en/webhooks/webhook-events-and-payloads
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from deploycore.http import AnswerModel, HttpClient, parse_answer, parse_items
from deploycore.models import CommitHash, NonEmpty, RepositoryId

__all__ = ["EVENTS", "HookAnswer", "delivered", "is_signed", "listed", "subscription"]

PUSH = "push"
PULL_REQUEST = "pull_request"
EVENTS = (PUSH, PULL_REQUEST)
"""The events that deploycore subscribes to."""

FORM_FIELD = "payload"
_CLOSED = "closed"
_ACTIONS: dict[str, Literal["opened", "updated"]] = {
    "opened": "opened",
    "reopened": "opened",
    "synchronize": "updated",
    "edited": "updated",  # the target branch may have changed
}


class _Actor(AnswerModel):
    login: str = ""


class _Repository(AnswerModel):
    number: Annotated[int | None, Field(alias="id")] = None
    full_name: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]

    @property
    def id(self) -> RepositoryId:
        return RepositoryId.parse(self.full_name)

    @property
    def host_id(self) -> str | None:
        return None if self.number is None else str(self.number)


class _Commit(AnswerModel):
    id: CommitHash


class _Push(AnswerModel):
    """A push. ``head_commit`` is null if a ref was deleted."""

    ref: NonEmpty
    before: CommitHash
    after: CommitHash
    head_commit: _Commit | None = None
    repository: _Repository
    sender: _Actor | None = None


class _Base(AnswerModel):
    ref: NonEmpty


class _Head(AnswerModel):
    """The source or destination of a pull request. ``repo`` is null if the fork was deleted."""

    ref: NonEmpty
    sha: CommitHash
    repo: _Repository | None = None


class _PullRequest(AnswerModel):
    number: Annotated[int, Field(ge=1)]
    title: str = ""
    merged: bool = False
    head: _Head
    base: _Base


class _AboutPullRequest(AnswerModel):
    action: NonEmpty
    pull_request: _PullRequest
    repository: _Repository
    sender: _Actor | None = None


class _Action(AnswerModel):
    action: NonEmpty


class _Config(AnswerModel):
    url: str | None = None


class HookAnswer(AnswerModel):
    """An item of ``GET /repos/{owner}/{repo}/hooks``.

    Some webhooks have no address, such as those of ``gh webhook forward``.
    """

    id: Annotated[int, Field(ge=1)]
    active: bool = True
    config: _Config

    def webhook(self, url: str) -> Webhook:
        """Convert the response to deploycore's model."""
        return Webhook(id=str(self.id), url=url, active=self.active)


def is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Whether ``X-Hub-Signature-256`` is ``sha256=`` and the HMAC of the raw body.

    ``X-Hub-Signature``, which GitHub also sends, uses SHA-1 and is ignored.
    """
    return signature_header_matches(delivery, "x-hub-signature-256", secrets)


@as_documented("GitHub")
def delivered(delivery: WebhookDelivery) -> Delivered:
    """Parse a delivery; pings and other kinds than the subscribed ones have no events.

    Raises:
        UnexpectedAnswer: The delivery does not match GitHub's documentation.
    """
    kind = delivery.headers.get("x-github-event", "")
    if not kind:
        raise unexpected_delivery("GitHub", "it has no X-GitHub-Event header")
    events: tuple[WebhookEvent, ...] = ()
    if kind == PUSH:
        events = (_push(_decoded(delivery)),)
    elif kind == PULL_REQUEST:
        events = _pull_request(_decoded(delivery))
    return Delivered(delivery=delivery.headers.get("x-github-delivery", ""), events=events)


def subscription(url: str, secret: SecretStr) -> dict[str, Any]:
    """The body of a request that creates or updates a webhook.

    Raises:
        ConfigurationError: The secret is empty, so deliveries would not be signed.
    """
    if not secret.get_secret_value():
        raise ConfigurationError(
            "GitHub does not sign the deliveries of a webhook with an empty secret.",
            hint="Choose another secret, for example 32 random bytes in hexadecimal.",
        )
    return {
        "name": "web",
        "active": True,
        "events": list(EVENTS),
        # A configuration replaces the previous one completely. By default, GitHub sends
        # forms.
        "config": {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret},
    }


def listed(http: HttpClient, path: str) -> Iterator[Webhook]:
    """List the webhooks of a repository; ``path`` is the one of its webhooks."""
    for page in http.linked_pages(path, params={"per_page": 100}):
        for hook in parse_items(HookAnswer, page, what="a page of webhooks"):
            if hook.config.url:
                yield hook.webhook(hook.config.url)


def _push(body: object) -> PushEvent:
    told = parse_answer(_Push, body, what=f"a delivery of {PUSH}")
    return PushEvent(
        repository=told.repository.id,
        changes=(_ref_change(told),),
        actor=_name(told.sender),
        repository_host_id=told.repository.host_id,
    )


def _ref_change(told: _Push) -> RefChange:
    """Read a push; GitHub sends one delivery for each ref."""
    tagged = told.head_commit.id if told.head_commit else None
    change = RefChange.of_ref(told.ref, told.before, told.after, tagged=tagged)
    if change is None:
        raise unexpected_delivery("GitHub", "it names no branch or tag that existed")
    return change


def _pull_request(body: object) -> tuple[WebhookEvent, ...]:
    what = f"a delivery of {PULL_REQUEST}"
    action = parse_answer(_Action, body, what=what).action
    if action not in _ACTIONS and action != _CLOSED:
        return ()  # labels, reviewers and the like
    told = parse_answer(_AboutPullRequest, body, what=what)
    request = told.pull_request
    head = request.head
    ended: Literal["merged", "declined"] = "merged" if request.merged else "declined"
    return (
        PullRequestEvent(
            repository=told.repository.id,
            number=request.number,
            action=_ACTIONS.get(action, ended),
            title=request.title,
            source=head.repo.id if head.repo else None,
            source_branch=head.ref,
            target_branch=request.base.ref,
            commit=head.sha,
            actor=_name(told.sender),
            repository_host_id=told.repository.host_id,
        ),
    )


def _name(actor: _Actor | None) -> str:
    return actor.login if actor else ""


def _decoded(delivery: WebhookDelivery) -> object:
    """Read the JSON; a webhook that was set up by hand may send it as a field of a form."""
    decoded: object = json.loads(delivered_json(delivery, "GitHub", form_field=FORM_FIELD))
    return decoded
