"""Recovery of deployments whose process died.

The caller holds the target's lock, and so knows that none of these deployments runs. The record
shows what may have happened (see ``deploycore.store.states``); the link ``current`` shows what did
happen.
"""

from __future__ import annotations

from deploycore.deploy.activation import Activation
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.errors import Cancelled, DeployError

__all__ = ["settle"]


def settle(releases: Releases, recorder: Recorder, activation: Activation) -> None:
    """Record the end of one unfinished deployment, and make sure that a working release is live.

    If its release is live but was not proved to work, the previous release is restored. If another
    release is live by now, that one stays. Nothing is removed here: see ``cleaning``.

    Raises:
        DeploycoreError: The live release cannot be determined, or the end cannot be recorded.
    """
    record = recorder.record
    release = releases.directory / record.release if record.release else None
    previous = releases.directory / record.previous if record.previous else None
    current = releases.current
    is_live = record.state == "activating" and release == current
    is_ill = record.error_code is not None
    kind = Cancelled if record.error_code == Cancelled.code else DeployError
    error = kind(record.error or "The process ended before the deployment did.")
    if is_live and not record.unproved and not is_ill:
        recorder.finish("healthy")
    elif release is not None and (is_live or (is_ill and previous == current)):
        activation.take_back(release, previous, error)
    else:
        recorder.finish("failed", error)
