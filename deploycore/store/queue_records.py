"""The records of the queue, of workers and of polls. All of them are frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "ClaimRecord",
    "PendingApplication",
    "PollRecord",
    "TriggerCounts",
    "TriggerRecord",
    "WorkerRecord",
]


@dataclass(frozen=True)
class TriggerRecord:
    """A stored request to deploy an application.

    Attributes:
        id: A number that grows with each trigger, and is never used again.
        application: The name of the application.
        cause: The reason: ``push``, ``pull_request``, ``poll``, ``request`` and others.
        ref: The branch or tag of the event; may be empty.
        commit: The commit of the event, for people. The deployment uses what the ref points to.
        actor: The name of the account that caused the event; may be empty.
        priority: Triggers with a higher number come first.
        delivery: The git host's identifier of the delivery.
        digest: The digest of the delivery's body.
        received_at: When it was stored. All times are in UTC, with a time zone.
        not_before: The earliest time of the next attempt.
        attempts: The number of attempts that failed and are retried.
        settled_at: When it was settled; ``None`` while it is not.
        deployment: The deployment that settled it.
        error_code: The ``code`` of the error that settled it, or of the last attempt.
        force: Whether to deploy the commit again if it is already live.
        turn: Its place in the queue; the smallest comes first.
        tried_at: The time of the last failed attempt; ``None`` if there was none.
    """

    id: int
    application: str
    cause: str
    ref: str
    commit: str | None
    actor: str
    priority: int
    delivery: str | None
    digest: str | None
    received_at: datetime
    not_before: datetime
    attempts: int
    settled_at: datetime | None
    deployment: int | None
    error_code: str | None
    force: bool = False
    turn: int = 0
    tried_at: datetime | None = None


@dataclass(frozen=True)
class PendingApplication:
    """An application with triggers that a worker should process.

    Attributes:
        application: The name of the application.
        provider: The name of its provider.
        is_retried: Whether the last attempt failed.
    """

    application: str
    provider: str
    is_retried: bool


@dataclass(frozen=True)
class TriggerCounts:
    """The numbers of triggers, for metrics.

    Attributes:
        due: Triggers that a worker can process now.
        postponed: Triggers that wait for a later attempt.
        deployed: Triggers that were settled without an error and are still stored.
        failed: Triggers that were settled by an error and are still stored.
        oldest_seconds: The age of the oldest trigger that is not settled; 0 if there is none.
    """

    due: int
    postponed: int
    deployed: int
    failed: int
    oldest_seconds: float


@dataclass(frozen=True)
class WorkerRecord:
    """A worker process.

    Attributes:
        id: A random identifier, created when the worker starts.
        host: The name of its machine.
        process: Its process ID.
        seen_at: The time of its last heartbeat.
    """

    id: str
    host: str
    process: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class ClaimRecord:
    """A worker's claim on an application.

    Attributes:
        application: The name of the application.
        worker: The worker's id.
        expires_at: When the claim expires, unless the worker sends a heartbeat before.
        renewed_at: When the claim was last renewed.
        taken_from: The worker whose expired claim this one replaced; otherwise empty.
    """

    application: str
    worker: str
    claimed_at: datetime
    expires_at: datetime
    renewed_at: datetime | None = None
    taken_from: str | None = None


@dataclass(frozen=True)
class PollRecord:
    """The state of an application's polling.

    Attributes:
        application: The name of the application.
        due_at: The time of the next poll.
        seconds: The current interval; 0 before the first poll.
        commit: The commit that the ref pointed to at the last poll.
        requested_at: When a check was requested that has not run yet; ``None`` if there is none.
        not_before: The earliest time of the next request, if the host has said so.
        set_at: When ``due_at`` was set.
        host: The machine that polls; ``None`` for any.
        question: A digest of the request. Applications with the same digest share the response.
    """

    application: str
    due_at: datetime
    seconds: float
    commit: str | None
    requested_at: datetime | None = None
    not_before: datetime | None = None
    set_at: datetime | None = None
    host: str | None = None
    question: str = ""
