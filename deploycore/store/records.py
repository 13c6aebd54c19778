"""What the store takes and gives: one frozen record for each thing that it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from deploycore.application import Application
from deploycore.store.states import FINAL_STATES, DeploymentState

__all__ = ["ApplicationRecord", "DeploymentKind", "DeploymentRecord", "ProviderRecord"]

DeploymentKind = Literal["deploy", "rollback"]


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
class DeploymentRecord:
    """One deployment of an application, or one rollback.

    Attributes:
        id: Grows with each deployment, and is never used again.
        ref: The branch, tag or commit that was asked for.
        commit: The full hash, once it is known.
        release: The name of the release directory, once it is known.
        previous: The release that was live when this one was about to be; ``None`` if none was.
        requested_by: Who or what asked for it; may be empty.
        requested_at: Timezone-aware, in UTC, as all times are.
        started_at: ``None`` while it waits for its turn.
        finished_at: ``None`` until it has come to an end.
        error_code: The ``code`` of the error that ended it.
        error: That error, as a sentence for people.
        author: Of the commit.
        subject: Of the commit.
        committed_at: When that was made.
        files: How many it has.
        bytes: What they hold together.
        seconds: How long each phase took, by its name.
        cancel_requested: Whether somebody asked for it to stop.
        revision: The application's, as it was deployed.
        unproved: Whether more had to be done, once it was live, to see that it works.
        host: The name of the machine that it runs, or waits, on; empty if that is not known.
        home: The data directory of the process that runs it, or waits with it.
    """

    id: int
    application: str
    kind: DeploymentKind
    state: DeploymentState
    ref: str
    commit: str | None
    release: str | None
    previous: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error: str | None
    author: str | None
    subject: str | None
    committed_at: datetime | None
    files: int | None
    bytes: int | None
    seconds: Mapping[str, float]
    cancel_requested: bool
    revision: int | None
    unproved: bool
    host: str
    home: str

    @property
    def is_finished(self) -> bool:
        """Whether it has come to an end."""
        return self.state in FINAL_STATES
