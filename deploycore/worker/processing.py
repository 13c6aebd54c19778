"""Process one application: deploy its newest commit, and settle its triggers.

The caller has the application's claim. A deployment settles the triggers that existed when it
started. A trigger that arrives during the deployment stays open, and the application is processed
again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploycore.deploy import DeployListener, no_listener, typed_error
from deploycore.deployment_records import DeploymentCause
from deploycore.errors import DeploycoreError, UnexpectedAnswer
from deploycore.git import Cancellation
from deploycore.installation import Installation
from deploycore.store import DeploymentRecord, PendingApplication, TriggerRecord
from deploycore.worker.events import WorkerEvent, WorkerListener
from deploycore.worker.retries import GIVEN_UP_AFTER, seconds_to_retry

__all__ = ["Slot", "process_application"]

logger = logging.getLogger(__name__)

_LOOKS_FOR_A_COMMIT = 3
_BY_PERSON = "request"  # the cause of requests over REST, which people send
_CAUSES: Mapping[str, DeploymentCause] = {
    "push": "push",
    "poll": "poll",
    "pull_request": "preview",
    _BY_PERSON: "api",
}
"""The causes of triggers, as observers receive them."""


@dataclass
class Slot:
    """A worker's slot with the application that it processes.

    Attributes:
        pending: The application.
        claimed: When the worker claimed it, by the monotonic clock; ``None`` before.
        cancellation: Cancels the deployment.
        interrupted: Whether the worker itself has stopped it, so that another worker continues.
    """

    pending: PendingApplication
    claimed: float | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)
    interrupted: bool = False

    def interrupt(self) -> None:
        """Stop, and leave the triggers to another worker."""
        self.interrupted = True
        self.cancellation.cancel()


def process_application(
    installation: Installation,
    application: str,
    slot: Slot,
    listener: WorkerListener,
    deployments: DeployListener = no_listener,
) -> None:
    """Deploy a claimed application, and record the outcome of its triggers.

    Args:
        deployments: Called with the events of the deployment.

    Raises:
        StoreError: The outcome cannot be recorded; the triggers stay open.
    """
    triggers = installation.store.triggers.open(application)
    if not triggers or slot.interrupted:
        return
    try:
        done = installation.deploy(
            application,
            requested_by=_who(triggers),
            cause=_CAUSES.get(triggers[-1].cause, ""),
            force=any(each.force for each in triggers),
            automatic=all(each.cause != _BY_PERSON for each in triggers),
            cancellation=slot.cancellation,
            claimed=True,
            listener=deployments,
        )
    except Exception as raised:
        _failed(installation, application, triggers, raised, slot, listener)
        return
    if _is_behind(installation, triggers, done):
        behind = UnexpectedAnswer(
            f"The git host does not show the commit yet that it reported for {application}.",
            hint="Wait: deploycore asks the git host again.",
        )
        _failed(installation, application, triggers, behind, slot, listener)
        return
    installation.store.triggers.settle([each.id for each in triggers], deployment=done.id)
    listener(
        WorkerEvent(
            "settled",
            application,
            datetime.now(UTC),
            triggers=len(triggers),
            deployment=done.id,
            state=done.state,
            commit=done.commit,
            seconds=_seconds(done),
        )
    )


def _is_behind(
    installation: Installation, triggers: Sequence[TriggerRecord], done: DeploymentRecord
) -> bool:
    """Whether nothing was deployed although the last trigger reported another commit.

    A host's git server may see a push later than its webhook reports it. After some attempts, the
    result is accepted, because the ref may have moved back.
    """
    told, tries = triggers[-1].commit, max(each.attempts for each in triggers)
    if done.state != "skipped" or told is None or tries >= _LOOKS_FOR_A_COMMIT:
        return False
    deployments = installation.store.deployments
    live = deployments.list(done.application, state="healthy", limit=1)
    found = done.commit or (live[0].commit if live else None)
    return found is not None and not found.startswith(told)


def _failed(
    installation: Installation,
    application: str,
    triggers: Sequence[TriggerRecord],
    raised: Exception,
    slot: Slot,
    listener: WorkerListener,
) -> None:
    now = datetime.now(UTC)
    if slot.interrupted:
        # The triggers stay open. If the claim was lost, they belong to another worker now.
        listener(WorkerEvent("interrupted", application, now, triggers=len(triggers)))
        logger.info(
            "the deployment of %s was interrupted; another worker, or this one after a restart,"
            " will deploy it",
            application,
        )
        return
    error = typed_error(raised)
    deployment = error.details.get("deployment")
    seconds = seconds_to_retry(error, max(each.attempts for each in triggers), now=now)
    again = [each.id for each in triggers if now - each.received_at < GIVEN_UP_AFTER]
    if seconds is None:
        again = []
    over = [each.id for each in triggers if each.id not in again]
    store = installation.store.triggers
    if again and seconds is not None:
        store.postpone(again, seconds=seconds, error_code=error.code)
    if over:
        store.settle(over, deployment=deployment, error_code=error.code)
    _log_failure(application, error, seconds if again else None)
    listener(
        WorkerEvent(
            "postponed" if again else "settled",
            application,
            now,
            triggers=len(triggers),
            deployment=deployment,
            error_code=error.code,
            error=error.message,
            hint=error.hint or None,
            retry_seconds=round(seconds, 1) if again and seconds is not None else None,
        )
    )


def _log_failure(application: str, error: DeploycoreError, seconds: float | None) -> None:
    """Log an error that is not in the record of a deployment, and when the work is retried."""
    if "deployment" not in error.details:  # otherwise the end of the deployment was logged
        hint = f" Next: {error.hint}" if error.hint else ""
        level = logging.ERROR if seconds is None else logging.WARNING
        logger.log(level, "%s was not deployed: %s%s", application, error.message, hint)
    if seconds is not None:
        logger.info("%s will be retried in %.0f s", application, seconds)


def _seconds(done: DeploymentRecord) -> float | None:
    if done.finished_at is None:
        return None
    began = done.started_at or done.requested_at
    return round(max(0.0, (done.finished_at - began).total_seconds()), 3)


def _who(triggers: Sequence[TriggerRecord]) -> str:
    """Return the requester for the history: the actor of the newest trigger."""
    newest = triggers[-1]
    return f"{newest.actor} ({newest.cause})" if newest.actor else newest.cause
