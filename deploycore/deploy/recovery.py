"""Deployments whose process has died, brought to their true end.

For who holds the target's lock, and so knows that nothing of this runs. What was recorded says
what can have happened (see ``deploycore.store.states``); the link says what has.
"""

from __future__ import annotations

from deploycore.deploy.activation import Activation
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.errors import Cancelled, DeployError

__all__ = ["settle"]


def settle(releases: Releases, recorder: Recorder, activation: Activation) -> None:
    """Bring one deployment that is not finished to its end, and its target to a good release.

    A release that was live, but not proved to work, is taken back: the one before it was good.
    Where another one is live by now, it is left alone. Nothing is removed here: see ``cleaning``.

    Raises:
        DeploycoreError: What is live can't be read, or the end can't be recorded.
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
