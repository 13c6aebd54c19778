"""The events that the sandbox sends to webhooks, in the form of Atlassian's documentation.

The functions have no side effects: they convert rows and JSON to events.

Source: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from deploycore.testing.pull_requests import Action
from deploycore.testing.repositories import RefUpdate
from deploycore.testing.webhooks import Event

from deploycore_bitbucket_datacenter.sandbox import shapes

__all__ = ["TimeFormat", "ping", "pull_request", "push"]

NO_COMMIT = "0" * 40
PREFIXES = {"branch": "refs/heads/", "tag": "refs/tags/"}
NAMES: Mapping[Action, str] = {
    "opened": "pr:opened",
    "edited": "pr:modified",
    "pushed": "pr:from_ref_updated",
    "closed": "pr:declined",
    "merged": "pr:merged",
}
"""Bitbucket has no event for ``reopened``."""

TimeFormat = Literal["milliseconds", "iso"]
"""The form of times: numbers up to version 9, texts from version 10 on."""

TIMES: Mapping[TimeFormat, int | str] = {
    "milliseconds": shapes.MADE,
    "iso": "2024-05-01T09:30:00+0000",
}


def push(repository: Mapping[str, Any], updates: Sequence[RefUpdate], times: TimeFormat) -> Event:
    """Return the event ``repo:refs_changed``, for all refs that a push has changed."""
    changes = [_change(update) for update in updates]
    newest = next((each["toHash"] for each in changes if each["type"] != "DELETE"), None)
    commits = [] if newest is None else [_commit(newest, times)]
    body = {"repository": repository, "changes": changes, "commits": commits}
    return _event("repo:refs_changed", body)


def pull_request(action: Action, told: Mapping[str, Any], times: TimeFormat) -> Sequence[Event]:
    """Return the events of a change of a pull request; none if Bitbucket has no event for it.

    Args:
        told: The pull request, as JSON.
    """
    if action not in NAMES:
        return ()
    dated = {name: TIMES[times] if name.endswith("Date") else value for name, value in told.items()}
    return (_event(NAMES[action], {"pullRequest": dated}),)


def ping() -> Event:
    """Return the event that the button *Test connection* sends."""
    return Event("diagnostics:ping", b'{"test": true}', _headers("diagnostics:ping"))


def _change(update: RefUpdate) -> dict[str, Any]:
    id = f"{PREFIXES[update.kind]}{update.name}"
    types = {(True, False): "ADD", (False, True): "DELETE", (False, False): "UPDATE"}
    return {
        "ref": {"id": id, "displayId": update.name, "type": update.kind.upper()},
        "refId": id,
        "fromHash": update.before or NO_COMMIT,
        "toHash": update.after or NO_COMMIT,
        "type": types[update.before is None, update.after is None],
    }


def _commit(hash: str, times: TimeFormat) -> dict[str, Any]:
    person = {"name": shapes.USER, "emailAddress": "ada@example.com"}
    return {
        "id": hash,
        "displayId": hash[:11],
        "author": person,
        "authorTimestamp": TIMES[times],
        "committer": person,
        "committerTimestamp": TIMES[times],
        "message": "Change",
        "parents": [],
    }


def _event(name: str, told: Mapping[str, Any]) -> Event:
    body = {"eventKey": name, "date": TIMES["iso"], "actor": shapes.user(), **told}
    return Event(name, json.dumps(body).encode(), _headers(name))


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Atlassian HttpClient 4.2.0 / Bitbucket-9.4.0 (9004000) / Default",
        "X-Event-Key": name,
    }
