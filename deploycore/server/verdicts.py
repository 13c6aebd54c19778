"""The verdicts on webhook deliveries: each result, its reasons, and their texts for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = [
    "ANOTHER_REPOSITORY",
    "BAD_SIGNATURE",
    "HINTS",
    "MALFORMED",
    "MESSAGES",
    "PULL_REQUEST",
    "STALE",
    "UNAVAILABLE",
    "UNKNOWN_APPLICATION",
    "Outcome",
    "Subject",
    "Verdict",
]

Outcome = Literal["accepted", "known", "ignored", "refused"]

PULL_REQUEST = "pull_request"
_IGNORED_PUSHES = frozenset({"another_ref", "deleted"})


class Subject(NamedTuple):
    """The subject of a delivery, as far as the delivery was read.

    Attributes:
        event: The kind of the event: ``push`` or ``pull_request``; empty if there is none.
        ref: The branch or tag.
        commit: The commit.
        actor: The name of the account that caused it.
        delivery: The host's identifier of the delivery.
    """

    event: str = ""
    ref: str = ""
    commit: str | None = None
    actor: str = ""
    delivery: str = ""


_NOTHING = Subject()


@dataclass(frozen=True)
class Verdict:
    """The result of a delivery.

    Attributes:
        status: The HTTP status of the response.
        outcome: The result as one word.
        reason: Why the delivery was rejected or ignored, as one of a few words for programs.
        trigger: The stored trigger.
        message, hint: Why the delivery was rejected or changes nothing, for people; empty if the
            text for ``reason`` is enough.
        subject: What the delivery is about.
    """

    status: int
    outcome: Outcome
    reason: str = ""
    trigger: int | None = None
    message: str = ""
    hint: str = ""
    subject: Subject = _NOTHING

    @property
    def shows_pushes_arrive(self) -> bool:
        """Whether the delivery is about a push to the application's repository, which shows that
        its webhook works.

        Pings, pull requests and deliveries about other repositories do not count.
        """
        if self.outcome == "ignored":
            return self.reason in _IGNORED_PUSHES
        return self.outcome in ("accepted", "known") and self.reason != PULL_REQUEST


UNKNOWN_APPLICATION = Verdict(404, "refused", "unknown_application")
BAD_SIGNATURE = Verdict(401, "refused", "bad_signature")
MALFORMED = Verdict(422, "refused", "malformed")
STALE = Verdict(422, "refused", "stale")
UNAVAILABLE = Verdict(503, "refused", "unavailable")
ANOTHER_REPOSITORY = Verdict(202, "ignored", "another_repository")

MESSAGES: Mapping[str, str] = {
    "unknown_application": "The application does not exist, or has no webhook.",
    "bad_signature": "The signature is missing or wrong.",
    "malformed": "The request is not a delivery that the git host sends.",
    "stale": "The delivery's time is too old, or in the future.",
    "unavailable": "The delivery cannot be stored now.",
    "too_large": "The body is larger than the server's limit.",
    "too_slow": "The body took too long to arrive.",
    "cut_off": "The connection ended before the body was complete.",
    "busy": "The server received too many requests at once.",
    "no_event": "The delivery has no push and no pull request, such as the host's first test.",
    "another_repository": "The event is about another repository.",
    "auto_deploy_is_off": "The application does not deploy on pushes.",
    "another_ref": "The push is to another branch or tag.",
    "deleted": "The push deleted the branch or tag.",
    "no_previews": "The pull request has no preview.",
    "too_many": "Deliveries arrived faster than they could be recorded. They were answered.",
}
"""What each reason means, for people."""

HINTS: Mapping[str, str] = {
    "unknown_application": "Register its webhook: deploycore webhook register APPLICATION --url https://…",
    "bad_signature": "Give the git host the webhook's secret: deploycore webhook show"
    " APPLICATION --reveal-secret",
    "stale": "Correct the clocks of both machines.",
    "unavailable": "Send it again in a minute.",
}
"""The next step for the sender, for some reasons."""
