"""Paths of the tables of operations and pages, with values for their parameters."""

from __future__ import annotations

import re

from deploycore.configuration import NAME_PATTERN
from deploycore.server.openapi import _PARAMETERS

__all__ = ["filled", "words_of"]


def filled(path: str) -> str:
    """A path about what does not exist."""

    def value(match: re.Match[str]) -> str:
        schema = _PARAMETERS.get(match.group(1), {})
        return "9" if schema.get("type") == "integer" else "none"

    return re.sub(r"{(\w+)}", value, path)


def words_of(paths) -> set[str]:
    """The fixed parts of paths that could also be the names of things."""
    parts = {part for path in paths for part in path.split("/")}
    return {part for part in parts if re.fullmatch(NAME_PATTERN, part)}
