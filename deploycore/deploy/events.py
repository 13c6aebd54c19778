"""What happens in a deployment, as one stream of events: for the terminal, the log and programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from deploycore.records import record
from deploycore.times import for_machines

if TYPE_CHECKING:
    from deploycore.git import Progress

__all__ = ["DeployEvent", "DeployListener", "EventKind", "no_listener"]

EventKind = Literal["state", "progress", "output", "note", "hint"]
"""``state``: a new state. ``progress``: git's progress. ``output``: a line that a step printed.
``note``: a sentence from deploycore. ``hint``: the next step after the error that ended the
deployment. The log has no progress. Only the log has hints, because listeners get the error
itself."""


@record
class DeployEvent:
    """Something that happened in a deployment. It contains no secret.

    Attributes:
        deployment: The deployment's number.
        at: The time, in UTC.
        phase: The state that the deployment is in.
        text: The text of an output or a note. For a state, the error that led to it, if there is
            one.
        git: Git's progress, while the deployment fetches.
    """

    deployment: int
    application: str
    at: datetime
    kind: EventKind
    phase: str
    text: str = ""
    git: Progress | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the event for programs: one JSON object."""
        found: dict[str, Any] = {
            "event": self.kind,
            "deployment": self.deployment,
            "application": self.application,
            "at": for_machines(self.at),
            "phase": self.phase,
        }
        if self.git is not None:
            found |= {
                "step": self.git.phase,
                "received_bytes": self.git.received_bytes,
                "files": self.git.files,
                "files_total": self.git.files_total,
            }
        else:
            found["text"] = self.text
        return found


DeployListener = Callable[[DeployEvent], None]
"""A function that is called with each event as it happens."""


def no_listener(event: DeployEvent) -> None:
    """Ignore all events."""
