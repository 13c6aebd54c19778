"""The REST API's build statuses of commits.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import ShownStatus
from deploycore_bitbucket.sandbox.messages import decoded, invalid, refuse
from deploycore_bitbucket.statuses import STATES

__all__ = ["StatusesApi"]

LONGEST_KEY = 40
_STATES = {said: state for state, said in STATES.items()}
_TEXTS = ("name", "description", "url", "refname")


@dataclass(frozen=True)
class _Status:
    key: str
    state: str
    created_on: datetime
    updated_on: datetime
    texts: Mapping[str, str]


Page = Callable[[Sequence[_Status], Request, Callable[[_Status], Any]], Any]


class StatusesApi:
    """Handles the requests below ``…/commit/{commit}/statuses``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[tuple[str, str], dict[str, _Status]] = {}

    def answer(
        self, request: Request, repository: Repository, commit: str, rest: str, page: Page
    ) -> Any:
        """Return a JSON value or a response about a commit that the repository has.

        Args:
            rest: The address after ``statuses/``.
        """
        api = f"{request.origin}/2.0/repositories/{repository.full_name}/commit/{commit}"
        with self._lock:
            known = self._statuses.setdefault((repository.full_name, commit), {})
            match request.method, rest.split("/"):
                case "GET", [""]:
                    ref = request.query.get("refname")
                    rows = [row for row in known.values() if _is_about(row, ref)]
                    return page(rows, request, lambda row: _shape(row, api))
                case "GET", ["build", key] if key in known:
                    return _shape(known[key], api)
                case "POST", ["build"]:
                    return _put(known, decoded(request), api)
                case "GET", _:
                    raise refuse(404, "Build status not found")
                case _:
                    raise refuse(405, f"Method {request.method} is not allowed.")

    def shown(self, repository: Repository, commit: str) -> Sequence[ShownStatus]:
        """Return the statuses of a commit, the oldest first."""
        with self._lock:
            rows = self._statuses.get((repository.full_name, commit), {}).values()
            return [
                ShownStatus(
                    key=row.key,
                    state=_STATES[row.state],
                    name=row.texts.get("name", ""),
                    description=row.texts.get("description", ""),
                    url=row.texts.get("url", ""),
                )
                for row in rows
            ]


def _is_about(row: _Status, ref: str | None) -> bool:
    return ref is None or row.texts.get("refname") in (None, ref)


def _put(known: dict[str, _Status], body: Mapping[str, Any], api: str) -> Answer:
    """Add a status, or change the one with this key."""
    key, state = body.get("key"), body.get("state")
    wrong = {}
    if not isinstance(key, str) or not key:
        wrong["key"] = "This field is required."
    elif len(key) > LONGEST_KEY:
        wrong["key"] = (
            f"Ensure this value has at most {LONGEST_KEY} characters (it has {len(key)})."
        )
    if state not in _STATES:
        wrong["state"] = "This field is required."
    if wrong:
        raise invalid(wrong)
    now = datetime.now(UTC)
    row = known.get(str(key)) or _Status(str(key), str(state), now, now, {})
    texts = {field: str(body[field]) for field in _TEXTS if body.get(field)}
    known[row.key] = replace(row, state=str(state), updated_on=now, texts={**row.texts, **texts})
    return json_answer(_shape(known[row.key], api), 201)


def _shape(row: _Status, api: str) -> Any:
    links = {"self": f"{api}/statuses/build/{row.key}", "commit": api}
    return {
        "type": "build",
        "key": row.key,
        "state": row.state,
        "created_on": row.created_on.isoformat(),
        "updated_on": row.updated_on.isoformat(),
        "links": {name: {"href": href} for name, href in links.items()},
        **row.texts,
    }
