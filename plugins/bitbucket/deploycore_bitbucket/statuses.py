"""Build statuses: how Bitbucket shows the deployment of a commit.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
"""

from __future__ import annotations

from deploycore.events import CommitState, CommitStatus
from deploycore.models import RepositoryId

__all__ = ["STATES", "build_status"]

STATES: dict[CommitState, str] = {
    "in_progress": "INPROGRESS",
    "successful": "SUCCESSFUL",
    "failed": "FAILED",
    "stopped": "STOPPED",
}
MOST_CHARACTERS = 255


def build_status(status: CommitStatus, repository: RepositoryId, *, git_url: str) -> dict[str, str]:
    """The body of a status. A status replaces the previous one with the same key.

    Bitbucket's API description does not require an address, but its pages link to one. Without
    an address, the status links to the commit's page.

    Args:
        git_url: The address of the repositories' pages.
    """
    page = f"{git_url}/{repository.path}/commits/{status.commit}"
    body = {
        "key": status.key,
        "state": STATES[status.state],
        "name": _cut(status.name),
        "description": _cut(status.description),
        "url": _plain(status.url) or page,
        "refname": status.ref,
    }
    return {field: value for field, value in body.items() if value}


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"


def _plain(url: str) -> str:
    """Escape braces, in which Bitbucket expects the name of a variable."""
    return url.replace("{", "%7B").replace("}", "%7D")
