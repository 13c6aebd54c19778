"""The error of a command line that is invalid."""

from __future__ import annotations

from deploycore.errors import DeploycoreError

__all__ = ["UsageError"]


class UsageError(DeploycoreError):
    """The command line is invalid."""

    code = "usage"
    exit_code = 2
