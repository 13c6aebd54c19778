"""Conversion of typed values into the fields of an application."""

from __future__ import annotations

from collections.abc import Iterable

from deploycore.errors import ConfigurationError

__all__ = ["read_shared", "read_variable"]


def read_shared(paths: Iterable[str]) -> dict[str, list[str]]:
    """Split shared paths into directories, which end with a slash, and files."""
    found: dict[str, list[str]] = {"directories": [], "files": []}
    for path in paths:
        found["directories" if path.endswith("/") else "files"].append(path)
    return found


def read_variable(text: str) -> tuple[str, str | dict[str, str]]:
    """Read ``NAME=VALUE``, or ``NAME=@SOURCE`` for a secret.

    Raises:
        ConfigurationError: The text has another form.
    """
    name, equals, value = text.partition("=")
    if not equals:
        # The error does not show the value: it may be a secret given in the wrong place.
        raise ConfigurationError(
            "A value of --env does not have the form NAME=VALUE.",
            hint="Write, for example, --env RAILS_ENV=production or --env TOKEN=@env:TOKEN.",
        )
    return name, {"secret": value[1:]} if value.startswith("@") else value
