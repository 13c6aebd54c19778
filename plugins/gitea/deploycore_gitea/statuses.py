"""Commit statuses: how Gitea and Forgejo show the deployment of a commit.

Source: https://docs.gitea.com/api/ (``repoCreateStatus``)
"""

from __future__ import annotations

from deploycore.events import CommitState, CommitStatus

__all__ = ["STATES", "commit_status"]

STATES: dict[CommitState, str] = {
    "in_progress": "pending",
    "successful": "success",
    "failed": "failure",
    "stopped": "error",
}
MOST_CHARACTERS = 255


def commit_status(status: CommitStatus) -> dict[str, str]:
    """The body of a status. The latest status of each ``context`` is shown.

    The context is the only name that pages show, and it identifies a status. So it is the key.
    """
    line = " ".join((status.description or status.name).split())
    cut = line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
    return {
        "context": status.key,
        "state": STATES[status.state],
        "description": cut,
        "target_url": status.url,
    }
