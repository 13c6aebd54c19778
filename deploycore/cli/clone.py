"""The command line of ``deploycore clone``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploycore.cli.options import AsJson, ProviderName, RepositoryArgument
from deploycore.git import EscapingLinks

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(clone)


def clone(
    provider: ProviderName,
    repository: RepositoryArgument,
    directory: Annotated[
        Path | None,
        typer.Argument(help="New or empty directory (default: the repository's name)."),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            "-b",
            help="Branch, tag or full commit hash (default: the default branch).",
        ),
    ] = None,
    submodules: Annotated[bool, typer.Option("--submodules", help="Clone submodules too.")] = False,
    links: Annotated[
        EscapingLinks,
        typer.Option(
            "--links",
            help="How to treat symbolic links that lead out of the directory: write-as-links (as"
            " git does), write-as-files (files that contain the link's target), or refuse.",
        ),
    ] = "write-as-links",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=NUMBER",
            help="Raise or lower a limit, such as files=1000000. For the names, see the limits of"
            " an application. Repeatable.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Maximum seconds for the clone (default: 1800)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Clone one branch, tag or commit of a repository, without its history."""
    from deploycore.cli.cloning import clone_repository

    clone_repository(
        provider,
        repository,
        directory,
        branch=branch,
        submodules=submodules,
        links=links,
        limit=limit,
        timeout=timeout,
        as_json=as_json,
    )
