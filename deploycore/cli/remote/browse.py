"""``repos``, ``branches`` and ``releases`` of a server on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from deploycore.cli.browse import show_refs, show_repositories
from deploycore.cli.options import (
    ApplicationName,
    AsJson,
    Filter,
    Limit,
    Owner,
    ProviderName,
    RepositoryArgument,
    Tags,
)
from deploycore.cli.output import Column, show_json_array, show_table
from deploycore.cli.remote.connection import connected
from deploycore.cli.remote.records import in_utc
from deploycore.deployment_records import state_name

__all__ = ["register"]

_ALL = 1_000_000


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for command in (repos, branches, releases):
        application.command()(command)


def repos(
    provider: ProviderName,
    owner: Owner = None,
    name_filter: Filter = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the repositories that a provider's credentials can read."""
    with connected() as server:
        items = server.items(
            "/providers/{provider}/repositories",
            most=limit or _ALL,
            query={
                "owner": owner,
                "search": name_filter,
                "limit": min(limit or 100, 100),
                "details": as_json,
            },
            provider=provider,
        )
        if as_json:
            show_json_array(map(_repository_as_dict, items))
            return
        show_repositories(list(items))


def branches(
    provider: ProviderName,
    repository: RepositoryArgument,
    tags: Tags = False,
    name_filter: Filter = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the branches or tags of a repository, with the commit that each points to."""
    noun = "tags" if tags else "branches"
    with connected() as server:
        items = server.items(
            f"/providers/{{provider}}/{noun}",
            most=limit or _ALL,
            query={
                "repository": repository,
                "search": name_filter,
                "limit": min(limit or 100, 100),
            },
            provider=provider,
        )
        if as_json:
            show_json_array(items)
            return
        show_refs(list(items), tags=tags)


def releases(
    name: ApplicationName,
    as_json: AsJson = False,
) -> None:
    """List the releases of an application that are on the server's disk, newest first."""
    with connected() as server:
        path = "/applications/{application}/releases"
        found = server.ask("GET", path, application=name)
    if as_json:
        show_json_array(map(_release_as_dict, found["items"]))
        return
    columns = [
        Column("RELEASE"),
        Column("STATE", style="state"),
        Column("COMMIT"),
        Column("AUTHOR", drop=1, is_prose=True),
        Column("SUBJECT", drop=2, is_prose=True),
    ]
    show_table(
        columns,
        (
            [
                each["name"],
                state_name(each["state"]),
                (each["commit"] or "")[:12],
                each["author"] or "",
                each["subject"] or "",
            ]
            for each in found["items"]
        ),
        empty=f"No releases yet. Make the first: deploycore deploy {name}",
    )


_OF_REPOSITORY = ("name", "url", "default_branch", "private", "archived", "empty", "updated_at")
"""The fields of a repository whose details are longer than a server keeps."""
_OF_RELEASE = ("commit", "author", "subject", "committed_at", "files", "bytes", "deployment")


def _repository_as_dict(view: Mapping[str, Any]) -> dict[str, Any]:
    """A repository as ``repos --json`` prints it on the server's machine."""
    details = view["details"] or {name: view[name] for name in _OF_REPOSITORY}
    return {"id": view["repository"], **details}


def _release_as_dict(view: Mapping[str, Any]) -> dict[str, Any]:
    """A release as ``releases --json`` prints it on the server's machine."""
    found = in_utc(view, ("committed_at",))
    state = view["state"]
    return {
        "release": view["name"],
        "path": view["path"],
        "state": view["deployment_state"] if state == "failed" else state,
        **{name: found[name] for name in _OF_RELEASE},
    }
