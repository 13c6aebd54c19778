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
"""The id of a deployment or trigger, in the range of a database's integer."""


class View(BaseModel):
    """A part of a response.

    Attributes:
        items: The items of this page.
        next: The path of the next page; ``None`` if this is the last one.
        limit: Maximum number of items.
        application: The name of the application.
        provider: The name of the provider.
        repository: The repository, such as ``acme/shop``.
        ref: The branch, tag or commit that was requested.
        commit: The full hash of the commit; ``None`` if it is not known.
        author: The author of the commit.
        subject: The first line of the commit's message.
        committed_at: When the commit was created.
        commit_url: The address of the commit's page at the git host; ``None`` if it is not known.
        created_at: When it was created.
        changed_at: When it was last changed.
        expires_at: When it expires; ``None`` if it does not.
        role: What it allows: ``read``, ``deploy`` or ``admin``. Each role includes those before it.
        message: What was found, as a sentence.
        hint: The next step; empty if there is none.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True, extra="ignore")


class Given(BaseModel):
    """A part of a request. Unknown fields are errors, because they may be misspelled.

    Attributes:
        limit: Maximum number of items in the response.
        application: The name of an application.
        provider: The name of a provider.
        name: The name, which cannot be changed later.
        role: What it allows: ``read``, ``deploy`` or ``admin``. Each role includes those before it.
        verify: Whether the git host has to accept the credentials before anything is stored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Problem(View):
    """The reason why a request failed (RFC 9457), and the next step.

    Attributes:
        type: Always ``about:blank``. Use ``code`` to tell problems apart.
        title: The name of the status code.
        status: The HTTP status code.
        detail: What failed, and why; the same as ``message``.
        code: The code of the error, for programs.
        message: What failed, and why.
        hint: The next step; empty if there is none.
        details: Values of the error, such as ``application`` or ``fields``.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    hint: str
    details: dict[str, Any]


class Accepted(View):
    """The result of a delivery.

    Attributes:
        status: ``accepted`` (a trigger is stored), ``known`` (it was received before), or
            ``ignored``.
        trigger: The id of the stored trigger; ``None`` if there is none.
        reason: Why the delivery was ignored, as a code.
        message: Why the delivery was ignored or is known, as a sentence.
    """

    status: Literal["accepted", "known", "ignored"]
    trigger: int | None = None
    reason: str | None = None
    message: str | None = None


class Health(View):
    """The state of the server.

    Attributes:
        status: Whether all checks succeeded.
        checks: The result of each check, by its name.
        missing: What is missing, by the name of each check that failed.
    """

    status: Literal["ok", "failed"]
    checks: dict[str, Literal["ok", "failed"]]
    missing: dict[str, str] = {}


class ApplicationView(View):
    """An application.

    Attributes:
        name: The name of the application.
        declaration: The fields of the application, as PUT takes them.
        revision: The number of changes of the declaration; PUT can require it.
        preview_of: The application that it is a preview of; ``None`` if it is no preview.
    """

    name: str
    declaration: dict[str, Any]
    revision: int
    created_at: datetime
    changed_at: datetime
    preview_of: str | None = None

    @classmethod
    def of(cls, record: ApplicationRecord, *, preview_of: str | None = None) -> ApplicationView:
        """The view of a record."""
        declaration = record.definition.as_dict()
        del declaration["name"]
        return cls(
            name=record.name,
            declaration=declaration,
            revision=record.revision,
            created_at=record.created_at,
            changed_at=record.changed_at,
            preview_of=preview_of,
        )


class ApplicationPage(View):
    """All applications."""

    items: Sequence[ApplicationView]


class ApplicationQuery(Given):
    """How to change an application.

    Attributes:
        verify: Whether to check first that the repository and the ref exist at the git host.
        dry_run: Whether to check only, without changing anything.
        revision: The current revision of the application; 0 if it must not exist. If another client
            has changed it since, the request is refused.
    """

    verify: bool = False
    dry_run: bool = False
    revision: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class ChangedField(View):
    """A field of a declaration, before and after a change.

    Attributes:
        before: The previous value; ``None`` if it was not set.
        after: The new value; ``None`` if it is not set.
    """

    before: Any
    after: Any


class Changed(View):
    """The result of creating or updating an application.

    Attributes:
        change: What was done, or what a dry run would do.
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
        id: The id of the deployment. Newer deployments have higher ids.
        kind: Whether it is a deployment or a rollback.
        state: The current phase, or the result.
        release: The name of its release; ``None`` until it is known.
        previous: The release that was live before; ``None`` if there was none.
        previous_commit: The commit of the release that was live before.
        files: Number of files in the commit.
        bytes: Size of these files together, in bytes.
        seconds: Seconds that each phase took.
        requested_by: The person or program that requested it; may be empty.
        requested_at: When it was requested.
        started_at: When it started; ``None`` while it waits.
        finished_at: When it ended; ``None`` until then.
        error_code: The code of the error that ended it.
        error: The message of that error.
        hint: The next step after the error. Lists of deployments do not have it.
        removed_at: When the application was removed; ``None`` if it was not.
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
    """A page of deployments and rollbacks, newest first."""

    items: Sequence[DeploymentView]
    next: str | None


