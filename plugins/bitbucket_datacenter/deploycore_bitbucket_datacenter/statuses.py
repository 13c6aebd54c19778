"""Build statuses: how Bitbucket Data Center shows the deployment of a commit.

Source: the resources ``…/commits/{commitId}/builds`` (7.4 and later) and
``build-status/latest/commits/{commitId}`` (deprecated in 7.14) of
https://developer.atlassian.com/server/bitbucket/rest/
"""

from __future__ import annotations

from deploycore.events import CommitState, CommitStatus
from deploycore.models import RepositoryId

from deploycore_bitbucket_datacenter.answers import page_of

__all__ = ["STATES", "build_status", "older"]

STATES: dict[CommitState, str] = {
    "in_progress": "INPROGRESS",
    "successful": "SUCCESSFUL",
    "failed": "FAILED",
    "stopped": "CANCELLED",
}
MOST_CHARACTERS = 255
LONGEST_URL = 450


def build_status(status: CommitStatus, repository: RepositoryId, url: str) -> dict[str, str]:
    """The body of a status. A status replaces the previous one with the same key.

    Bitbucket requires an address. Without one, or with one that is too long, the status links to
    the commit's page. ``ref`` is left out, because its type (branch or tag) is required and not
    known here.

    Args:
        url: The base URL of the server.
    """
    page = f"{page_of(url, repository)}/commits/{status.commit}"
    body = {
        "key": status.key,
        "state": STATES[status.state],
        "name": _cut(status.name),
        "description": _cut(status.description),
        "url": status.url if 0 < len(status.url) <= LONGEST_URL else page,
    }
    return {field: value for field, value in body.items() if value}


def older(body: dict[str, str]) -> dict[str, str]:
    """Return the body for a server that does not know ``CANCELLED``."""
    return {**body, "state": "FAILED" if body["state"] == "CANCELLED" else body["state"]}


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
