"""What the store takes and gives: one frozen record for each thing that it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

__all__ = ["ApplicationRecord", "DeploymentRecord", "DeploymentState", "ProviderRecord"]

DeploymentState = Literal["running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class ProviderRecord:
    """A configured provider.

    Attributes:
        kind: The plugin's kind.
        settings: The fields of the plugin's ``Config`` that are not secret.
        secrets: The fields that are, as :class:`deploycore.secrets.SecretBox` stores them.
        created_at: Timezone-aware.
    """

    name: str
    kind: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    created_at: datetime


@dataclass(frozen=True)
class ApplicationRecord:
    """What is deployed where.

    Attributes:
        provider: The name of a configured provider.
        owner: The repository's owner, as in ``RepositoryId``.
        slug: The repository's slug, as in ``RepositoryId``.
        target: The directory of the releases; no two applications share one.
        created_at: Timezone-aware.
    """

    name: str
    provider: str
    owner: str
    slug: str
    branch: str
    target: Path
    submodules: bool
    created_at: datetime


@dataclass(frozen=True)
class DeploymentRecord:
    """One deployment of an application.

    Attributes:
        id: Grows with each deployment, and is never used again.
        commit: The full hash, once it is known.
        release: The name of the release directory, once it is known.
        started_at: Timezone-aware, in UTC.
        finished_at: ``None`` while it runs.
        error_code: The ``code`` of the error that ended it.
        error: That error, as a sentence for people.
        requested_by: Who or what asked for it; may be empty.
    """

    id: int
    application: str
    state: DeploymentState
    commit: str | None
    release: str | None
    started_at: datetime
    finished_at: datetime | None
    error_code: str | None
    error: str | None
    requested_by: str
