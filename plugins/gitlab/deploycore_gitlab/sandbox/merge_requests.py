"""The sandbox's merge requests, and what webhooks are told of them.

They have no REST API here: tests and the demo make them by the sandbox's methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deploycore.errors import NotFound
from deploycore.testing.repositories import GitRepositories, RefUpdate, Served
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Webhooks

from deploycore_gitlab.sandbox import events
from deploycore_gitlab.sandbox.events import MergeRequest, State

__all__ = ["MergeRequests"]

_ACTIONS: Mapping[State, str] = {"opened": "reopen", "closed": "close", "merged": "merge"}


class MergeRequests:
    """All merge requests of a sandbox; watches what is pushed to their branches.

    Args:
        find: A project by its full path.
        user: Whoever does what no client asked for.
        root: Where the sandbox is.
    """

    def __init__(
        self,
        git: GitRepositories,
        webhooks: Webhooks,
        find: Callable[[str], Repository | None],
        user: str,
        root: Callable[[], str],
    ) -> None:
        self._git = git
        self._webhooks = webhooks
        self._find = find
        self._user = user
        self._root = root
        self._lock = threading.RLock()
        self._rows: list[MergeRequest] = []
        git.watchers.append(self._pushed)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._rows.clear()

    def open(
        self, row: Repository, source: Repository, branches: tuple[str, str], title: str
    ) -> MergeRequest:
        """Open one, from one branch into another."""
        source_branch, target_branch = branches
        # Before the lock: pushes take git's first, and then this one.
        commit = self._commit(source, source_branch)
        self._commit(row, target_branch)
        with self._lock:
            number = 1 + sum(each.project == row.full_name for each in self._rows)
            request = MergeRequest(
                number=number,
                project=row.full_name,
                source=source.full_name,
                source_branch=source_branch,
                target_branch=target_branch,
                title=title or source_branch,
                commit=commit,
            )
            self._rows.append(request)
        self._tell("open", request)
        return request

    def update(self, request: MergeRequest, **changes: str) -> MergeRequest:
        """Change its title or its target."""
        return self._change(request, "update", {}, **changes)

    def end(self, request: MergeRequest, state: State) -> MergeRequest:
        """Merge it, close it, or open it again."""
        if state == "merged":
            with self._lock:
                request = self._rows[self._place(request)]
            row, source = self._find(request.project), self._find(request.source)
            if row is None or source is None:
                raise NotFound(f"The project of merge request {request.number} is gone.")
            self._git.take(row, request.target_branch, request.commit, source=source)
        return self._change(request, _ACTIONS[state], {}, state=state)

    def _change(
        self, request: MergeRequest, action: str, more: Mapping[str, Any], **changes: Any
    ) -> MergeRequest:
        with self._lock:
            place = self._place(request)
            before = self._rows[place]
            after = self._rows[place] = replace(before, **changes)
        told = {
            field: {"previous": getattr(before, field), "current": value}
            for field, value in changes.items()
            if field in ("title", "target_branch")
        }
        self._tell(action, after, more, told)
        return after

    def _place(self, request: MergeRequest) -> int:
        for place, known in enumerate(self._rows):
            if (known.project, known.number) == (request.project, request.number):
                return place
        name = f"{request.project}!{request.number}"
        raise NotFound(f"The sandbox has no merge request {name}.")

    def _commit(self, row: Repository, branch: str) -> str:
        branches = self._git.branches(row)
        if branch not in branches:
            raise NotFound(f"The sandbox's {row.full_name} has no branch {branch!r}.")
        return branches[branch]

    def _pushed(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        moved = {update.name: update.after for update in updates if update.kind == "branch"}
        with self._lock:
            rows = [
                each
                for each in self._rows
                if each.state == "opened" and each.source == served.full_name
            ]
        for request in rows:
            commit = moved.get(request.source_branch)
            if commit is not None:
                self._change(request, "update", {"oldrev": request.commit}, commit=commit)

    def _tell(
        self,
        action: str,
        request: MergeRequest,
        more: Mapping[str, Any] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        row, source = self._find(request.project), self._find(request.source)
        if row is None or not self._webhooks.of(request.project):
            return
        with self._git.commits(source or row) as read:
            event = events.merge_request(
                action,
                request,
                row,
                source,
                user=self._user,
                read=read,
                root=self._root(),
                more=more or {},
                changes=changes or {},
            )
        self._webhooks.fire(request.project, event)
