"""The lines about deployments in the log of a process that deploys: a server, or a worker.

Every deployment and rollback passes through a ``Recorder``, which writes them, so none is missed.
Commands that show the outcome themselves set up no log, and nothing of this appears there.
"""

from __future__ import annotations

import logging

from deploycore.deployment_records import state_name
from deploycore.errors import DeploycoreError
from deploycore.redaction import Redactor
from deploycore.store import DeploymentRecord, DeploymentState

__all__ = ["log_end", "log_start"]

logger = logging.getLogger("deploycore.deployments")
logger.addHandler(logging.NullHandler())  # where no log is set up, warnings go nowhere either

_LEVELS: dict[DeploymentState, int] = {
    "failed": logging.ERROR,
    "rolled_back": logging.ERROR,
    "cancelled": logging.WARNING,
}


def log_start(record: DeploymentRecord) -> None:
    """Log that a deployment starts."""
    by = f", requested by {record.requested_by}" if record.requested_by else ""
    logger.info(
        "deployment %s of %s started: %s of %s%s",
        record.id,
        record.application,
        record.kind,
        record.ref,
        by,
    )


def log_end(record: DeploymentRecord, error: DeploycoreError | None, redactor: Redactor) -> None:
    """Log how a deployment has ended: its state, commit and duration, and its error with the hint.

    Args:
        error: The error that ended it. It is already masked, except its hint.
    """
    parts = [f"state {state_name(record.state)}", f"commit {record.commit or 'unknown'}"]
    if record.release and record.state == "healthy":
        parts.append(f"release {record.release}")
    if record.finished_at is not None:
        began = record.started_at or record.requested_at
        seconds = max(0.0, (record.finished_at - began).total_seconds())
        parts.append(f"duration {seconds:.1f} s")
    text = ", ".join(parts)
    if error is not None:
        text += f": {error.message}"
        if error.hint:
            text += f" Next: {redactor.mask(error.hint)}"
    level = _LEVELS.get(record.state, logging.INFO)
    logger.log(level, "deployment %s of %s ended: %s", record.id, record.application, text)