class TriggerView(View):
    """A stored request to deploy an application, and its result.

    Attributes:
        id: The id of the trigger. Newer triggers have higher ids.
        cause: The reason: ``push``, ``pull_request``, ``poll``, ``request`` and others.
        ref: The branch or tag of the event; may be empty.
        commit: The commit of the event. The deployment uses the commit that the ref points to when
            it starts.
        actor: The account that caused the event; may be empty.
        received_at: When it was stored.
        attempts: Number of attempts that failed and are retried.
        settled_at: When it was settled by a deployment or an error; ``None`` while it waits.
        deployment: The id of the deployment that settled it; ``None`` if there is none.
        error_code: The code of the error that settled it, or of the last attempt.
        force: Whether to deploy the commit again if it is already live.
    """

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
    """A line of a deployment's log.

    Attributes:
        at: When the line was written.
        kind: What the line reports, such as the start of a phase or the output of a step.
        phase: The phase of the deployment.
        text: The text of the line; secrets are masked.
    """

    at: datetime
    kind: str
    phase: str
    text: str

    @classmethod
    def of(cls, line: LogLine) -> LogLineView:
        """The view of a line."""
        return cls.model_validate(line)


class LogPage(View):
    """Lines of a deployment's log.

    Attributes:
        items: The lines.
        position: The position after the last line. Send it as ``after`` to get the following lines.
        start: The position of the first line; 0 at the beginning of the log.
        finished: Whether the deployment has ended.
    """

    items: Sequence[LogLineView]
    position: int
    start: int
    finished: bool


class NoQuery(Given):
    """No parameters."""


class DeploymentQuery(Given):
    """The deployments to return.

    Attributes:
        application: Return only deployments of this application.
        state: Return only deployments in this state.
        before: Return deployments that are older than the deployment with this id.
    """

    application: Annotated[str, Field(max_length=63)] | None = None
    state: DeploymentState | None = None
    before: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class LogQuery(Given):
    """The lines of a log to return.

    Attributes:
        after: Return lines from this position on.
        last: Return this number of lines from the end, and ignore ``after``.
        search: Return only lines that contain this text; case is ignored.
    """

    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    last: Annotated[int, Field(ge=1, le=1000)] | None = None
    search: Annotated[str, Field(max_length=200)] = ""


class DeploymentRequest(Given):
    """How to deploy the newest commit.

    Attributes:
        force: Whether to deploy the commit again if it is already live.
    """

    force: bool = False


class RemovalQuery(Given):
    """What to remove together with an application.

    Attributes:
        purge: Whether to delete its history and logs too.
        with_previews: Whether to delete the directories of its previews too.
        keep_webhook: Whether to keep its webhook at the git host.
        force: Whether to delete damaged records of unfinished deployments.
    """

    purge: bool = False
    with_previews: bool = False
    keep_webhook: bool = False
    force: bool = False


class Removed(View):
    """What you have to remove yourself after an application was removed.

    Attributes:
        remains: What was not removed, and how to remove it.
        dropped: Ids of unfinished deployments whose damaged records were deleted.
        error: Why the git host still has the webhook; ``None`` if it does not.
        problem: The same as an error with its code and its hint.
    """

    remains: Sequence[str]
    dropped: Sequence[int]
    error: str | None
    problem: dict[str, Any] | None


class RollbackRequest(Given):
    """The release to roll back to.

    Attributes:
        to: The name of a release, or its commit (default: the last different commit that worked).
    """

    to: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z._-]+$")] | None = (
        None
    )
