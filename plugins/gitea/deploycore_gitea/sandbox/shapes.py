"""The sandbox's rows in Gitea's JSON: the definitions of the API description."""

from __future__ import annotations

from typing import Any

from deploycore.testing.deploy_keys import StoredKey
from deploycore.testing.repositories import CommitDetails
from deploycore.testing.sandbox import RIVAL, Repository, Sandbox

__all__ = [
    "MADE",
    "branch",
    "number_of",
    "organization",
    "payload_commit",
    "repository",
    "tag",
    "user",
]

MADE = "2024-05-01T09:30:00Z"
PERSON = {"name": "Ada", "email": "ada@example.com", "username": "ada"}


def number_of(owner: str) -> int:
    """Return the number of a user or an organization."""
    return {Sandbox.OWNER: 1, RIVAL: 2}.get(owner, 3)


def user(login: str, url: str) -> dict[str, Any]:
    """``User``.

    Args:
        url: The address of the server.
    """
    number = number_of(login)
    return {
        "id": number,
        "login": login,
        "login_name": "",
        "source_id": 0,
        "full_name": login.title(),
        "email": f"{login}@noreply.example.com",
        "avatar_url": f"{url}/avatars/{number}",
        "html_url": f"{url}/{login}",
        "language": "",
        "is_admin": False,
        "created": MADE,
        "restricted": False,
        "active": False,
        "visibility": "public",
        "username": login,
    }


def repository(row: Repository, url: str, *, empty: bool) -> dict[str, Any]:
    """``Repository``."""
    address = f"{url}/{row.full_name}"
    return {
        "id": row.number,
        "owner": user(row.owner, url),
        "name": row.slug,
        "full_name": row.full_name,
        "description": "",
        "empty": empty,
        "private": row.private,
        "fork": False,
        "template": False,
        "mirror": False,
        "size": 24,
        "language": "",
        "url": f"{url}/api/v1/repos/{row.full_name}",
        "link": "",
        "html_url": address,
        "clone_url": f"{address}.git",
        "ssh_url": f"git@127.0.0.1:{row.full_name}.git",
        "original_url": "",
        "website": "",
        "default_branch": row.default_branch,
        "archived": False,
        "created_at": MADE,
        "updated_at": MADE,
        "archived_at": "1970-01-01T00:00:00Z",
        "permissions": {"admin": False, "push": False, "pull": True},
        "internal": False,
        "mirror_interval": "",
        "object_format_name": "sha1",
        "mirror_updated": "0001-01-01T00:00:00Z",
        "topics": [],
        "licenses": [],
    }


def branch(name: str, commit: str, url: str) -> dict[str, Any]:
    """``Branch``."""
    return {
        "name": name,
        "commit": {
            "id": commit,
            "message": "Start\n",
            "url": f"{url}/-/commit/{commit}",
            "author": PERSON,
            "committer": PERSON,
            "verification": None,
            "timestamp": MADE,
            "added": None,
            "removed": None,
            "modified": None,
        },
        "protected": False,
        "required_approvals": 0,
        "enable_status_check": False,
        "status_check_contexts": [],
        "user_can_push": False,
        "user_can_merge": False,
        "effective_branch_protection_name": "",
    }


def organization(name: str) -> dict[str, Any]:
    """``Organization``."""
    return {
        "id": number_of(name),
        "name": name,
        "full_name": name.title(),
        "email": "",
        "avatar_url": "",
        "description": "",
        "website": "",
        "location": "",
        "visibility": "public",
        "repo_admin_change_team_access": True,
        "username": name,
    }


def tag(name: str, commit: str, url: str) -> dict[str, Any]:
    """``Tag``."""
    return {
        "name": name,
        "message": "",
        "id": commit,
        "commit": {"url": f"{url}/-/commit/{commit}", "sha": commit, "created": MADE},
        "zipball_url": f"{url}/-/archive/{name}.zip",
        "tarball_url": f"{url}/-/archive/{name}.tar.gz",
    }


def payload_commit(commit: CommitDetails, row: Repository, url: str) -> dict[str, Any]:
    """Return ``PayloadCommit``, as in deliveries."""
    return {
        "id": commit.hash,
        "message": commit.message,
        "url": f"{url}/{row.full_name}/commit/{commit.hash}",
        "author": PERSON,
        "committer": PERSON,
        "verification": None,
        "timestamp": commit.date.isoformat(),
        "added": [],
        "removed": [],
        "modified": [],
    }


def deploy_key(key: StoredKey) -> dict[str, Any]:
    """``DeployKey``."""
    return {
        "id": key.id,
        "key_id": key.id,
        "key": key.text,
        "title": key.label,
        "created_at": MADE,
        "read_only": key.read_only,
    }
