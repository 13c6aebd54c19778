"""Report the status of deployments to the git host: the build statuses of commits.

Reports are sent in a separate thread with a limited queue. So a host that is slow, rejects reports
or is unreachable does not delay or fail a deployment. The status is read from the store just before
it is sent, so a report is never out of date.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from dataclasses import dataclass
from functools import partial

from deploycore.applications.application import Application
from deploycore.deploy import DeployEvent, InterruptibleProvider
from deploycore.deploy.selection import withdrawn_commits
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.events import CommitState, CommitStatus, DeploymentStatus
from deploycore.installation import Installation
from deploycore.models import RepositoryId, is_commit_hash
from deploycore.provider import Provider
from deploycore.store import FINAL_STATES, DeploymentRecord, DeploymentState

__all__ = ["Reporter", "as_deployment", "status_of"]

logger = logging.getLogger(__name__)

CALL_SECONDS = 20.0
GOODBYE_SECONDS = 10.0
QUEUE_LENGTH = 500
_LATER_ONES = 20
_KEY_LENGTH = 40
_PREFIX = "deploycore/"
_BRANCHES = "refs/heads/"
_COMMIT_IS_KNOWN = "fetching"

_ENDS: dict[DeploymentState, tuple[CommitState, str]] = {
    "healthy": ("successful", "is live"),
    "skipped": ("successful", "is live; nothing had to be done"),
    "failed": ("failed", "was not deployed"),
    "rolled_back": ("failed", "did not work; the previous release is live again"),
    "cancelled": ("stopped", "was canceled"),
    "superseded": ("stopped", "gave way to a newer deployment"),
}


@dataclass(frozen=True)
class _Told:
    deployment: int
    application: str
    ends: bool


class Reporter:
    """Reports a worker's deployments to their git hosts. Call ``start`` and ``close``.

    Args:
        call_seconds: The maximum time of one call of a plugin.
        length: The maximum number of waiting reports. Further reports are left out.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        call_seconds: float = CALL_SECONDS,
        length: int = QUEUE_LENGTH,
    ) -> None:
        self._installation = installation
        self._call_seconds = call_seconds
        self._waiting: queue.Queue[_Told | None] = queue.Queue(length)
        self._thread: threading.Thread | None = None
        # The kinds of failures that were logged for each provider since it last accepted a report.
        self._logged: dict[str, set[str]] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-report", daemon=True
        )
        self._thread.start()

    def listen(self, event: DeployEvent) -> None:
        """Queue an event of a deployment for reporting; never blocks."""
        if event.kind != "state":
            return
        ends = event.phase in FINAL_STATES
        if not ends and event.phase != _COMMIT_IS_KNOWN:
            return
        try:
            self._waiting.put_nowait(_Told(event.deployment, event.application, ends))
        except queue.Full:
            self._log_once(
                "", "full", "deployments are not reported to git hosts: too many reports are queued"
            )

    def close(self, seconds: float = GOODBYE_SECONDS) -> None:
        """Stop, after waiting a limited time until everything is reported."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            logger.warning(
                "some deployments were not reported to git hosts, because too many reports are"
                " waiting"
            )
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning(
                "some deployments may not be reported: a git host did not answer in time"
            )

    def _run(self) -> None:
        while (told := self._waiting.get()) is not None:
            provider = ""
            try:
                application = self._installation.store.get_application(told.application)
                provider = application.definition.provider
                if self._report(told, application.definition):
                    self._logged.pop(provider, None)
            except DeploycoreError as error:
                if isinstance(error, ConfigurationError) and not provider:
                    continue  # the application was removed in the meantime
                self._log_once(
                    provider,
                    error.code,
                    f"deployment {told.deployment} of {told.application} could not be reported to"
                    f" the git host: {error.message}",
                )
            except Exception as error:
                name = type(error).__name__
                self._log_once(
                    provider, name, f"deployments could not be reported to the git host: {name}"
                )

    def _report(self, told: _Told, definition: Application) -> bool:
        """Report to the host; returns whether it was reported."""
        if definition.auto_deploy is None or not definition.auto_deploy.report_status:
            return False
        record = self._newest_of_its_commit(told.deployment)
        if record.is_finished and not told.ends:
            return False  # the event of its end is in the queue too
        if self._was_withdrawn(record):
            return False  # the release is not live, and the state has not changed
        status = status_of(
            record,
            ref=definition.ref,
            commit=record.commit or self._live_commit(record),
            public_url=self._installation.settings.public_url,
        )
        if status is None:
            return False
        with InterruptibleProvider(
            definition.provider,
            lambda: self._installation.open_provider(definition.provider),
            seconds=self._call_seconds,
            look=lambda: None,
        ) as provider:
            return _tell(provider, definition.repository_id, status, as_deployment(record, status))

    def _newest_of_its_commit(self, deployment: int) -> DeploymentRecord:
        """Find the newest deployment of the same commit, which is what the host should show.

        A worker that was paused may report long after another one has taken over.
        """
        deployments = self._installation.store.deployments
        record = deployments.get(deployment)
        if record.commit is None:
            return record
        newest = deployments.list(record.application, limit=_LATER_ONES)
        return next((each for each in newest if each.commit == record.commit), record)

    def _was_withdrawn(self, record: DeploymentRecord) -> bool:
        """Whether a deployment was skipped because its commit was rolled back from."""
        if record.state != "skipped" or record.commit is None:
            return False
        deployments = self._installation.store.deployments
        history = deployments.commit_history(record.application, record.commit)
        return record.commit in withdrawn_commits(history)

    def _live_commit(self, record: DeploymentRecord) -> str | None:
        """Get the commit that a skipped deployment found live.

        It is reported again, since the first report may have been lost with its process.
        """
        if record.state != "skipped":
            return None
        found = self._installation.store.deployments.list(
            record.application, state="healthy", limit=1
        )
        return found[0].commit if found else None

    def _log_once(self, provider: str, kind: str, text: str) -> None:
        known = self._logged.setdefault(provider, set())
        if kind not in known:
            known.add(kind)
            logger.warning("%s", text)


def _tell(
    provider: Provider,
    repository: RepositoryId,
    status: CommitStatus,
    deployment: DeploymentStatus,
) -> bool:
    """Report in both ways; returns whether the host accepted one of them.

    If it refuses one, for example because of a missing permission, the other is still sent.
    """
    told = False
    failures = []
    for hook, report in (
        ("report_status", partial(provider.report_status, repository, status)),
        ("report_deployment", partial(provider.report_deployment, repository, deployment)),
    ):
        if not provider.supports(hook):
            continue
        try:
            report()
            told = True
        except DeploycoreError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return told


def status_of(
    record: DeploymentRecord, *, ref: str, commit: str | None, public_url: str | None
) -> CommitStatus | None:
    """Return the status to report for a deployment; ``None`` if its commit is not known.

    Args:
        ref: The ref of the application.
        commit: The commit of the deployment, if it is known.
        public_url: The address of the server, for the link to the log.
    """
    if commit is None:
        return None
    name = record.application
    state, said = _ENDS.get(record.state, ("in_progress", "is being deployed"))
    code = f" ({record.error_code})" if state in ("failed", "stopped") and record.error_code else ""
    log = f"{public_url}/api/v1/deployments/{record.id}/log" if public_url else ""
    return CommitStatus(
        commit=commit,
        key=_key(name),
        state=state,
        name=f"Deployment of {name}",
        # The error's sentence stays here: it may say more than the host's readers should know.
        description=f"Deployment {record.id}: {commit[:12]} {said}{code}",
        url=log,
        ref="" if is_commit_hash(ref) else ref.removeprefix(_BRANCHES),
    )


def as_deployment(record: DeploymentRecord, status: CommitStatus) -> DeploymentStatus:
    """Return the same status for the host's list of deployments."""
    return DeploymentStatus(
        deployment=record.id,
        commit=status.commit,
        environment=record.application,
        state=status.state,
        description=status.description,
        url=status.url,
        ref=status.ref,
    )


def _key(application: str) -> str:
    """Return the key of an application's statuses. It is unique among applications."""
    whole = f"{_PREFIX}{application}"
    if len(whole) <= _KEY_LENGTH:
        return whole
    digest = hashlib.sha256(application.encode()).hexdigest()[:10]
    return f"{whole[: _KEY_LENGTH - len(digest) - 1]}-{digest}"
