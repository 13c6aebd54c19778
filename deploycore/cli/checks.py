"""What commands check before they store something, and how to do without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploycore.cli.output import say_aside
from deploycore.errors import GitError, PluginError, ProviderError

if TYPE_CHECKING:
    from deploycore.applications.application import Application

__all__ = ["Offline", "naming_offline", "naming_option", "say_warnings"]

Offline = Annotated[
    bool,
    typer.Option("--offline", help="Do not ask the git host whether repository and branch exist."),
]


def naming_offline(*, offline: bool) -> AbstractContextManager[None]:
    """Name ``--offline`` in the hint of what a git host refuses, unless it was given."""
    return naming_option("" if offline else "To store it without asking the host, add --offline.")


@contextmanager
def naming_option(sentence: str) -> Iterator[None]:
    """Add a sentence to the hints of errors that a git host, or the way to it, causes."""
    try:
        yield
    except (ProviderError, GitError, PluginError) as error:
        error.hint = f"{error.hint} {sentence}".strip()
        raise


def say_warnings(application: Application) -> None:
    """Tell on standard error which steps seem to be meant for a shell."""
    from deploycore.applications.shell_words import shell_warnings

    for warning in shell_warnings(application):
        say_aside(f"Warning: {application.name}: {warning}")
