"""Deployments whose process has died, brought to their true end.

For who holds the target's lock, and so knows that nothing of this runs. What was recorded says
what can have happened (see ``deploycore.store.states``); the link says what has.
"""

from __future__ import annotations

from deploycore.application import Application
from deploycore.deploy.activation import Activation
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.errors import DeployError

__all__ = ["settle"]


def settle(
    application: Application, releases: Releases, recorder: Recorder, activation: Activation
) -> None:
    """Bring one deployment that is not finished to its end, and its target to a good release.

    A release that was live, but not proved to work, is taken back: the one before it was good.

    Raises:
        StoreError: The end can't be recorded.
    """
    record = recorder.record
    release = releases.directory / record.release if record.release else None
    previous = releases.directory / record.previous if record.previous else None
    was_switched = record.state == "activating" and release == releases.current
    is_proved = not application.steps.after_activate and application.health_check is None
    if was_switched and is_proved and record.error_code is None:
        recorder.finish("healthy")
        return
    error = None
    if record.error_code is None:
        error = DeployError("The process ended before the deployment did.")
        if was_switched:
            recorder.note_error(error)
    if was_switched or record.error_code is not None:
        activation.put_back(previous)
    if release is not None and record.kind == "deploy":
        releases.discard(release)
    was_live = was_switched or record.error_code is not None
    recorder.finish("rolled_back" if was_live and previous else "failed", error)
