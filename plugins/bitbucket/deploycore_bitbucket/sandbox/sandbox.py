"""Bitbucket Cloud's REST API 2.0, as far as deploycore uses it.

A test creates a sandbox, adds content, and sends requests to it over real sockets::

    with Sandbox() as sandbox:
        ada = sandbox.add_user("ada")
        sandbox.add_workspace("acme", members=[ada])
        sandbox.commit("acme", "shop", "main", {"README.md": b"Shop"}, "Start")
        token = sandbox.add_api_token(ada)

The JSON has the form of Atlassian's published description; the tests check every response against
it. Messages and status codes are those that Bitbucket sends.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from deploycore.errors import NotFound
from deploycore.models import is_commit_hash
from deploycore.testing.faults import rate_limited
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.pull_requests import PullRequest, PullRequestChange
from deploycore.testing.repositories import RefUpdate
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Delivery, DeliveryRules, Event, Hook, ShownStatus
from deploycore_bitbucket.sandbox import deploy_keys, events, shapes
from deploycore_bitbucket.sandbox.authentication import (
    AppPasswords,
    Need,
    demand_scope,
    scope_headers,
)
from deploycore_bitbucket.sandbox.hooks import RULES, HooksApi, needed_for_hooks, signed
from deploycore_bitbucket.sandbox.host import (
    API,
    DEFAULT_SCOPES,
    OAUTH,
    BitbucketHost,
    Exchange,
    LoggedRequest,
    surface,
)
from deploycore_bitbucket.sandbox.messages import NO_REPOSITORY, refuse
from deploycore_bitbucket.sandbox.pages import Pagination, page_of
from deploycore_bitbucket.sandbox.partial import select_fields
from deploycore_bitbucket.sandbox.pull_requests import PullRequestsApi, needed_for_pull_requests
from deploycore_bitbucket.sandbox.query import Fields, filtered, ordered
from deploycore_bitbucket.sandbox.rows import Credential, User, Workspace
from deploycore_bitbucket.sandbox.statuses import StatusesApi

__all__ = ["DEFAULT_SCOPES", "Exchange", "LoggedRequest", "Sandbox"]

T = TypeVar("T")

NO_LISTING = "You do not have access to view this workspace's repositories."
WITHDRAWN = "CHANGE-2770 - Functionality has been deprecated"
WITHDRAWN_DETAIL = "This API has been removed. Use the API of one workspace instead."
WITHDRAWN_URL = "https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-2770"

ABOUT_USER = Need(new=("read:user:bitbucket",), old=("account",), person=True)
ABOUT_WORKSPACES = Need(new=("read:workspace:bitbucket",), old=("account",), person=True)
ABOUT_WORKSPACE = Need(new=("read:workspace:bitbucket",))
ABOUT_REPOSITORIES = Need(new=("read:repository:bitbucket",), old=("repository",), anonymous=True)
TO_REPORT = Need(new=("read:repository:bitbucket",), old=("repository",))

ROLES = ("member", "contributor", "admin", "owner")
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")

REPOSITORY_FIELDS: Fields[Repository] = {
    "name": lambda row: row.name,
    "slug": lambda row: row.slug,
    "full_name": lambda row: row.full_name,
    "is_private": lambda row: row.private,
}
BRANCH_FIELDS: Fields[tuple[str, str]] = {"name": lambda row: row[0]}
WORKSPACE_FIELDS: Fields[Workspace] = {"slug": lambda row: row.slug}

Make = Callable[..., Any]
"""Takes the request, the credential, and the parts of the path that the route names. Returns a JSON
value or a response."""


class Sandbox(BitbucketHost):
    """A Bitbucket Cloud on 127.0.0.1. You can fill it before it is started.

    Args:
        port: The port to listen on; 0 for any free port.
        app_passwords: ``working``, as until 2026, or ``removed``, as now.
        latency: Seconds that every answer waits.
        rate_budget: The number of REST requests that are answered before 429; ``None`` for all.
        retry_after: The seconds to wait in a response with 429; ``None`` to send none, like
            Bitbucket.
        pagination: ``iterator`` makes every collection forward-only, with an opaque ``next``.
        webhook_rules: The rules for deliveries (default: Bitbucket's).
    """

    WEBHOOK_RULES = RULES

    def __init__(
        self,
        *,
        port: int = 0,
        app_passwords: AppPasswords = "working",
        latency: float = 0.0,
        rate_budget: int | None = None,
        retry_after: int | None = None,
        pagination: Pagination = "list",
        webhook_rules: DeliveryRules = RULES,
    ) -> None:
        super().__init__(port=port, latency=latency, app_passwords=app_passwords)
        self.rate_budget = rate_budget
        self._retry_after = retry_after
        self._pagination = pagination
        self._counting = threading.Lock()
        self.webhooks.rules = webhook_rules
        self._hooks = HooksApi(self.webhooks)
        self._statuses = StatusesApi()
        self._pull_requests = PullRequestsApi(
            self.pull_requests, self.named, self.git.branches, self.somebody
        )

    def answer(self, request: Request) -> Answer:
        if surface(request) == "rest" and self._is_over_budget():
            limited = rate_limited(retry_after=self._retry_after)
            return replace(limited.apply(request, Answer(429, {})), exemption="rate limit")
        return super().answer(request)

    def routes(self) -> Mapping[str, Route]:
        repository = f"{API}/repositories/{{workspace}}/{{slug}}"
        api: dict[str, Route] = {
            **self.oauth.routes(authorize=f"{OAUTH}/authorize", token=f"{OAUTH}/access_token"),
            f"GET {API}/user": self._route(ABOUT_USER, self._user),
            f"GET {API}/user/workspaces": self._route(ABOUT_WORKSPACES, self._user_workspaces),
            f"GET {API}/workspaces/{{workspace}}": self._route(ABOUT_WORKSPACE, self._workspace),
            f"GET {API}/repositories/{{workspace}}": self._readable(self._repositories),
            f"GET {repository}": self._readable(self._repository),
            f"GET {repository}/refs/branches": self._readable(self._branches),
            f"GET {repository}/refs/branches/{{name*}}": self._readable(self._branch),
            f"GET {repository}/refs/tags": self._readable(self._tags),
            f"GET {API}/repositories": self._withdrawn,
            f"GET {API}/workspaces": self._withdrawn,
            f"GET {API}/user/permissions/{{what*}}": self._withdrawn,
        }
        below = {
            "hooks": (needed_for_hooks, self._hook),
            "pullrequests": (needed_for_pull_requests, self._pull_request),
            "deploy-keys": (deploy_keys.needed, self._deploy_key),
        }
        for method in METHODS:
            for part, (need, make) in below.items():
                api[f"{method} {repository}/{part}"] = self._route(need, make)
                api[f"{method} {repository}/{part}/{{rest*}}"] = self._route(need, make)
            statuses = f"{method} {repository}/commit/{{commit}}/statuses"
            about = ABOUT_REPOSITORIES if method == "GET" else TO_REPORT
            api[statuses] = api[f"{statuses}/{{rest*}}"] = self._route(about, self._status)
            api[f"{method} /{{rest*}}"] = self._nothing
        return api

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Iterable[Event]:
        """Return one event for all branches and tags of a push."""
        actor = self.somebody(repository)
        with self.git.commits(repository) as read:
            return [events.push(repository, updates, actor=actor, read=read, origin=self.url)]

    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Iterable[Event]:
        actor = self.somebody(repository)
        return events.pull_request(change, repository, source, actor=actor, origin=self.url)

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return signed(hook, body)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """The deliveries that were sent or are waiting. ``webhooks.wait()`` waits until they are
        sent."""
        return self.webhooks.deliveries

    def statuses(self, owner: str, slug: str, commit: str) -> Sequence[ShownStatus]:
        return self._statuses.shown(self.existing(owner, slug), commit)

    def update_pull_request(self, row: PullRequest, *, title: str) -> PullRequest:
        """Change its title. New commits on its branch are added without a call."""
        return self.edit_pull_request(row, title=title)

    def decline_pull_request(self, row: PullRequest) -> PullRequest:
        """Close it without merging. It cannot be reopened."""
        return self.close_pull_request(row)

    # Routes

    def _route(self, need: Need | Callable[[Request], Need], make: Make) -> Route:
        """Check the credentials, select ``fields``, and name the scopes in the headers."""

        def answer(request: Request, **names: str) -> Answer:
            credential = self.rest_caller(request)
            required = need(request) if callable(need) else need
            try:
                demand_scope(credential, required)
                made = make(request, credential, **names)
                fields = request.query.get("fields", "")
                if not isinstance(made, Answer):
                    made = json_answer(select_fields(made, fields))
            except Refusal as refusal:
                made = refusal.answer
            if credential is None:
                return made
            return with_headers(made, scope_headers(credential, required))

        return answer

    def _readable(self, make: Make) -> Route:
        return self._route(ABOUT_REPOSITORIES, make)

    def _nothing(self, request: Request, rest: str) -> Answer:
        if request.method != "GET":
            raise refuse(405, f"Method {request.method} is not allowed.")
        self.rest_caller(request)
        raise refuse(404, "Resource not found")

    def _withdrawn(self, request: Request, what: str = "") -> Answer:
        self.rest_caller(request)
        data = {"announcement_url": WITHDRAWN_URL}
        error = {"message": WITHDRAWN, "detail": WITHDRAWN_DETAIL, "data": data}
        return json_answer({"type": "error", "error": error, "data": data}, 410)

    def _user(self, request: Request, caller: Credential | None) -> Any:
        return shapes.user(_person(caller), request.origin)

    def _user_workspaces(self, request: Request, caller: Credential | None) -> Any:
        user = _person(caller)
        rows = self.workspaces_of(user)
        wanted = request.query.get("administrator")
        if wanted is not None:
            if wanted not in ("true", "false"):
                raise refuse(400, "Invalid value for administrator")
            rows = [row for row in rows if row.members[user.username] is (wanted == "true")]
        return self._page(
            ordered(rows, request, WORKSPACE_FIELDS),
            request,
            lambda row: shapes.workspace_access(
                row, request.origin, administrator=row.members[user.username]
            ),
        )

    def _workspace(self, request: Request, caller: Credential | None, workspace: str) -> Any:
        row = self._find_workspace(workspace)
        known = {caller.username} if caller and not caller.user else set()
        if caller is None or not (row.slug in known or caller.username in row.members):
            raise _no_workspace(workspace)
        return shapes.workspace(row, request.origin)

    def _repositories(self, request: Request, caller: Credential | None, workspace: str) -> Any:
        row = self._find_workspace(workspace)
        role = request.query.get("role")
        if caller is not None and not caller.may_list:
            raise refuse(403, NO_LISTING)
        rows = [found for found in self.owned(row.slug) if self.may_read(caller, found)]
        if role is not None and not _has_role(caller, row, role):
            rows = []
        shown = ordered(filtered(rows, request, REPOSITORY_FIELDS), request, REPOSITORY_FIELDS)
        return self._page(shown, request, self._shape_in(row, request, caller))

    def _repository(
        self, request: Request, caller: Credential | None, workspace: str, slug: str
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        return self._shape_in(self._find_workspace(workspace), request, caller)(repository)

    def _branches(
        self, request: Request, caller: Credential | None, workspace: str, slug: str
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        rows = filtered(self.branches(repository), request, BRANCH_FIELDS)
        rows = ordered(rows, request, BRANCH_FIELDS)
        with self.git.commits(repository) as read:
            return self._page(
                rows,
                request,
                lambda row: shapes.branch(repository, row[0], read(row[1]), request.origin),
            )

    def _tags(self, request: Request, caller: Credential | None, workspace: str, slug: str) -> Any:
        repository = self._find(caller, workspace, slug)
        rows = filtered(sorted(self.git.tags(repository).items()), request, BRANCH_FIELDS)
        rows = ordered(rows, request, BRANCH_FIELDS)
        with self.git.commits(repository) as read:
            return self._page(
                rows,
                request,
                lambda row: shapes.tag(repository, row[0], read(row[1]), request.origin),
            )

    def _branch(
        self, request: Request, caller: Credential | None, workspace: str, slug: str, name: str
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        found = self.git.branches(repository).get(name)
        if found is None:
            raise refuse(404, f"Branch '{name}' not found")
        with self.git.commits(repository) as read:
            return shapes.branch(repository, name, read(found), request.origin)

    def _hook(
        self,
        request: Request,
        caller: Credential | None,
        workspace: str,
        slug: str,
        rest: str = "",
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        members = self.workspace(repository.owner).members
        if caller is not None and caller.user and not members.get(caller.username):
            raise refuse(403, "You do not have admin access to this repository.")
        return self._hooks.answer(request, repository, rest, self._page)

    def _deploy_key(
        self,
        request: Request,
        caller: Credential | None,
        workspace: str,
        slug: str,
        rest: str = "",
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        members = self.workspace(repository.owner).members
        if caller is not None and caller.user and not members.get(caller.username):
            raise refuse(403, "You do not have admin access to this repository.")
        return deploy_keys.answer(request, self.deploy_keys, repository, rest, self._page)

    def _pull_request(
        self,
        request: Request,
        caller: Credential | None,
        workspace: str,
        slug: str,
        rest: str = "",
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        return self._pull_requests.answer(request, repository, rest, self._page)

    def _status(
        self,
        request: Request,
        caller: Credential | None,
        workspace: str,
        slug: str,
        commit: str,
        rest: str = "",
    ) -> Any:
        repository = self._find(caller, workspace, slug)
        if not is_commit_hash(commit) or not self.git.has_commit(repository, commit):
            raise refuse(404, f"Commit {commit} not found")
        return self._statuses.answer(request, repository, commit, rest, self._page)

    def _find_workspace(self, identifier: str) -> Workspace:
        try:
            return self.workspace(identifier)
        except NotFound:
            raise _no_workspace(identifier) from None

    def _find(self, caller: Credential | None, workspace: str, slug: str) -> Repository:
        row = self.by_identifier(self._find_workspace(workspace).slug, slug)
        if row is None or not self.may_read(caller, row):
            raise refuse(404, NO_REPOSITORY)
        return row

    def _shape_in(
        self, workspace: Workspace, request: Request, caller: Credential | None
    ) -> Callable[[Repository], Any]:
        owner = shapes.owner_of_repositories(workspace, request.origin)
        username = caller.git_username if caller else ""
        clone_origin = shapes.clone_origin_for(username, request.origin)

        def shape(row: Repository) -> Any:
            empty = not self.git.branches(row)
            return shapes.repository(
                row, owner, request.origin, clone_origin=clone_origin, empty=empty
            )

        return shape

    def _page(self, rows: Sequence[T], request: Request, render: Callable[[T], Any]) -> Any:
        most = self.PAGES.size_most
        return page_of(rows, request, render, pagination=self._pagination, most=most)

    def _is_over_budget(self) -> bool:
        with self._counting:
            if self.rate_budget is None:
                return False
            self.rate_budget -= 1
            return self.rate_budget < 0


def _has_role(caller: Credential | None, workspace: Workspace, role: str) -> bool:
    """Whether a user has a role. Members may read; administrators of the workspace have all
    roles."""
    if role not in ROLES:
        raise refuse(400, "Invalid role")
    if caller is None or caller.user is None:
        return caller is not None
    administrator = workspace.members.get(caller.username)
    return bool(administrator) if role != "member" else administrator is not None


def _person(caller: Credential | None) -> User:
    if caller is None or caller.user is None:
        raise refuse(401, "This endpoint requires authentication.")
    return caller.user


def _no_workspace(identifier: str) -> Refusal:
    return refuse(404, f"No workspace with identifier '{identifier}'.")
