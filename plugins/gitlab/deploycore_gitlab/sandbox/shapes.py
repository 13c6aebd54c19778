"""The JSON of GitLab's objects, in the form of its documentation.

Sources: https://docs.gitlab.com/api/projects/#list-all-projects,
https://docs.gitlab.com/api/branches/#list-repository-branches,
https://docs.gitlab.com/api/commits/#set-commit-pipeline-status,
https://docs.gitlab.com/api/users/#retrieve-the-current-user,
https://docs.gitlab.com/api/personal_access_tokens/#self-inform
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from deploycore.testing.repositories import CommitDetails
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import ShownStatus

__all__ = [
    "CREATED_AT",
    "USER_NUMBER",
    "access_token",
    "branch",
    "commit_status",
    "namespace",
    "oauth_token",
    "project",
    "tag",
    "user",
]

CREATED_AT = "2024-01-01T00:00:00.000Z"
USER_NUMBER = 7


def user(username: str, root: str) -> dict[str, Any]:
    return {
        "id": USER_NUMBER,
        "username": username,
        "public_email": None,
        "name": username.title(),
        "state": "active",
        "locked": False,
        "avatar_url": None,
        "web_url": f"{root}/{username}",
        "created_at": CREATED_AT,
        "bio": "",
        "bot": False,
        "email": f"{username}@example.com",
        "two_factor_enabled": False,
        "external": False,
    }


def access_token(scopes: Iterable[str], expires_at: datetime | None) -> dict[str, Any]:
    return {
        "id": 42,
        "name": "deploycore",
        "revoked": False,
        "created_at": CREATED_AT,
        "description": None,
        "scopes": sorted(scopes),
        "user_id": USER_NUMBER,
        "last_used_at": None,
        "active": True,
        "expires_at": None if expires_at is None else expires_at.date().isoformat(),
    }


def oauth_token(scopes: Iterable[str], expires_in: int) -> dict[str, Any]:
    granted = sorted(scopes)
    return {
        "resource_owner_id": USER_NUMBER,
        "scope": granted,
        "expires_in": expires_in,
        "application": {"uid": "1cb242f495280beb4291e64bee2a17f330902e499882fe8e1e2aa875519cab33"},
        "created_at": 1704067200,
        "scopes": granted,
        "expires_in_seconds": expires_in,
    }


def project(
    row: Repository, root: str, *, empty: bool, archived: bool, of_user: bool, visibility: str
) -> dict[str, Any]:
    web_url = f"{root}/{row.full_name}"
    return {
        "id": row.number,
        "description": None,
        "name": row.name,
        "name_with_namespace": f"{row.owner.replace('/', ' / ')} / {row.name}",
        "path": row.slug,
        "path_with_namespace": row.full_name,
        "created_at": CREATED_AT,
        # It has a name even if nothing has been pushed: the name that the first branch would get.
        "default_branch": row.default_branch,
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": f"git@{urlsplit(root).hostname}:{row.full_name}.git",
        "http_url_to_repo": f"{web_url}.git",
        "web_url": web_url,
        "readme_url": None if empty else f"{web_url}/-/blob/{row.default_branch}/README.md",
        "forks_count": 0,
        "avatar_url": None,
        "star_count": 0,
        "last_activity_at": CREATED_AT,
        "visibility": visibility,
        "namespace": namespace(row.owner, root, of_user=of_user),
        "empty_repo": empty,
        "archived": archived,
        "repository_access_level": "enabled",
        "shared_with_groups": [],
    }


def namespace(owner: str, root: str, *, of_user: bool) -> dict[str, Any]:
    parent, _, name = owner.rpartition("/")
    return {
        "id": 1,
        "name": name.title(),
        "path": name,
        "kind": "user" if of_user else "group",
        "full_path": owner,
        "parent_id": 2 if parent else None,
        "avatar_url": None,
        "web_url": f"{root}/{'' if of_user else 'groups/'}{owner}",
    }


def tag(row: Repository, name: str, commit: CommitDetails, root: str) -> dict[str, Any]:
    return {
        "name": name,
        "message": "",
        "target": commit.hash,
        "commit": branch(row, name, commit, root)["commit"],
        "release": None,
        "protected": False,
        "created_at": None,
    }


def branch(row: Repository, name: str, commit: CommitDetails, root: str) -> dict[str, Any]:
    web_url = f"{root}/{row.full_name}"
    author, _, email = commit.author.rstrip(">").partition(" <")
    date = commit.date.isoformat(timespec="milliseconds")
    default = name == row.default_branch
    return {
        "name": name,
        "commit": {
            "id": commit.hash,
            "short_id": commit.hash[:8],
            "created_at": date,
            "parent_ids": list(commit.parents),
            "title": commit.message.partition("\n")[0],
            "message": commit.message,
            "author_name": author,
            "author_email": email,
            "authored_date": date,
            "committer_name": author,
            "committer_email": email,
            "committed_date": date,
            "trailers": {},
            "extended_trailers": {},
            "web_url": f"{web_url}/-/commit/{commit.hash}",
        },
        "merged": False,
        "protected": default,
        "developers_can_push": False,
        "developers_can_merge": False,
        "can_push": True,
        "default": default,
        "web_url": f"{web_url}/-/tree/{quote(name)}",
    }


def commit_status(
    status: ShownStatus, commit: str, ref: str, sent: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "id": 93,
        "sha": commit,
        "ref": ref,
        "status": sent["state"],
        "name": status.key,
        "target_url": status.url or None,
        "description": status.description or None,
        "created_at": CREATED_AT,
        "started_at": None,
        "finished_at": None,
        "allow_failure": False,
        "coverage": None,
        "pipeline_id": 1,
        "author": {"id": USER_NUMBER},
    }
