"""The events that the sandbox sends to webhooks, in the form of GitLab's documentation.

The functions have no side effects: they convert rows and commits to JSON.

Source: https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from deploycore.testing.pull_requests import Action, PullRequestChange
from deploycore.testing.repositories import CommitDetails, RefUpdate
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Event

from deploycore_gitlab.sandbox.shapes import USER_NUMBER

__all__ = ["merge_request", "pushes"]

MOST_COMMITS = 20
NOTHING = "0" * 40
EVENT_HEADER = "X-Gitlab-Event"
STATES = {"OPEN": "opened", "CLOSED": "closed", "MERGED": "merged"}
ACTIONS: Mapping[Action, str] = {
    "opened": "open",
    "edited": "update",
    "pushed": "update",
    "closed": "close",
    "reopened": "reopen",
    "merged": "merge",
}

Read = Callable[[str], CommitDetails]


def pushes(
    row: Repository,
    updates: Sequence[RefUpdate],
    *,
    user: str,
    read: Read,
    root: str,
    limit: int,
) -> Iterator[Event]:
    """Return one event for each ref that a push has changed.

    Args:
        limit: The maximum number of refs of a kind that are created, moved or deleted at once. If
            there are more, there is no event. https://docs.gitlab.com/api/settings/ has
            ``push_event_hooks_limit``.
    """
    cause = str(uuid4())
    counts = Counter(map(_kind, updates))
    for update in updates:
        if counts[_kind(update)] <= limit:
            name = "Push Hook" if update.kind == "branch" else "Tag Push Hook"
            yield _event(name, _push(row, update, user, read, root), cause)


def merge_request(
    change: PullRequestChange,
    row: Repository,
    source: Repository | None,
    *,
    user: str,
    read: Read,
    root: str,
) -> Event:
    """An event of a merge request.

    Args:
        source: The repository that its commits come from; ``None`` if it was deleted.
    """
    request, before = change.row, change.before
    project = _project(row, root)
    attributes = {
        "id": 90 + request.number,
        "iid": request.number,
        "target_branch": request.target_branch,
        "source_branch": request.source_branch,
        "source_project_id": source and source.number,
        "target_project_id": row.number,
        "author_id": USER_NUMBER,
        "title": request.title,
        "state": STATES[request.state],
        "draft": False,
        "url": f"{root}/{row.full_name}/-/merge_requests/{request.number}",
        "source": source and _project(source, root),
        "target": project,
        "last_commit": _commit(read(request.commit), source or row, root),
        "action": ACTIONS[change.action],
    }
    if change.action == "pushed":
        attributes["oldrev"] = before.commit
    edited = {"title": request.title, "target_branch": request.target_branch}
    body = {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {"id": USER_NUMBER, "name": user.title(), "username": user},
        "project": project,
        "repository": {"name": row.name, "homepage": project["web_url"]},
        "object_attributes": attributes,
        "labels": [],
        "changes": {
            field: {"previous": getattr(before, field), "current": value}
            for field, value in edited.items()
            if getattr(before, field) != value
        },
        "assignees": [],
    }
    return _event("Merge Request Hook", body, str(uuid4()))


def _event(name: str, body: Any, cause: str) -> Event:
    headers = {EVENT_HEADER: name, "X-Gitlab-Event-UUID": cause}
    return Event(name, json.dumps(body).encode(), headers)


def _kind(update: RefUpdate) -> tuple[str, bool, bool]:
    return update.kind, update.before is None, update.after is None


def _push(row: Repository, update: RefUpdate, user: str, read: Read, root: str) -> Any:
    kind = "push" if update.kind == "branch" else "tag_push"
    prefix = "refs/heads/" if update.kind == "branch" else "refs/tags/"
    pushed = list(_new_commits(update, read))
    project = _project(row, root)
    return {
        "object_kind": kind,
        "event_name": kind,
        "before": update.before or NOTHING,
        "after": update.after or NOTHING,
        "ref": f"{prefix}{update.name}",
        "ref_protected": update.name == row.default_branch,
        "checkout_sha": update.after,
        "message": None,
        "user_id": USER_NUMBER,
        "user_name": user.title(),
        "user_username": user,
        "user_email": "",
        "user_avatar": None,
        "project_id": row.number,
        "project": project,
        "commits": [_commit(found, row, root) for found in reversed(pushed[:MOST_COMMITS])],
        "total_commits_count": len(pushed),
        "push_options": {},
        "repository": {"name": row.name, "homepage": project["web_url"]},
    }


def _project(row: Repository, root: str) -> dict[str, Any]:
    web_url = f"{root}/{row.full_name}"
    ssh = f"git@{urlsplit(root).hostname}:{row.full_name}.git"
    return {
        "id": row.number,
        "name": row.name,
        "description": None,
        "web_url": web_url,
        "avatar_url": None,
        "git_ssh_url": ssh,
        "git_http_url": f"{web_url}.git",
        "namespace": row.owner.rpartition("/")[2].title(),
        "visibility_level": 0 if row.private else 20,
        "path_with_namespace": row.full_name,
        "default_branch": row.default_branch,
        "ci_config_path": None,
        "homepage": web_url,
        "url": ssh,
        "ssh_url": ssh,
        "http_url": f"{web_url}.git",
    }


def _commit(found: CommitDetails, row: Repository, root: str) -> dict[str, Any]:
    name, _, email = found.author.rstrip(">").partition(" <")
    return {
        "id": found.hash,
        "message": found.message,
        "title": found.message.partition("\n")[0],
        "timestamp": found.date.isoformat(),
        "url": f"{root}/{row.full_name}/-/commit/{found.hash}",
        "author": {"name": name, "email": email},
        "added": [],
        "modified": [],
        "removed": [],
    }


def _new_commits(update: RefUpdate, read: Read) -> Iterator[CommitDetails]:
    """Return the new commits of a branch, the newest first; none for a new branch."""
    if update.kind == "branch" and update.before and update.after:
        yield from islice(_history(update.after, read, until=update.before), 100)


def _history(commit: str, read: Read, *, until: str) -> Iterator[CommitDetails]:
    waiting, seen = [commit], {until}
    while waiting:
        current = waiting.pop(0)
        if current not in seen:
            seen.add(current)
            found = read(current)
            yield found
            waiting += found.parents
