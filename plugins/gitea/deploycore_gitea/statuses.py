"""How a commit's deployment is shown on the pages of Gitea and Forgejo: its commit statuses.

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
    """What is sent for a status. Of several with the same ``context`` the latest one is shown.

    The context is the only name that pages show, and it is what tells statuses apart: the key.
    """
    line = " ".join((status.description or status.name).split())
    cut = line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
    return {
        "context": status.key,
        "state": STATES[status.state],
        "description": cut,
        "target_url": status.url,
    }
