"""What happens in a deployment, as one stream of events: for the terminal, the log, machines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from deploycore.records import derivable_record
from deploycore.times import for_machines

if TYPE_CHECKING:
    from deploycore.git import Progress

__all__ = ["DeployEvent", "DeployListener", "EventKind", "no_listener"]

EventKind = Literal["state", "progress", "output", "note", "hint"]
"""``state``: a new phase. ``progress``: how far git is. ``output``: a line that a step printed.
``note``: a sentence of deploycore's own. ``hint``: the next step after the error that ended it.
Progress is not kept in the log, and hints are kept there only: listeners get the error itself."""


@derivable_record
class DeployEvent:
    """Something that happened in a deployment. No secret is in it.

    Attributes:
        deployment: Its id.
        at: In UTC.
        phase: The state that the deployment is in.
        text: Of an output or a note; of a state, the error that led to it, if one did.
        git: How far git is, while fetching.
    """

    deployment: int
    application: str
    at: datetime
    kind: EventKind
    phase: str
    text: str = ""
    git: Progress | None = None

    def as_dict(self) -> dict[str, Any]:
        """The event as machines read it: one JSON object."""
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
"""Is told of each event as it happens."""


def no_listener(event: DeployEvent) -> None:
    """Listen to nothing."""
