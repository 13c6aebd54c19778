"""What a worker tells of itself, for terminals, logs and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from deploycore.times import for_machines

__all__ = ["WorkerEvent", "WorkerEventKind", "WorkerListener", "no_listener"]

WorkerEventKind = Literal["claimed", "settled", "postponed", "interrupted"]
"""``claimed``: the worker has an application in hand. ``settled``: what was there to do has come
to an end. ``postponed``: it failed, and is tried again later. ``interrupted``: the worker stops, or
has lost its claim; somebody else goes on."""


@dataclass(frozen=True)
class WorkerEvent:
    """One thing that happened to an application in a worker's hand.

    Attributes:
        triggers: How many reasons to look at it there were.
        deployment: What came of it, if there is a record.
        state: Of that deployment, where it went well.
        error_code: The ``code`` of what went wrong.
        error: That error, as a sentence for people.
        hint: What to do about that error.
        commit: Of that deployment, if it is known.
        seconds: How long that deployment took, where it went well.
        retry_seconds: When it is tried again.
        taken_from: The dead worker that had it before.
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
        """The event as machines read it; what is not known is left out."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return {"event": known.pop("kind"), **known, "at": for_machines(self.at)}


WorkerListener = Callable[[WorkerEvent], None]
"""Gets each event, in several threads."""


def no_listener(event: WorkerEvent) -> None:
    """Listen to nothing."""
