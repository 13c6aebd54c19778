"""The sandbox's rows in Bitbucket's JSON: the schemas of the API description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploycore.models import RepositoryId
from deploycore.testing.deploy_keys import StoredKey
from deploycore.testing.pull_requests import PullRequest
from deploycore.testing.sandbox import Repository

from deploycore_bitbucket_datacenter.answers import clone_address, page_of

__all__ = [
    "MADE",
    "STATES",
    "USER",
    "branch",
    "project",
    "pull_request",
    "repository",
    "tag",
    "user",
]

MADE = 1714555800000
"""2024-05-01 09:30 UTC in milliseconds."""

USER = "ada"
STATES = {"OPEN": "OPEN", "CLOSED": "DECLINED", "MERGED": "MERGED"}
NO_LINKS: Mapping[str, Any] = {"self": []}


def user() -> dict[str, Any]:
    """``RestApplicationUser``."""
    return {
        "name": USER,
        "emailAddress": "ada@example.com",
        "active": True,
        "displayName": "Ada Lovelace",
        "id": 101,
        "slug": USER,
        "type": "NORMAL",
    }


def project(key: str, number: int, url: str) -> dict[str, Any]:
    """Return ``RestProject``. The project of a person also has its owner.

    Args:
        url: The base URL of the server.
    """
    is_personal = key.startswith("~")
    page = f"{url}/users/{key[1:]}" if is_personal else f"{url}/projects/{key}"
    return {
        "key": key,
        "id": number,
        "name": user()["displayName"] if is_personal else key.title(),
        "public": False,
        "type": "PERSONAL" if is_personal else "NORMAL",
        "links": {"self": [{"href": page}]},
        **({"owner": user()} if is_personal else {}),
    }


def repository(
    row: Repository, url: str, *, project_number: int, default_branch: str | None = None
) -> dict[str, Any]:
    """``RestRepository``.

    Args:
        default_branch: The default branch; ``None`` for a server that does not send it.
    """
    known = RepositoryId(owner=row.owner, slug=row.slug)
    clone = clone_address(url, known)
    links = {
        "clone": [
            {"href": clone.replace("://", f"://{USER}@"), "name": "http"},
            {"href": f"ssh://git@127.0.0.1:7999/{known.path.lower()}.git", "name": "ssh"},
        ],
        "self": [{"href": f"{page_of(url, known)}/browse"}],
    }
    told = {
        "slug": row.slug,
        "id": row.number,
        "name": row.name,
        "hierarchyId": f"{row.number:020x}",
        "scmId": "git",
        "state": "AVAILABLE",
        "statusMessage": "Available",
        "forkable": True,
        "project": project(row.owner, project_number, url),
        "public": not row.private,
        "archived": False,
        "links": links,
    }
    return told if default_branch is None else {**told, "defaultBranch": default_branch}


def branch(name: str, commit: str, *, is_default: bool) -> dict[str, Any]:
    """``RestBranch``."""
    return {
        "id": f"refs/heads/{name}",
        "displayId": name,
        "type": "BRANCH",
        "latestCommit": commit,
        "latestChangeset": commit,
        "isDefault": is_default,
    }


def tag(name: str, commit: str) -> dict[str, Any]:
    """``RestTag``."""
    return {
        "id": f"refs/tags/{name}",
        "displayId": name,
        "type": "TAG",
        "latestCommit": commit,
        "latestChangeset": commit,
        "hash": commit,
    }


def pull_request(
    row: PullRequest, target: Mapping[str, Any], source: Mapping[str, Any] | None
) -> dict[str, Any]:
    """``RestPullRequest``.

    Args:
        target: The repository that it is for, as JSON.
        source: The repository that its commits come from, as JSON; ``None`` if it was deleted.
    """
    told = {
        "id": row.number,
        "version": 0,
        "title": row.title,
        "state": STATES[row.state],
        "open": row.is_open,
        "closed": not row.is_open,
        "draft": False,
        "locked": False,
        "createdDate": MADE,
        "updatedDate": MADE,
        "fromRef": _ref(row.source_branch, row.commit, source),
        "toRef": _ref(row.target_branch, row.target_commit, target),
        "reviewers": [],
        "participants": [],
        "links": NO_LINKS,
    }
    return told if row.is_open else {**told, "closedDate": MADE}


def _ref(name: str, commit: str, repository: Mapping[str, Any] | None) -> dict[str, Any]:
    told = {
        "id": f"refs/heads/{name}",
        "displayId": name,
        "latestCommit": commit,
        "type": "BRANCH",
    }
    return told if repository is None else {**told, "repository": repository}


def access_key(key: StoredKey) -> dict[str, Any]:
    """``RestSshAccessKey``."""
    permission = "REPO_READ" if key.read_only else "REPO_WRITE"
    return {
        "key": {"id": key.id, "text": key.text, "label": key.label},
        "permission": permission,
    }
