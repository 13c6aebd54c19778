"""Models of the API's requests and responses, which also give the schema.

None of them has a field for a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deploycore.deploy import LogLine
from deploycore.store import (
    ApplicationRecord,
    DeploymentKind,
    DeploymentRecord,
    DeploymentState,
    TriggerRecord,
)

__all__ = [
    "Accepted",
    "ApplicationPage",
    "ApplicationQuery",
    "ApplicationView",
    "Changed",
    "DeploymentPage",
    "DeploymentQuery",
    "DeploymentRequest",
    "DeploymentView",
    "Health",
    "LogLineView",
    "LogPage",
    "LogQuery",
    "NoQuery",
    "Problem",
    "RemovalQuery",
    "Removed",
    "RollbackRequest",
    "TriggerView",
]

Identifier = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""The id of a deployment or trigger; what databases call an integer."""


class View(BaseModel):
    """A part of a response."""

    model_config = ConfigDict(frozen=True, from_attributes=True, extra="ignore")


class Given(BaseModel):
    """A part of a request. Unknown fields are errors, because they may be misspelled."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Problem(View):
    """Why a request was refused (RFC 9457), with what to do next."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    hint: str
    details: dict[str, Any]


class Accepted(View):
    """What became of a delivery; ``message`` says for people why it is known."""

    status: Literal["accepted", "known", "ignored"]
    trigger: int | None = None
    reason: str | None = None
    message: str | None = None


class Health(View):
    """How the server is; ``missing`` says what the checks that failed lack."""

    status: Literal["ok", "failed"]
    checks: dict[str, Literal["ok", "failed"]]
    missing: dict[str, str] = {}


class ApplicationView(View):
    """An application; its declaration is what PUT takes."""

    name: str
    declaration: dict[str, Any]
    revision: int
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, record: ApplicationRecord) -> ApplicationView:
        """The view of a record."""
        declaration = record.definition.as_dict()
        del declaration["name"]
        return cls(
            name=record.name,
            declaration=declaration,
            revision=record.revision,
            created_at=record.created_at,
            changed_at=record.changed_at,
        )


class ApplicationPage(View):
    """All applications."""

    items: Sequence[ApplicationView]


class ApplicationQuery(Given):
    """How an application is changed.

    Attributes:
        verify: Whether to check first that the repository and the ref exist at the git host.
        dry_run: Whether only to check, without changing anything.
        revision: The revision that the application must still have; 0 if it must not exist.
    """

    verify: bool = False
    dry_run: bool = False
    revision: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class ChangedField(View):
    """A field of a declaration, before and after a change; ``None`` if it is not set."""

    before: Any
    after: Any


class Changed(View):
    """What a declaration has changed.

    Attributes:
        application: The application; ``None`` if a dry run would create it.
        fields: The changed fields, by their paths.
        warnings: What may be wrong with the declaration, such as steps that seem to need a shell.
    """

    change: Literal["create", "change", "unchanged"]
    application: ApplicationView | None
    fields: Mapping[str, ChangedField]
    warnings: Sequence[str]


class DeploymentView(View):
    """A deployment or a rollback.

    Attributes:
        commit_url: The address of the commit's page at the git host; ``None`` if it is not known.
        hint: The next step after the error, where one deployment is asked for.
    """

    id: int
    application: str
    kind: DeploymentKind
    state: DeploymentState
    ref: str
    commit: str | None
    commit_url: str | None = None
    author: str | None
    subject: str | None
    committed_at: datetime | None
    release: str | None
    previous: str | None
    previous_commit: str | None
    files: int | None
    bytes: int | None
    seconds: Mapping[str, float]
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error: str | None
    hint: str | None = None
    removed_at: datetime | None

    @classmethod
    def of(cls, record: DeploymentRecord) -> DeploymentView:
        """The view of a record."""
        return cls.model_validate(record)


class DeploymentPage(View):
    """Some deployments, the newest first, and where the older ones are."""

    items: Sequence[DeploymentView]
    next: str | None


class TriggerView(View):
    """Why an application is to be looked at, and what came of it."""

    id: int
    application: str
    cause: str
    ref: str
    commit: str | None
    actor: str
    received_at: datetime
    attempts: int
    settled_at: datetime | None
    deployment: int | None
    error_code: str | None
    force: bool

    @classmethod
    def of(cls, record: TriggerRecord) -> TriggerView:
        """The view of a record."""
        return cls.model_validate(record)


class LogLineView(View):
    """A line of a deployment's log."""

    at: datetime
    kind: str
    phase: str
    text: str

    @classmethod
    def of(cls, line: LogLine) -> LogLineView:
        """The view of a line."""
        return cls.model_validate(line)


class LogPage(View):
    """Some lines of a log.

    Attributes:
        position: What to give as ``after`` for the lines behind them.
        start: The position from which the lines were read; 0 at the beginning of the log.
        finished: Whether the deployment has ended.
    """

    items: Sequence[LogLineView]
    position: int
    start: int
    finished: bool


class NoQuery(Given):
    """No parameters."""


class DeploymentQuery(Given):
    """Which deployments are wanted.

    Attributes:
        before: Only those that are older than the one of this id.
    """

    application: Annotated[str, Field(max_length=63)] | None = None
    state: DeploymentState | None = None
    before: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class LogQuery(Given):
    """Which lines of a log are wanted.

    Attributes:
        after: From which position on.
        last: Only so many lines at the end; ``after`` has no effect then.
        search: Only lines with this text, in any case.
    """

    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    last: Annotated[int, Field(ge=1, le=1000)] | None = None
    search: Annotated[str, Field(max_length=200)] = ""


class DeploymentRequest(Given):
    """How the newest commit is to be deployed.

    Attributes:
        force: Whether to make a new release of a commit that is live already.
    """

    force: bool = False


class RemovalQuery(Given):
    """What goes with an application.

    Attributes:
        purge: Whether its history and its logs are erased too.
        with_previews: Whether the directories of its previews are removed too.
        keep_webhook: Whether the git host is not asked to remove its webhook.
        force: Whether damaged records of deployments that have not ended are deleted.
    """

    purge: bool = False
    with_previews: bool = False
    keep_webhook: bool = False
    force: bool = False


class Removed(View):
    """What a user has to remove after an application was removed.

    Attributes:
        dropped: Deployments that had not ended, and whose damaged records were deleted.
        error: Why the git host still has the webhook.
    """

    remains: Sequence[str]
    dropped: Sequence[int]
    error: str | None


class RollbackRequest(Given):
    """Which release is wanted back.

    Attributes:
        to: A release's name, or its commit; by default the last different commit that worked.
    """

    to: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z._-]+$")] | None = (
        None
    )
