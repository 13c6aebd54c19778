"""The events that the sandbox sends to webhooks, in the form of Gitea's
``modules/structs/hook.go``.

The functions have no side effects: they convert rows and commits to JSON. The events and their
order are those of Gitea's ``services/repository/push.go``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploycore.testing.pull_requests import Action, PullRequest, PullRequestChange
from deploycore.testing.repositories import CommitDetails, RefUpdate
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Event

from deploycore_gitea.sandbox import shapes

__all__ = ["About", "of_pull_request", "of_ref", "pull_request"]

NO_COMMIT = "0" * 40
ACTIONS: Mapping[Action, str] = {"pushed": "synchronized", "merged": "closed"}
PREFIXES = {"branch": "refs/heads/", "tag": "refs/tags/"}

Read = Callable[[str], CommitDetails]


@dataclass(frozen=True)
class About:
    """The facts that all events of a repository contain.

    Attributes:
        url: The address of the server.
        actor: The user who caused the event.
    """

    row: Repository
    url: str
    actor: str

    @property
    def repository(self) -> dict[str, Any]:
        return shapes.repository(self.row, self.url, empty=False)

    @property
    def sender(self) -> dict[str, Any]:
        return shapes.user(self.actor, self.url)


def of_ref(about: About, update: RefUpdate, read: Read) -> Iterator[Event]:
    """Return the events of one branch or tag, in order.

    A deleted branch causes only ``delete``; a deleted tag also causes ``push``. A moved tag is
    reported like a new one.
    """
    if update.after is None:
        if update.kind == "tag":
            yield _push(about, update, update.before, read)
        body = {"ref": update.name, "ref_type": update.kind, "pusher_type": "user"}
        yield _event("delete", "delete", about, body)
        return
    is_new = update.before is None or update.kind == "tag"
    body = {"sha": update.after, "ref": update.name, "ref_type": update.kind}
    made = _event("create", "create", about, body)
    pushed = _push(about, update, None if is_new else update.before, read)
    if not is_new:
        yield pushed
    elif update.kind == "tag":
        yield from (pushed, made)
    else:
        yield from (made, pushed)


def of_pull_request(
    about: About, change: PullRequestChange, *, source: Repository | None, branch_exists: bool
) -> Event:
    """An event of a pull request.

    Args:
        source: The repository that the commits come from; ``None`` if it was deleted.
        branch_exists: Whether its branch still exists.
    """
    row, action = change.row, ACTIONS.get(change.action, change.action)
    kind = "pull_request_sync" if change.action == "pushed" else "pull_request"
    told = pull_request(about, row, source=source, branch_exists=branch_exists)
    body = {"action": action, "number": row.number, "pull_request": told}
    more = {"requested_reviewer": None, "commit_id": "", "review": None}
    return _event(kind, "pull_request", about, {**body, **more})


def pull_request(
    about: About, row: PullRequest, *, source: Repository | None, branch_exists: bool
) -> dict[str, Any]:
    """Return a pull request as events and the API have it (``PullRequest`` in the API description).

    Args:
        source: The repository that the commits come from; ``None`` if it was deleted.
        branch_exists: Whether its branch still exists.
    """
    exists = source is not None and branch_exists
    page = f"{about.url}/{row.repository}/pulls/{row.number}"
    head = {
        "label": row.source_branch,
        "ref": row.source_branch if exists else f"refs/pull/{row.number}/head",
        "sha": row.commit,
        "repo_id": -1 if source is None else source.number,
        "repo": None if source is None else shapes.repository(source, about.url, empty=False),
    }
    base = {
        "label": row.target_branch,
        "ref": row.target_branch,
        "sha": row.target_commit,
        "repo_id": about.row.number,
        "repo": about.repository,
    }
    return {
        "id": row.number,
        "url": page,
        "number": row.number,
        "user": about.sender,
        "title": row.title,
        "body": "",
        "state": "open" if row.is_open else "closed",
        "draft": False,
        "html_url": page,
        "mergeable": row.is_open,
        "merged": row.is_merged,
        "merged_at": shapes.MADE if row.is_merged else None,
        "merge_commit_sha": row.target_commit if row.is_merged else None,
        "base": base,
        "head": head,
        "merge_base": row.target_commit,
    }


def _push(about: About, update: RefUpdate, before: str | None, read: Read) -> Event:
    row, url = about.row, about.url
    commits = []
    if update.after is not None:
        commits = [shapes.payload_commit(read(update.after), row, url)]
    old, new = before or NO_COMMIT, update.after or NO_COMMIT
    body = {
        "ref": f"{PREFIXES[update.kind]}{update.name}",
        "before": old,
        "after": new,
        "compare_url": f"{url}/{row.full_name}/compare/{old}...{new}",
        "commits": commits if update.kind == "branch" else [],
        "total_commits": len(commits),
        "head_commit": commits[0] if commits else None,
        "pusher": about.sender,
    }
    return _event("push", "push", about, body)


def _event(kind: str, name: str, about: About, told: dict[str, Any]) -> Event:
    body = {**told, "repository": about.repository, "sender": about.sender}
    headers = {"Content-Type": "application/json", "User-Agent": "Go-http-client/1.1"}
    for program in ("Gitea", "Gogs", "GitHub"):
        headers |= {f"X-{program}-Event": name, f"X-{program}-Event-Type": kind}
    return Event(kind, json.dumps(body, indent=2).encode(), headers)
