"""``deploycore repos`` and ``deploycore branches``: list what a provider's credentials can read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

import deploycore
from deploycore.cli.options import (
    AsJson,
    Filter,
    Limit,
    Owner,
    ProviderName,
    RepositoryArgument,
    Tags,
)
from deploycore.cli.output import Column, say, show_json_array, show_table
from deploycore.cli.waiting import telling_of_waits
from deploycore.errors import NotFound

if TYPE_CHECKING:
    from deploycore.models import Branch, Tag

__all__ = ["register", "show_refs", "show_repositories"]


def register(application: typer.Typer) -> None:
    """Add these commands."""
    application.command()(repos)
    application.command()(branches)


def repos(
    provider: ProviderName,
    owner: Owner = None,
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
            show_json_array({"id": str(item.id)} | item.model_dump(mode="json") for item in found)
            return
        listed = [{"repository": str(item.id), **vars(item)} for item in found]
        if not listed and not name_filter:
            hint = opened.no_repositories_hint
    show_repositories(listed)
    if hint:
        say(f"  Next: {hint}")


def branches(
    provider: ProviderName,
    repository: RepositoryArgument,
    tags: Tags = False,
    name_filter: Filter = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the branches or tags of a repository, with the commit that each points to."""
    from deploycore.models import TagQuery

    shown = {"name_contains": name_filter or None, "limit": limit}
    with deploycore.Installation() as installation, telling_of_waits():
        wanted = installation.read_repository(provider, repository)
        with installation.open_provider(provider) as opened:
            try:
                found: Iterator[Branch | Tag] = (
                    opened.list_tags(wanted, TagQuery.model_validate(shown))
                    if tags
                    else opened.list_branches(wanted, deploycore.BranchQuery.model_validate(shown))
                )
                if as_json:
                    show_json_array(item.model_dump() for item in found)
                    return
                refs = [vars(item) for item in found]
            except NotFound as error:
                from deploycore.installation.verification import suggest_repository

                suggest_repository(error, wanted, opened.list_repos)
                raise
    show_refs(refs, tags=tags)


def show_repositories(repositories: Iterable[Mapping[str, Any]]) -> None:
    """Print a table of repositories.

    Args:
        repositories: The repositories as the REST API describes them.
    """
    show_table(
        [
            Column("REPOSITORY"),
            Column("DEFAULT BRANCH", drop=3),
            Column("ACCESS", drop=2),
            Column("NAME", drop=1, is_prose=True),
        ],
        (
            [
                each["repository"],
                each["default_branch"] or ("(empty)" if each["empty"] else ""),
                ("private" if each["private"] else "public")
                + (", archived" if each["archived"] else ""),
                each["name"],
            ]
            for each in repositories
        ),
        empty="No repositories found.",
    )


def show_refs(refs: Iterable[Mapping[str, Any]], *, tags: bool) -> None:
    """Print a table of branches or tags with their commits."""
    show_table(
        [Column("TAG" if tags else "BRANCH"), Column("COMMIT")],
        ([each["name"], each["commit"]] for each in refs),
        empty=f"No {'tags' if tags else 'branches'} found.",
    )
