"""What a check has found: one sentence, how bad it is, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from deploycore.errors import DeploycoreError, StoreError

__all__ = ["Finding", "Level", "fine", "problem", "warning"]

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What: ``database``, ``provider work``.
        message: One sentence; never a secret.
        hint: The next step; empty where there is none to take.
        exit_code: Of a problem, as ``deploycore --help`` lists them.
    """

    level: Level
    subject: str
    message: str
    hint: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As machines read it."""
        return {
            "level": self.level,
            "subject": self.subject,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


def fine(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding("ok", subject, message)


def warning(subject: str, message: str, hint: str) -> Finding:
    """It works, but should be looked at."""
    return Finding("warning", subject, message, hint)


def problem(
    subject: str,
    what: str | DeploycoreError,
    hint: str = "",
    *,
    kind: type[DeploycoreError] = StoreError,
) -> Finding:
    """Something does not work.

    Args:
        what: The sentence, or the error that says it and has a hint and an exit code.
        kind: The error that people would meet.
    """
    if isinstance(what, DeploycoreError):
        said = what.message if what.message.endswith((".", "…")) else f"{what.message}."
        next_step = hint or what.hint or "Correct that, then check again: deploycore doctor"
        return Finding("problem", subject, said, next_step, what.exit_code)
    return Finding("problem", subject, what, hint, kind.exit_code)
