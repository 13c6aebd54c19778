"""``deploycore repos`` and ``deploycore branches``: list what a provider's credentials can read."""

from __future__ import annotations

from typing import Annotated

import typer

import deploycore
from deploycore.cli.options import (
    AsJson,
    Filter,
    Limit,
    ProviderName,
    RepositoryArgument,
)
from deploycore.cli.output import Column, say, show_json_array, show_table
from deploycore.cli.waiting import telling_of_waits
from deploycore.errors import NotFound

__all__ = ["register"]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(repos)
    application.command()(branches)


def repos(
    provider: ProviderName,
    owner: Annotated[
        str | None,
        typer.Option("--owner", help="Owner of the repositories (default: the configured owner)."),
    ] = None,
    name_filter: Filter = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the repositories that a provider's credentials can read."""
    query = deploycore.RepositoryQuery(
        owner=owner or None, name_contains=name_filter or None, limit=limit
    )
    hint = ""
    with (
        deploycore.Installation() as installation,
        telling_of_waits(),
        installation.open_provider(provider) as opened,
    ):
        found = opened.list_repos(query)
        if as_json:
            show_json_array({"id": str(item.id)} | item.model_dump() for item in found)
            return
        rows = [
            [
                str(item.id),
                item.default_branch or "(empty)",
                "private" if item.private else "public",
                item.name,
            ]
            for item in found
        ]
        if not rows and not name_filter:
            hint = opened.no_repositories_hint
    show_table(
        [
            Column("REPOSITORY"),
            Column("DEFAULT BRANCH", drop=3),
            Column("ACCESS", drop=2),
            Column("NAME", drop=1, is_prose=True),
        ],
        rows,
        empty="No repositories found.",
    )
    if hint:
        say(f"  Next: {hint}")


def branches(
    provider: ProviderName,
    repository: RepositoryArgument,
    name_filter: Filter = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the branches of a repository, with the commit that each points to."""
    query = deploycore.BranchQuery(name_contains=name_filter or None, limit=limit)
    with deploycore.Installation() as installation, telling_of_waits():
        wanted = installation.read_repository(provider, repository)
        with installation.open_provider(provider) as opened:
            try:
                found = opened.list_branches(wanted, query)
                if as_json:
                    show_json_array(item.model_dump() for item in found)
                    return
                rows = [[item.name, item.commit] for item in found]
            except NotFound as error:
                from deploycore.installation.verification import suggest_repository

                suggest_repository(error, wanted, opened.list_repos)
                raise
    show_table([Column("BRANCH"), Column("COMMIT")], rows, empty="No branches found.")
