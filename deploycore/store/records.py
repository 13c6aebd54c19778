"""What the store takes and gives: one frozen record for each thing that it remembers."""

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

Role = Literal["read", "deploy", "admin"]
"""What a token may do; each may do what those before it may."""


@dataclass(frozen=True)
class ApplicationRecord:
    """What is deployed where.

    Attributes:
        definition: All that a person has said about it.
        secrets: The variables whose values are stored here, as
            :class:`deploycore.secrets.SecretBox` stores them.
        revision: Grows with each change of the definition or of a secret.
        created_at: Timezone-aware, as is ``changed_at``.
    """

    definition: Application
    secrets: Mapping[str, str] = field(repr=False)
    revision: int
    created_at: datetime
    changed_at: datetime

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self.definition.name


@dataclass(frozen=True)
class ReleaseHistory:
    """What is known of the releases of an application.

    Attributes:
        made: The deployment that made each release, by the release's name.
        events: Deployments and rollbacks that ended ``healthy``, the oldest first. They need not
            be all: a release's own deployment and the last rollback to it, the last event of its
            commit, and the rollbacks from that commit since then decide the same.
    """

    made: Mapping[str, DeploymentRecord]
    events: Sequence[DeploymentRecord]


@dataclass(frozen=True)
class TriggerRecord:
    """One reason to look at an application.

    Attributes:
        id: Grows with each trigger, and is never used again.
        cause: What told of it: ``push``, ``pull_request``, ``poll``, ``request`` and the like.
        ref: The branch or tag that it is about; may be empty.
        commit: The commit that it told of, for people; what is deployed is what the ref points to.
        actor: Who did it, as far as is known; may be empty.
        priority: Those with more go first.
        delivery: The git host's identifier of what told of it.
        digest: Of the body of what told of it.
        received_at: Timezone-aware, in UTC, as all times are.
        not_before: When it may be tried.
        attempts: How often that came to nothing, but was worth another try.
        settled_at: ``None`` while it is open.
        deployment: What became of it, once it is settled.
        error_code: The ``code`` of the error that settled it, or of the last try.
        force: Whether what is live already is to be deployed again.
        turn: Its place in the queue; the smallest goes first.
        tried_at: When it was last tried in vain; ``None`` for never.
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
    """An application that somebody should look at.

    Attributes:
        provider: The name of its provider.
        is_retried: Whether the last try failed.
    """

    application: str
    provider: str
    is_retried: bool


@dataclass(frozen=True)
class TriggerCounts:
    """How many triggers there are, for people who watch.

    Attributes:
        due: Open, and to be worked on as soon as a worker has time.
        postponed: Open, and to be tried again later.
        deployed: Settled without an error, as long as they are remembered.
        failed: Settled by an error, as long as they are remembered.
        oldest_seconds: The age of the oldest open one; 0 where none is open.
    """

    due: int
    postponed: int
    deployed: int
    failed: int
    oldest_seconds: float


@dataclass(frozen=True)
class WorkerRecord:
    """A process that works on triggers.

    Attributes:
        id: Made up at its start.
        host: The name of its machine.
        process: Its number there.
        seen_at: When it last gave a sign of life.
    """

    id: str
    host: str
    process: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class ClaimRecord:
    """That a worker has an application in hand.

    Attributes:
        worker: Its id.
        expires_at: When it counts as dead, unless it gives a sign of life before.
        renewed_at: When that was set.
        taken_from: The worker that had it before and did not, where it was taken over.
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
        secret: As :class:`deploycore.secrets.SecretBox` stores it.
        former: The secret before that, in the same form, while it still holds.
        former_until: Until when; ``None``: until the host is known to have the present one.
        hosts_id: The git host's identifier; ``None`` where a person has set it up.
        url: Where the host sends to, as far as it is known here.
        created_at: Timezone-aware, as is ``delivered_at``.
        delivered_at: When the host's last delivery with a right signature came, to the minute.
        provider: The provider whose host has it; ``None`` where that is not known.
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
    """A token of the server's API; the token itself is kept nowhere.

    Attributes:
        digest: SHA-256 of the token, hexadecimal.
        created_at: Timezone-aware, as all times are.
        expires_at: ``None`` for never.
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
    """What is known of asking the git host for news of an application.

    Attributes:
        due_at: When it is to be asked.
        seconds: The present interval; 0 where it was never asked.
        commit: What the ref was found to be the last time.
        requested_at: When a check was requested that has not been done yet; ``None`` if none was.
        not_before: When the host allows the next request, if it said so.
        set_at: When ``due_at`` was set.
        host: The machine that asks; ``None`` for any.
        question: A digest of what is asked: those with the same one share the answer.
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
    """Which repository of its git host an application deploys.

    Attributes:
        provider: The configured provider whose host it is.
        repository: The repository's present name, as ``owner/slug``.
        host_id: The host's identifier of it; ``None`` if it is not known.
        former_names: Its names before, the last one first.
        renamed_at: When the present name was learned; ``None`` if it was never renamed.
        told_name: The name that a signed delivery has for it, while the host has not confirmed it.
        other_host_id: The identifier of another repository that now has its name; ``None`` if
            none was found.
        ignored_name: The repository of a delivery that was ignored because no identifier is known
            to compare.
        ignored_at: When that delivery came.
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
        """Whether this is about the repository that an application deploys now."""
        names = (self.repository, *self.former_names)
        return self.provider == definition.provider and definition.repository in names
