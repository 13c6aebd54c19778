"""The JSON objects of the API, in the form of Atlassian's published description.

The functions have no side effects: they convert a row of the sandbox to JSON.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from deploycore.testing.repositories import CommitDetails
from deploycore.testing.sandbox import Repository
from deploycore_bitbucket.sandbox.rows import User, Workspace, repository_uuid

__all__ = [
    "CREATED",
    "branch",
    "clone_origin_for",
    "owner_of_repositories",
    "repository",
    "tag",
    "user",
    "workspace",
    "workspace_access",
]

CREATED = "2024-01-01T00:00:00+00:00"
"""When everything in the sandbox was created."""


def user(row: User, origin: str) -> Any:
    return {
        "type": "user",
        "uuid": row.uuid,
        "username": row.username,
        "nickname": row.username,
        "display_name": row.display_name,
        "account_status": "active",
        "created_on": CREATED,
        "links": _links(
            self=f"{origin}/2.0/users/{quote(row.uuid)}",
            html=f"{origin}/{quote(row.uuid)}/",
            avatar=f"{origin}/account/{row.username}/avatar/",
            repositories=f"{origin}/2.0/repositories/{quote(row.uuid)}",
        ),
    }


def workspace(row: Workspace, origin: str) -> Any:
    api = f"{origin}/2.0/workspaces/{row.slug}"
    return {
        "type": "workspace",
        "uuid": row.uuid,
        "name": row.name,
        "slug": row.slug,
        "is_private": True,
        "created_on": CREATED,
        "links": _links(
            self=api,
            html=f"{origin}/{row.slug}/",
            avatar=f"{origin}/workspaces/{row.slug}/avatar/",
            members=f"{api}/members",
            projects=f"{api}/projects",
            repositories=f"{origin}/2.0/repositories/{row.slug}",
        ),
    }


def workspace_access(row: Workspace, origin: str, *, administrator: bool) -> Any:
    """An item of ``/user/workspaces``: the workspace has neither a name nor a permission."""
    links = _links(
        self=f"{origin}/2.0/workspaces/{row.slug}",
        avatar=f"{origin}/workspaces/{row.slug}/avatar/",
    )
    base = {"type": "workspace_base", "uuid": row.uuid, "slug": row.slug, "links": links}
    return {"type": "workspace_access", "administrator": administrator, "workspace": base}


def owner_of_repositories(row: Workspace, origin: str) -> dict[str, Any]:
    """Return the JSON that the repositories of a workspace have in common."""
    return {
        "owner": _team(row, origin),
        "workspace": workspace(row, origin),
        "project": _project(row, origin),
    }


def clone_origin_for(username: str, origin: str) -> str:
    """Bitbucket's https clone links contain the caller's username."""
    scheme, _, host = origin.partition("://")
    return f"{scheme}://{quote(username, safe='')}@{host}" if username else origin


def repository(
    row: Repository, owner: dict[str, Any], origin: str, *, clone_origin: str, empty: bool
) -> Any:
    """Return a repository, as lists and its own address have it.

    Args:
        owner: The result of ``owner_of_repositories``, which is computed once for a list.
        clone_origin: The start of the https clone link, from ``clone_origin_for``.
        empty: Whether there is no branch, and so no main branch.
    """
    api = f"{origin}/2.0/repositories/{row.full_name}"
    pages = f"{origin}/{row.full_name}"
    links: dict[str, Any] = _links(
        self=api,
        html=pages,
        avatar=f"{origin}/ravatar/{repository_uuid(row)[1:-1]}",
        pullrequests=f"{api}/pullrequests",
        commits=f"{api}/commits",
        forks=f"{api}/forks",
        watchers=f"{api}/watchers",
        downloads=f"{api}/downloads",
        hooks=f"{api}/hooks",
    )
    links["clone"] = [
        {"name": "https", "href": f"{clone_origin}/{row.full_name}.git"},
        {"name": "ssh", "href": f"git@bitbucket.org:{row.full_name}.git"},
    ]
    return {
        "type": "repository",
        "uuid": repository_uuid(row),
        "full_name": row.full_name,
        "name": row.name,
        "slug": row.slug,
        "description": "",
        "scm": "git",
        "is_private": row.private,
        "fork_policy": "no_public_forks" if row.private else "allow_forks",
        "language": "",
        "size": 0,
        "has_issues": False,
        "has_wiki": False,
        "created_on": CREATED,
        "updated_on": CREATED,
        "mainbranch": None if empty else {"type": "branch", "name": row.default_branch},
        "links": links,
        **owner,
    }


def branch(row: Repository, name: str, commit: CommitDetails, origin: str) -> Any:
    api = f"{origin}/2.0/repositories/{row.full_name}"
    path = quote(name)
    return {
        "type": "branch",
        "name": name,
        "merge_strategies": ["merge_commit", "squash", "fast_forward"],
        "default_merge_strategy": "merge_commit",
        "links": _links(
            self=f"{api}/refs/branches/{path}",
            commits=f"{api}/commits/{path}",
            html=f"{origin}/{row.full_name}/branch/{path}",
        ),
        "target": {
            "type": "commit",
            "hash": commit.hash,
            "date": commit.date.isoformat(),
            "author": {"type": "author", "raw": commit.author},
            "message": commit.message,
            "parents": [{"type": "commit", "hash": parent} for parent in commit.parents],
            "links": _links(
                self=f"{api}/commit/{commit.hash}",
                html=f"{origin}/{row.full_name}/commits/{commit.hash}",
            ),
            "repository": {
                "type": "repository",
                "name": row.name,
                "full_name": row.full_name,
                "uuid": repository_uuid(row),
                "links": _links(self=api, html=f"{origin}/{row.full_name}"),
            },
        },
    }


def tag(row: Repository, name: str, commit: CommitDetails, origin: str) -> Any:
    api = f"{origin}/2.0/repositories/{row.full_name}"
    path = quote(name)
    return {
        "type": "tag",
        "name": name,
        "message": "",
        "date": None,
        "tagger": None,
        "links": _links(
            self=f"{api}/refs/tags/{path}",
            commits=f"{api}/commits/{path}",
            html=f"{origin}/{row.full_name}/commits/tag/{path}",
        ),
        "target": branch(row, name, commit, origin)["target"],
    }


def _team(owner: Workspace, origin: str) -> Any:
    return {
        "type": "team",
        "uuid": owner.uuid,
        "username": owner.slug,
        "display_name": owner.name,
        "links": _links(
            self=f"{origin}/2.0/workspaces/{quote(owner.uuid)}",
            html=f"{origin}/{quote(owner.uuid)}/",
            avatar=f"{origin}/account/{owner.slug}/avatar/",
        ),
    }


def _project(owner: Workspace, origin: str) -> Any:
    return {
        "type": "project",
        "key": "PROJ",
        "name": "Untitled project",
        "links": _links(html=f"{origin}/{owner.slug}/workspace/projects/PROJ"),
    }


def _links(**targets: str) -> dict[str, Any]:
    return {name: {"href": href} for name, href in targets.items()}
