"""The events of a worker, for terminals, logs and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from deploycore.times import for_machines

__all__ = ["WorkerEvent", "WorkerEventKind", "WorkerListener", "no_listener"]

WorkerEventKind = Literal["claimed", "settled", "postponed", "interrupted"]
"""``claimed``: the worker processes an application. ``settled``: its triggers are settled.
``postponed``: the attempt failed, and is retried later. ``interrupted``: the worker stops, or has
lost its claim, and another worker continues."""


@dataclass(frozen=True)
class WorkerEvent:
    """An event about an application that a worker processes.

    Attributes:
        kind: What happened.
        application: The name of the application.
        triggers: The number of triggers.
        deployment: The number of the deployment, if there is one.
        state: The final state of the deployment, if it succeeded.
        error_code: The ``code`` of the error.
        error: The message of the error.
        hint: The next step after this error.
        commit: The commit of the deployment, if it is known.
        seconds: The duration of the deployment, if it succeeded.
        retry_seconds: Seconds until the retry.
        taken_from: The dead worker that had the application before.
    """

    kind: WorkerEventKind
    application: str
    at: datetime
    triggers: int = 0
    deployment: int | None = None
    state: str | None = None
    error_code: str | None = None
    error: str | None = None
    retry_seconds: float | None = None
    taken_from: str | None = None
    hint: str | None = None
    commit: str | None = None
    seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the event for programs, without unknown fields."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return {"event": known.pop("kind"), **known, "at": for_machines(self.at)}


WorkerListener = Callable[[WorkerEvent], None]
"""Called with each event, in several threads."""


def no_listener(event: WorkerEvent) -> None:
    """Ignore an event."""
