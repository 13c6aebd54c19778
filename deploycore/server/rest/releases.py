"""Operations about an application's releases, what a rollback would change, and its statistics."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from socket import gethostname
from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response

from deploycore.deploy import Release
from deploycore.deploy.release_changes import compare_releases
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import (
    ApplicationRecord,
    DeploymentKind,
    DeploymentRecord,
    DeploymentState,
)

__all__ = ["OPERATIONS"]

_RELEASES_MOST = 200
_COMMITS_MOST = 50
_READ_MOST = 500

_comparing = threading.BoundedSemaphore(4)
"""Maximum number of comparisons at once. One of large releases takes seconds, and threads must be
left for other requests."""

ReleaseState = Literal["live", "kept", "failed", "unknown"]


class ReleaseView(View):
    """A release on disk.

    Attributes:
        name: The name of its directory.
        path: Its directory on the server.
        state: ``live``, ``kept`` (it worked, and you can roll back to it), ``failed``, or
            ``unknown``.
        deployment_state: The result of the deployment that created it.
        made_at: When it was created.
        files: Number of its files.
        bytes: Size of its files together, in bytes.
        deployment: The id of the deployment that created it.
    """

    name: str
    path: str
    state: ReleaseState
    deployment_state: DeploymentState | None
    commit: str | None
    commit_url: str | None
    author: str | None
    subject: str | None
    committed_at: datetime | None
    made_at: datetime | None
    files: int | None
    bytes: int | None
    deployment: int | None

    @classmethod
    def of(cls, release: Release) -> ReleaseView:
        """The view of a release."""
        made = release.deployment
        return cls(
            name=release.name,
            path=str(release.path),
            state=_state(release),
            deployment_state=made and made.state,
            commit=made and made.commit,
            commit_url=made and made.commit_url,
            author=made and made.author,
            subject=made and made.subject,
            committed_at=made and made.committed_at,
            made_at=made and (made.started_at or made.requested_at),
            files=made and made.files,
            bytes=made and made.bytes,
            deployment=made and made.id,
        )


class ReleasePage(View):
    """The releases of an application, newest first.

    Attributes:
        items: The releases.
        is_here: Whether the server is on the machine that has the application's releases. Otherwise
            ``items`` is empty.
        count: Number of all releases. If there are very many, ``items`` has the newest ones.
    """

    items: Sequence[ReleaseView]
    is_here: bool
    count: int


class CommitView(View):
    """A commit that was deployed.

    Attributes:
        deployment: The id of the deployment that deployed it.
    """

    commit: str | None
    commit_url: str | None
    author: str | None
    subject: str | None
    committed_at: datetime | None
    deployment: int


class FilesView(View):
    """The files that a rollback would change.

    Attributes:
        added, changed, removed: Paths of these files. If there are very many, some are left out.
        counts: Number of files of each kind, including those that are left out.
        is_all: Whether all files were compared. In very large releases, only some are.
    """

    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
    counts: Mapping[str, int]
    is_all: bool


class ReleaseChanges(View):
    """What a rollback to a release would change.

    Attributes:
        release: The release to roll back to.
        live: The live release; ``None`` if there is none.
        direction: Whether the release is older or newer than the live one.
        commits: The commits that were deployed between the two releases, newest first. After a
            rollback to an older release they are no longer live; after a rollback to a newer one
            they are live again.
        files: The files that would change; ``None`` if the releases cannot be compared.
    """

    release: ReleaseView
    live: ReleaseView | None
    direction: Literal["older", "newer", "none"]
    commits: Sequence[CommitView]
    files: FilesView | None


class TimingView(View):
    """The duration of a deployment.

    Attributes:
        id: The id of the deployment.
        kind: Whether it is a deployment or a rollback.
        state: The result.
        finished_at: When it ended.
        seconds: Seconds that each phase took.
        total: Seconds from its start to its end, without the time in the queue.
    """

    id: int
    kind: DeploymentKind
    state: DeploymentState
    finished_at: datetime
    seconds: Mapping[str, float]
    total: float


class Statistics(View):
    """The last finished deployments, oldest first.

    Attributes:
        items: The deployments.
        succeeded, failed: Number of deployments that succeeded or failed. Canceled, skipped and
            superseded deployments do not count.
        success_rate: Share of successful deployments, from 0 to 1; ``None`` if none succeeded or
            failed.
        median_seconds: Median duration of the successful deployments.
    """

    items: Sequence[TimingView]
    succeeded: int
    failed: int
    success_rate: float | None
    median_seconds: float | None


class StatisticsQuery(Given):
    """The number of deployments to return.

    Attributes:
        limit: Maximum number of deployments.
    """

    limit: Annotated[int, Field(ge=1, le=200)] = 50


def list_releases(api: Api, call: Call) -> Response:
    """List the releases of an application that are on disk, newest first."""
    record = api.application(call.path["application"])
    if not _is_here(record):
        return answer(ReleasePage(items=[], is_here=False, count=0))
    found = api.installation.releases(record.name)
    items = [ReleaseView.of(each) for each in found[:_RELEASES_MOST]]
    return answer(ReleasePage(items=items, is_here=True, count=len(found)))


def get_release_changes(api: Api, call: Call) -> Response:
    """Get the commits and files that a rollback to a release would change."""
    record = api.application(call.path["application"])
    wanted = call.path["release"]
    found = api.installation.releases(record.name) if _is_here(record) else []
    release = next((each for each in found if each.name == wanted), None)
    if release is None:
        raise Refusal(
            404,
            "not_found",
            f"The application {record.name} has no release {wanted[:80]!r} on this machine.",
            hint=f"List the releases: GET {PREFIX}/applications/{record.name}/releases",
        )
    live = next((each for each in found if each.is_live), None)
    files = None
    if live is not None and live.name != release.name:
        files = _compared(live, release)
    return answer(
        ReleaseChanges(
            release=ReleaseView.of(release),
            live=live and ReleaseView.of(live),
            direction=_direction(release, live),
            commits=_commits_between(api, record.name, release, live),
            files=files,
        )
    )


def _compared(live: Release, release: Release) -> FilesView:
    if not _comparing.acquire(blocking=False):
        raise Refusal(
            503,
            "busy",
            "Other requests are comparing releases.",
            hint="Send the request again in a few seconds.",
            headers={"Retry-After": "5"},
        )
    try:
        return FilesView.model_validate(compare_releases(live.path, release.path))
    finally:
        _comparing.release()


def get_statistics(api: Api, call: Call) -> Response:
    """Get the success rate of an application's last deployments, and their durations by phase."""
    name = api.application(call.path["application"]).name
    query: StatisticsQuery = call.query
    records = api.installation.store.deployments.list(name, limit=query.limit + 10)
    ended = [
        _timing(each, each.finished_at)
        for each in records
        if each.finished_at and each.state != "superseded"
    ]
    items = ended[: query.limit][::-1]
    good = [each for each in items if each.state == "healthy"]
    failed = sum(each.state in ("failed", "rolled_back") for each in items)
    judged = len(good) + failed
    totals = [each.total for each in good if each.kind == "deploy"]
    return answer(
        Statistics(
            items=items,
            succeeded=len(good),
            failed=failed,
            success_rate=len(good) / judged if judged else None,
            median_seconds=statistics.median(totals) if totals else None,
        )
    )


