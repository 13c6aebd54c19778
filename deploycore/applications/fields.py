"""The types of values in an application's definition."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from deploycore.text.validation import NAME_PATTERN

__all__ = [
    "AbsolutePath",
    "Count",
    "Name",
    "RelativePath",
    "Seconds",
    "Text",
    "number_as_text",
]

_LONGEST_NAME = 255  # bytes, on most file systems
_LONGEST_PATH = 3500  # bytes; the system's limit is 4096, and releases have longer paths

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00\n\r]+$")]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1000)]


def _relative(text: str) -> str:
    """A path that stays within a release: ``storage/uploads``, without a slash at its end."""
    path = PurePosixPath(text)
    if path.is_absolute() or not path.parts or ".." in path.parts or not text.isprintable():
        raise ValueError("should be a path within the release")
    if path.parts[0].lower() == ".git":
        raise ValueError("should not be in .git")
    return str(path)


def _absolute(path: Path) -> Path:
    try:
        path = path.expanduser()
    except RuntimeError:
        raise ValueError("must not begin with the name of a user who does not exist") from None
    if not str(path).isprintable():
        raise ValueError("should not have control characters")
    if not path.is_absolute():
        raise ValueError("should be an absolute path")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"should have no name of more than {_LONGEST_NAME} bytes")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"should have {_LONGEST_PATH} bytes at most")
    # Not resolved: an operator who links a directory to another place wants to be able to change
    # the link.
    if ".." in path.parts:
        raise ValueError("should be a path without '..'")
    # POSIX does not define two leading slashes. Linux and macOS treat them as one.
    return Path("/" + str(path).lstrip("/"))


RelativePath = Annotated[str, Field(min_length=1), AfterValidator(_relative)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


def number_as_text(value: Any) -> Any:
    """Convert a number to text: YAML reads the value of ``PORT: 8080`` as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
