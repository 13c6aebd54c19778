"""The result of a check: a level, a sentence and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from deploycore.errors import DeploycoreError, StoreError

__all__ = ["Finding", "Level", "fine", "problem", "warning"]

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        level: How serious it is.
        subject: What was checked, such as ``database`` or ``provider work``.
        message: One sentence, without secrets.
        hint: The next step; empty if there is none.
        exit_code: The exit code of a problem, as listed by ``deploycore --help``; otherwise 0.
    """

    level: Level
    subject: str
    message: str
    hint: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as printed with ``--json``."""
        return {
            "level": self.level,
            "subject": self.subject,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


def fine(subject: str, message: str) -> Finding:
    """Report that something works."""
    return Finding("ok", subject, message)


def warning(subject: str, message: str, hint: str) -> Finding:
    """Report something that works but needs attention."""
    return Finding("warning", subject, message, hint)


def problem(
    subject: str,
    what: str | DeploycoreError,
    hint: str = "",
    *,
    kind: type[DeploycoreError] = StoreError,
) -> Finding:
    """Report something that does not work.

    Args:
        subject: What was checked.
        what: A sentence, or an error with a hint and an exit code.
        hint: The next step.
        kind: The error that a command would raise; it gives the exit code.
    """
    if isinstance(what, DeploycoreError):
        said = what.message if what.message.endswith((".", "…")) else f"{what.message}."
        next_step = hint or what.hint or "Correct this, then check again: deploycore doctor"
        return Finding("problem", subject, said, next_step, what.exit_code)
    return Finding("problem", subject, what, hint, kind.exit_code)