def _is_here(record: ApplicationRecord) -> bool:
    return record.definition.host in (None, gethostname())


def _state(release: Release) -> ReleaseState:
    if release.is_live:
        return "live"
    if release.deployment is None:
        return "unknown"
    return "kept" if release.deployment.state == "healthy" else "failed"


def _direction(release: Release, live: Release | None) -> Literal["older", "newer", "none"]:
    if live is None or live.name == release.name or not (live.deployment and release.deployment):
        return "none"
    return "older" if release.deployment.id < live.deployment.id else "newer"


def _commits_between(
    api: Api, application: str, release: Release, live: Release | None
) -> list[CommitView]:
    """Return the commits that were live after the older of two releases, up to the newer one."""
    if live is None or live.deployment is None or release.deployment is None:
        return []
    first, last = sorted((release.deployment.id, live.deployment.id))
    records = api.installation.store.deployments.list(
        application, kind="deploy", state="healthy", before=last + 1, limit=_READ_MOST
    )
    known: dict[str, CommitView] = {}
    for each in records:
        if each.id <= first or len(known) == _COMMITS_MOST:
            break
        if each.commit is not None and each.commit not in known:
            view = CommitView.model_validate({**vars(each), "deployment": each.id})
            known[each.commit] = view
    return list(known.values())


def _timing(record: DeploymentRecord, ended: datetime) -> TimingView:
    began = record.started_at or record.requested_at
    seconds = {phase: took for phase, took in record.seconds.items() if phase != "queued"}
    return TimingView(
        id=record.id,
        kind=record.kind,
        state=record.state,
        finished_at=ended,
        seconds=seconds,
        total=max(0.0, (ended - began).total_seconds()),
    )


_APPLICATION = f"{PREFIX}/applications/{{application}}"

OPERATIONS = (
    Operation("GET", f"{_APPLICATION}/releases", "read", list_releases, {200: ReleasePage}),
    Operation(
        "GET",
        f"{_APPLICATION}/releases/{{release}}/changes",
        "read",
        get_release_changes,
        {200: ReleaseChanges},
    ),
    Operation(
        "GET",
        f"{_APPLICATION}/statistics",
        "read",
        get_statistics,
        {200: Statistics},
        query=StatisticsQuery,
    ),
)
