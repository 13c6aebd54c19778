"""The options ``--limit`` and ``--timeout`` of ``deploycore clone``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import ValidationError

from deploycore.applications.application import Limits
from deploycore.cli.usage_error import UsageError
from deploycore.errors import GitError
from deploycore.git import GitSettings
from deploycore.text.suggestions import did_you_mean
from deploycore.text.validation import find_problems

__all__ = ["limited", "name_option", "read_limits"]


def read_limits(given: Iterable[str]) -> Limits:
    """Parse the values of ``--limit`` into an application's limits.

    Raises:
        UsageError: A value is malformed, a limit is unknown, or a number is out of range.
    """
    values: dict[str, str] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals or not number:
            raise UsageError(
                f"--limit {text!r} does not have the form NAME=NUMBER.",
                hint="Write --limit NAME=NUMBER, for example --limit files=1000000.",
            )
        if name not in Limits.model_fields:
            known = ", ".join(Limits.model_fields)
            raise UsageError(
                f"The limit {name!r} does not exist.",
                hint=f"{did_you_mean(name, Limits.model_fields)}The limits are: {known}.",
            )
        values[name] = number
    try:
        return Limits.model_validate_strings(values)
    except ValidationError as error:
        problems = find_problems(error, Limits, values)
        raise UsageError(
            "; ".join(f"--limit {each.path[0]} {each.said}" for each in problems) + ".",
            hint="Correct the number.",
        ) from None


def limited(settings: GitSettings, limits: Limits, timeout: float | None) -> GitSettings:
    """Return settings with limits, and with a timeout in seconds for the whole clone."""
    most = timeout or settings.total_timeout
    return replace(settings, total_timeout=most, **limits.git_settings)


def name_option(error: GitError) -> None:
    """Name in an error's hint the option of this command that allows what was rejected."""
    limit = str(error.details.get("limit", "")).removeprefix("max_")
    if "link_target" in error.details:
        error.hint = "Clone with --links write-as-links, as git does, or write-as-files."
    elif limit == "total_timeout":
        error.hint = "Try again. If it happens again, allow more time: --timeout SECONDS."
    elif limit in Limits.model_fields:
        error.hint = f"If you trust this repository, raise the limit: --limit {limit}=NUMBER."
