"""The events that the sandbox sends to webhooks, in the form of GitHub's documentation.

The functions have no side effects: they convert rows and commits to JSON.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

from deploycore.testing.pull_requests import Action, PullRequest, PullRequestChange
from deploycore.testing.repositories import CommitDetails, RefUpdate, history
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Event, Hook, hmac_sha256

__all__ = ["ping", "proof", "pull_request", "pull_request_shape", "push", "reported"]

NOTHING = "0" * 40
COMMITS_MOST = 2048
TAGS_MOST = 3
BRANCHES_MOST = 5000
HEADERS = {"User-Agent": "GitHub-Hookshot/0a1b2c3", "Accept": "*/*"}
ACTIONS: Mapping[Action, str] = {"pushed": "synchronize", "merged": "closed"}
_PREFIXES = {"branch": "refs/heads/", "tag": "refs/tags/"}

Read = Callable[[str], CommitDetails]
Describe = Callable[[Repository], Mapping[str, Any]]


def reported(updates: Sequence[RefUpdate]) -> Iterator[RefUpdate]:
    """Return the changes of a push that cause events: none for tags if there are more than three,
    and none for branches if there are more than 5,000."""
    for kind, most in (("branch", BRANCHES_MOST), ("tag", TAGS_MOST)):
        found = [update for update in updates if update.kind == kind]
        yield from found if len(found) <= most else ()


def push(
    repository: Repository, update: RefUpdate, *, actor: str, describe: Describe, read: Read
) -> Event:
    """``push``, for one ref."""
    page = describe(repository)["html_url"]
    commits = [_commit(found, page) for found in islice(_new_commits(update, read), COMMITS_MOST)]
    person = {"name": actor, "email": f"{actor}@example.com"}
    body = {
        "ref": f"{_PREFIXES[update.kind]}{update.name}",
        "before": update.before or NOTHING,
        "after": update.after or NOTHING,
        "repository": describe(repository),
        "pusher": person,
        "sender": _user(actor),
        "created": update.before is None,
        "deleted": update.after is None,
        "forced": _is_forced(update, read),
        "base_ref": None,
        "compare": f"{page}/compare/{(update.before or NOTHING)[:12]}",
        "commits": commits[::-1],
        "head_commit": _commit(read(update.after), page) if update.after else None,
    }
    return _event("push", body)


def pull_request(
    change: PullRequestChange,
    repository: Repository,
    source: Repository | None,
    *,
    actor: str,
    describe: Describe,
) -> Event:
    """An event of a pull request.

    Args:
        source: The repository that the commits come from; ``None`` if it was deleted.
    """
    row = change.row
    body = {
        "action": ACTIONS.get(change.action, change.action),
        "number": row.number,
        "pull_request": pull_request_shape(
            row,
            repository,
            source,
            actor=actor,
            describe=describe,
            # The target branch before the merge, not the result.
            base_commit=change.before.target_commit,
        ),
        "repository": describe(repository),
        "sender": _user(actor),
    }
    return _event("pull_request", body)


def pull_request_shape(
    row: PullRequest,
    repository: Repository,
    source: Repository | None,
    *,
    actor: str,
    describe: Describe,
    base_commit: str,
) -> dict[str, Any]:
    """Return the JSON that events and the API have in common for a pull request.

    Args:
        source: The repository that the commits come from; ``None`` if it was deleted.
        base_commit: The commit of the target branch, or its commit before the merge.
    """
    return {
        "number": row.number,
        "html_url": f"{describe(repository)['html_url']}/pull/{row.number}",
        "state": "open" if row.is_open else "closed",
        "title": row.title,
        "user": _user(actor),
        "body": None,
        "draft": False,
        "merged": row.is_merged,
        "merge_commit_sha": row.commit if row.is_merged else None,
        "head": _end(source, row.source_branch, row.commit, describe),
        "base": _end(repository, row.target_branch, base_commit, describe),
    }


def ping(hook: Hook, shape: Mapping[str, Any], repository: Mapping[str, Any], actor: str) -> Event:
    """Return the event ``ping``, which a new webhook gets first."""
    body = {
        "zen": "Keep it logically awesome.",
        "hook_id": int(hook.id),
        "hook": dict(shape),
        "repository": dict(repository),
        "sender": _user(actor),
    }
    return _event("ping", body)


def proof(hook: Hook, body: bytes) -> dict[str, str]:
    """Return the headers that differ for each delivery. With a secret, these include the
    signatures; GitHub still sends the one with SHA-1 for old clients."""
    headers = {
        "X-GitHub-Delivery": str(uuid4()),
        "X-GitHub-Hook-ID": hook.id,
        "X-GitHub-Hook-Installation-Target-Type": "repository",
    }
    if hook.secret is None:
        return headers
    key = hook.secret.get_secret_value().encode()
    return {
        **headers,
        "X-Hub-Signature": f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}",
        "X-Hub-Signature-256": f"sha256={hmac_sha256(hook.secret, body)}",
    }


def _event(name: str, body: Any) -> Event:
    headers = {**HEADERS, "Content-Type": "application/json", "X-GitHub-Event": name}
    return Event(name, json.dumps(body).encode(), headers)


def _user(login: str) -> dict[str, Any]:
    return {"login": login, "type": "User", "site_admin": False}


def _end(
    repository: Repository | None, branch: str, commit: str, describe: Describe
) -> dict[str, Any]:
    """Return ``head`` or ``base``."""
    owner = "unknown" if repository is None else repository.owner
    return {
        "label": f"{owner}:{branch}",
        "ref": branch,
        "sha": commit,
        "user": None if repository is None else _user(owner),
        "repo": None if repository is None else describe(repository),
    }


def _commit(commit: CommitDetails, page: str) -> dict[str, Any]:
    name, _, rest = commit.author.partition(" <")
    return {
        "id": commit.hash,
        "distinct": True,
        "message": commit.message,
        "timestamp": commit.date.isoformat(),
        "url": f"{page}/commit/{commit.hash}",
        "author": {"name": name, "email": rest.rstrip(">")},
    }


def _new_commits(update: RefUpdate, read: Read) -> Iterator[CommitDetails]:
    if update.after is not None and update.kind == "branch":
        yield from history(update.after, read, until={update.before} if update.before else ())


def _is_forced(update: RefUpdate, read: Read) -> bool:
    if update.before is None or update.after is None:
        return False
    return all(found.hash != update.before for found in history(update.after, read, until=()))
