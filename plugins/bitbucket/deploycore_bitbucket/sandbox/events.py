"""The events that the sandbox sends to webhooks, in the form of Bitbucket's documentation.

The functions have no side effects: they convert rows and commits to JSON.

Source: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from deploycore.testing.pull_requests import Action, PullRequest, PullRequestChange
from deploycore.testing.repositories import CommitDetails, RefUpdate, history
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Event
from deploycore_bitbucket.sandbox.rows import User, repository_uuid

__all__ = ["pull_request", "pull_request_shape", "push"]

MOST_COMMITS = 5
SHORT_HASH = 12
HEADERS = {"User-Agent": "Bitbucket-Webhooks/2.0", "Content-Type": "application/json"}

NAMES: Mapping[Action, Sequence[str]] = {
    "opened": ["pullrequest:created"],
    "edited": ["pullrequest:updated"],
    "pushed": ["pullrequest:updated", "pullrequest:push"],
    "closed": ["pullrequest:rejected"],
    "merged": ["pullrequest:fulfilled"],
}
"""Bitbucket has no event for ``reopened``: a declined pull request stays declined."""

Read = Callable[[str], CommitDetails]


def push(
    repository: Repository,
    updates: Sequence[RefUpdate],
    *,
    actor: User | None,
    read: Read,
    origin: str,
) -> Event:
    """Return the event ``repo:push``, for all refs that a push has changed."""
    changes = [_change(update, repository, read, origin) for update in updates]
    body = {**_about(repository, actor, origin), "push": {"changes": changes}}
    return _event("repo:push", body)


def pull_request(
    change: PullRequestChange,
    repository: Repository,
    source: Repository | None,
    *,
    actor: User | None,
    origin: str,
) -> list[Event]:
    """The events of a change.

    Args:
        source: The repository that the commits come from; ``None`` if it was deleted.
    """
    told = pull_request_shape(change.row, repository, source, actor=actor, origin=origin)
    body = {**_about(repository, actor, origin), "pullrequest": told}
    return [_event(name, body) for name in NAMES[change.action]]


def pull_request_shape(
    row: PullRequest,
    repository: Repository,
    source: Repository | None,
    *,
    actor: User | None,
    origin: str,
) -> dict[str, Any]:
    """Return the JSON that events and the API have in common for a pull request."""
    api = f"{origin}/2.0/repositories/{repository.full_name}/pullrequests/{row.number}"
    return {
        "type": "pullrequest",
        "id": row.number,
        "title": row.title,
        "description": "",
        "state": "DECLINED" if row.state == "CLOSED" else row.state,
        "author": _user(actor),
        "source": _end(source, row.source_branch, row.commit, origin),
        "destination": _end(repository, row.target_branch, row.target_commit, origin),
        "merge_commit": None,
        "close_source_branch": False,
        "closed_by": None,
        "reason": "",
        "reviewers": [],
        "participants": [],
        "links": {"self": {"href": api}},
    }


def _event(name: str, body: Any) -> Event:
    return Event(name, json.dumps(body).encode(), {**HEADERS, "X-Event-Key": name})


def _about(repository: Repository, actor: User | None, origin: str) -> dict[str, Any]:
    return {"actor": _user(actor), "repository": _repository(repository, origin)}


def _user(row: User | None) -> Any:
    if row is None:
        return {"type": "app_user", "display_name": "Access token", "nickname": "access-token"}
    return {
        "type": "user",
        "uuid": row.uuid,
        "nickname": row.username,
        "display_name": row.display_name,
    }


def _repository(row: Repository, origin: str) -> Any:
    return {
        "type": "repository",
        "uuid": repository_uuid(row),
        "full_name": row.full_name,
        "name": row.name,
        "scm": "git",
        "is_private": row.private,
        "links": {
            "self": {"href": f"{origin}/2.0/repositories/{row.full_name}"},
            "html": {"href": f"{origin}/{row.full_name}"},
        },
    }


def _end(row: Repository | None, branch: str, commit: str, origin: str) -> Any:
    """Return ``source`` or ``destination``. Their hashes are short."""
    return {
        "branch": {"name": branch},
        "commit": {"type": "commit", "hash": commit[:SHORT_HASH]},
        "repository": None if row is None else _repository(row, origin),
    }


def _change(update: RefUpdate, row: Repository, read: Read, origin: str) -> Any:
    pushed = list(islice(_new_commits(update, read), MOST_COMMITS + 1))
    return {
        "old": _ref(update, update.before, row, read, origin),
        "new": _ref(update, update.after, row, read, origin),
        "created": update.before is None,
        "closed": update.after is None,
        "forced": _is_forced(update, read),
        "truncated": len(pushed) > MOST_COMMITS,
        "commits": [_commit(commit, row, origin) for commit in pushed[:MOST_COMMITS]],
    }


def _ref(update: RefUpdate, commit: str | None, row: Repository, read: Read, origin: str) -> Any:
    if commit is None:
        return None
    return {
        "type": update.kind,
        "name": update.name,
        "target": _commit(read(commit), row, origin),
        "links": {"html": {"href": f"{origin}/{row.full_name}/{update.kind}/{update.name}"}},
    }


def _commit(commit: CommitDetails, row: Repository, origin: str) -> Any:
    api = f"{origin}/2.0/repositories/{row.full_name}/commit/{commit.hash}"
    return {
        "type": "commit",
        "hash": commit.hash,
        "date": commit.date.isoformat(),
        "message": commit.message,
        "author": {"type": "author", "raw": commit.author},
        "parents": [{"type": "commit", "hash": parent} for parent in commit.parents],
        "links": {"self": {"href": api}},
    }


def _new_commits(update: RefUpdate, read: Read) -> Iterator[CommitDetails]:
    if update.after is not None:
        until = {update.before} if update.before else set()
        yield from history(update.after, read, until=until)


def _is_forced(update: RefUpdate, read: Read) -> bool:
    if update.before is None or update.after is None:
        return False
    return all(found.hash != update.before for found in history(update.after, read, until=set()))
