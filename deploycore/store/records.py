"""The records of applications, and of what belongs to them. All of them are frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from deploycore.deployment_records import DeploymentKind, DeploymentRecord
from deploycore.records import record
from deploycore.store.listed_records import PreviewRecord, ProviderRecord

if TYPE_CHECKING:
    from deploycore.applications.application import Application

__all__ = [
    "ApplicationRecord",
    "DeployKeyRecord",
    "DeployKeyState",
    "DeploymentKind",
    "DeploymentRecord",
    "PreviewRecord",
    "ProviderRecord",
    "ReleaseHistory",
    "RepositoryRecord",
]


DeployKeyState = Literal["new", "live", "former"]
"""The state of an SSH key: to be used as soon as the host accepts it, in use, or replaced and to be
removed."""


@record
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


@record
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


@record
class DeployKeyRecord:
    """An SSH key that deploycore has created.

    Attributes:
        application: The application that it belongs to; ``None`` for the key of a provider.
        provider: The provider that it belongs to, or the application's provider when the key was
            created.
        repository: The application's repository, as ``owner/slug``; ``None`` for the key of a
            provider.
        public_key: The public key, as in :class:`deploycore.events.DeployKey`.
        secret: The private key, as :class:`deploycore.secrets.SecretBox` stores it. ``None`` if the
            provider has it, or it was replaced.
        registered: The host's identifier of the key, by repository. An identifier is empty while it
            is not known whether the host has the key. If there is no repository, a person adds the
            key.
        created_at: The time of its creation, with a time zone.
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
        """The name of the application or provider."""
        return self.provider if self.application is None else self.application


@record
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
