"""Checks before a command stores something, and the options that skip them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deploycore.cli.output import say_aside
from deploycore.errors import GitError, PluginError, ProviderError
from deploycore.text.sentences import sentences

if TYPE_CHECKING:
    from deploycore.applications.application import Application

__all__ = ["Offline", "naming_offline", "naming_option", "say_warnings", "warn_about"]

Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Do not check at the git host that the repository and the ref exist."
    ),
]


def naming_offline(*, offline: bool) -> AbstractContextManager[None]:
    """Name ``--offline`` in the hints of a git host's errors, unless it was given."""
    return naming_option("" if offline else "To store it without this check, add --offline.")


@contextmanager
def naming_option(sentence: str) -> Iterator[None]:
    """Add a sentence to the hints of errors that come from a git host or from the network."""
    try:
        yield
    except (ProviderError, GitError, PluginError) as error:
        error.hint = sentences(error.hint, sentence)
        raise


def say_warnings(application: Application) -> None:
    """Warn on standard error about steps that seem to need a shell."""
    from deploycore.applications.shell_words import shell_warnings

    warn_about(application.name, shell_warnings(application))


def warn_about(name: str, warnings: Iterable[str]) -> None:
    """Print warnings about an application on standard error."""
    for warning in warnings:
        say_aside(f"Warning: {name}: {warning}")
