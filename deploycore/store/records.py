"""The records of the store. All of them are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from deploycore.deployment_records import DeploymentKind, DeploymentRecord
from deploycore.store.listed_records import PreviewRecord, ProviderRecord

if TYPE_CHECKING:
    from deploycore.applications.application import Application

__all__ = [
    "ApplicationRecord",
    "ClaimRecord",
    "DeliveryOutcome",
    "DeliveryRecord",
    "DeployKeyRecord",
    "DeployKeyState",
    "DeploymentKind",
    "DeploymentRecord",
    "PendingApplication",
    "PollRecord",
    "PreviewRecord",
    "ProviderRecord",
    "ReleaseHistory",
    "RepositoryRecord",
    "Role",
    "TokenRecord",
    "TriggerCounts",
    "TriggerRecord",
    "WebhookRecord",
    "WorkerRecord",
]


DeployKeyState = Literal["new", "live", "former"]
"""What a key is for: to be used once the host accepts it, in use, or replaced and to be removed."""

DeliveryOutcome = Literal["accepted", "known", "ignored", "refused", "dropped"]
"""What became of a delivery. ``dropped`` ones came faster than they could be recorded."""

Role = Literal["read", "deploy", "admin"]
"""What a token may do; each may do what those before it may."""


@dataclass(frozen=True)
class ApplicationRecord:
    """An application as it is stored.

    Attributes:
        definition: The user's definition of the application.
        secrets: The stored values of variables, as :class:`deploycore.secrets.SecretBox` stores
            them.
        revision: A number that grows with each change of the definition or of a secret.
        created_at: The time of its creation, with a time zone.
        changed_at: The time of the last change, with a time zone.
    """

    definition: Application
    secrets: Mapping[str, str] = field(repr=False)
    revision: int
    created_at: datetime
    changed_at: datetime

    @property
    def name(self) -> str:
        """The name of the application."""
        return self.definition.name


@dataclass(frozen=True)
class ReleaseHistory:
    """The history of an application's releases.

    Attributes:
        made: The deployment that created each release, by the release's name.
        events: Deployments and rollbacks that ended ``healthy``, the oldest first. Some may be
            missing, but never one that decides which releases are kept: a release's own deployment,
            the last rollback to it, the last event of its commit, and later rollbacks from that
            commit.
    """

    made: Mapping[str, DeploymentRecord]
    events: Sequence[DeploymentRecord]


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
class WebhookRecord:
    """The webhook of an application.

    Attributes:
        application: The name of the application.
        secret: The secret, as :class:`deploycore.secrets.SecretBox` stores it.
        former: The previous secret in the same form, while it is still valid.
        former_until: Until when the previous secret is valid; ``None`` until the host has confirmed
            the current one.
        hosts_id: The git host's identifier; ``None`` if the webhook was set up by hand.
        url: The address that the host sends deliveries to, as far as it is known.
        created_at: The time of its creation, with a time zone.
        delivered_at: The time of the last delivery with a valid signature, to the minute.
        provider: The provider whose host has the webhook; ``None`` if it is unknown.
        repository: The repository that it was registered for, as ``owner/slug``.
    """

    application: str
    secret: str = field(repr=False)
    former: str | None = field(repr=False)
    former_until: datetime | None
    hosts_id: str | None
    url: str | None
    created_at: datetime
    delivered_at: datetime | None
    provider: str | None = None
    repository: str | None = None


@dataclass(frozen=True)
class DeliveryRecord:
    """A delivery to an application's webhook, and how it was judged.

    Of those that were refused or dropped, there is one record for each reason. It tells of the last
    one.

    Attributes:
        application: The name of the application.
        outcome: The result.
        reason: Why it was refused or ignored, as one of a few words; may be empty.
        message: The same for people, where the reason alone does not say enough; may be empty.
        event: The kind of the event: ``push`` or ``pull_request``; empty if it was not read.
        ref: The branch or tag of the event; may be empty.
        commit: The commit that the event is about.
        actor: The name of the account that caused the event; may be empty.
        sender: The network address that it came from.
        delivery: The git host's identifier of the delivery; may be empty.
        trigger: The trigger that was stored for it.
        received_at: When it arrived; the last one, where there are several.
        first_at: When the first of them arrived.
        count: The number of deliveries that the record is about.
        id: A number that grows with each record; 0 before it is stored.
        deployment: The deployment that settled the trigger, as long as the trigger is stored.
    """

    application: str
    outcome: DeliveryOutcome
    reason: str
    message: str
    event: str
    ref: str
    commit: str | None
    actor: str
    sender: str
    delivery: str
    trigger: int | None
    received_at: datetime
    first_at: datetime
    count: int = 1
    id: int = 0
    deployment: int | None = None


@dataclass(frozen=True)
class DeployKeyRecord:
    """An SSH key that was made here.

    Attributes:
        application: Whose it is; ``None`` for the key of a provider.
        provider: Whose it is, or that of the application when the key was made.
        repository: The application's, as ``owner/slug``; ``None`` for the key of a provider.
        public_key: As that of :class:`deploycore.events.DeployKey`.
        secret: The private key, as :class:`deploycore.secrets.SecretBox` stores it. ``None`` where
            the provider has it, or it was replaced.
        registered: The host's identifier of the key by repository; empty while it is not known
            whether the host has it. Without a repository, a person adds the key.
        created_at: Timezone-aware.
    """

    id: int
    application: str | None
    provider: str
    repository: str | None
    state: DeployKeyState
    public_key: str
    secret: str | None = field(repr=False)
    registered: Mapping[str, str]
    created_at: datetime

    @property
    def owner(self) -> str:
        """The name of the application or the provider."""
        return self.provider if self.application is None else self.application


@dataclass(frozen=True)
class TokenRecord:
    """A token of the server's API. The token itself is not stored.

    Attributes:
        name: The name of the token.
        role: The role.
        digest: The SHA-256 of the token, in hexadecimal.
        created_at: The time of its creation. All times have a time zone.
        expires_at: When it expires; ``None`` for never.
        used_at: When it was last used, to the minute.
    """

    name: str
    digest: str = field(repr=False)
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


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


@dataclass(frozen=True)
class RepositoryRecord:
    """The repository that an application deploys, by its identifier at the git host.

    Attributes:
        application: The name of the application.
        provider: The configured provider of that host.
        repository: The repository's current name, as ``owner/slug``.
        host_id: The host's identifier of the repository; ``None`` if it is unknown.
        former_names: Its previous names, the last one first.
        renamed_at: When the current name was learned; ``None`` if it was never renamed.
        told_name: A new name in a signed delivery that the host has not confirmed yet.
        other_host_id: The identifier of another repository that now has this name; ``None`` if
            there is none.
        ignored_name: The repository of a delivery that was ignored, because no identifier was known
            to compare.
        ignored_at: The time of that delivery.
    """

    application: str
    provider: str
    repository: str
    host_id: str | None = None
    former_names: tuple[str, ...] = ()
    renamed_at: datetime | None = None
    told_name: str | None = None
    other_host_id: str | None = None
    ignored_name: str | None = None
    ignored_at: datetime | None = None

    def is_of(self, definition: Application) -> bool:
        """Whether this record is about the repository that an application deploys now."""
        names = (self.repository, *self.former_names)
        return self.provider == definition.provider and definition.repository in names
