"""The webhook for a git server that has none: CI sends a request after a push.

The body is JSON with a ``ref`` and a ``repository``. The header ``X-Deploycore-Signature`` has
``sha256=`` and the HMAC-SHA256 of the body in hexadecimal.
"""

from __future__ import annotations

import json
import re
from typing import Annotated

from deploycore.events import (
    Delivered,
    PushEvent,
    RefChange,
    WebhookDelivery,
    as_documented,
    delivered_json,
    signature_header_matches,
)
from deploycore.http import AnswerModel
from deploycore.models import CommitHash, RepositoryId
from pydantic import AfterValidator, AwareDatetime, Field, SecretStr

__all__ = ["SIGNATURE_HEADER", "delivered", "is_signed"]

HOST = "the git plugin"
SIGNATURE_HEADER = "x-deploycore-signature"


def _ref(text: str) -> str:
    if not re.fullmatch(r"refs/(heads|tags)/\S+", text) or not text.isprintable():
        raise ValueError("it is not the full name of a branch or a tag, such as refs/heads/main")
    return text


def _repository(text: str) -> str:
    name = _printable(text).removesuffix(".git")
    if not re.fullmatch(r"[^/\s]\S*/[^/\s]*[^/\s.]", name):
        raise ValueError("it is not a repository's name, such as acme/shop")
    return name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that cannot be printed")
    return text


class _Push(AnswerModel):
    """A push.

    Attributes:
        ref: The full name, such as ``refs/heads/main``.
        repository: ``owner/slug``, as the application names it.
        commit: The commit that the ref points to now. Without it, deploycore asks the server.
        before: The commit that it pointed to before, if the sender knows it.
        sent_at: When this was sent, in ISO 8601 with a time zone. It prevents replays of old
            deliveries, and makes two deliveries without a commit different.
    """

    ref: Annotated[str, AfterValidator(_ref)]
    repository: Annotated[str, AfterValidator(_repository)]
    commit: CommitHash | None = None
    before: CommitHash | None = None
    sent_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    delivery: Annotated[str, AfterValidator(_printable)] = ""
    actor: str = ""


def is_signed(delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
    """Verify ``X-Deploycore-Signature`` against the raw body, in constant time."""
    return signature_header_matches(delivery, SIGNATURE_HEADER, secrets)


def delivered(delivery: WebhookDelivery) -> Delivered:
    """Read a push.

    Raises:
        UnexpectedAnswer: The body does not match the documentation.
    """
    text = delivered_json(delivery, HOST)
    with as_documented(HOST):
        push = _Push.model_validate(json.loads(text))
        event = PushEvent(
            repository=RepositoryId.parse(push.repository),
            changes=() if push.commit is None else (_change(push, push.commit),),
            # Without a commit, deploycore asks the server what the ref points to.
            unresolved=(push.ref,) if push.commit is None else (),
            actor=push.actor,
        )
        return Delivered(delivery=push.delivery, sent_at=push.sent_at, events=(event,))


def _change(push: _Push, commit: str) -> RefChange:
    """Return a hash; ``None`` for zeros, with which ``post-receive`` reports a ref that does not
    exist."""
    _, kinds, name = push.ref.split("/", 2)
    return RefChange(
        kind="branch" if kinds == "heads" else "tag",
        name=name,
        before=_unless_zeros(push.before),
        after=_unless_zeros(commit),
    )


def _unless_zeros(commit: str | None) -> str | None:
    return commit if commit is not None and commit.strip("0") else None
