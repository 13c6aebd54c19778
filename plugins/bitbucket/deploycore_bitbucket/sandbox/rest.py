"""Bitbucket Cloud's REST API 2.0, as far as deploycore uses it.

Shapes follow Atlassian's published description (the tests hold every answer to it); messages
and status codes follow what Bitbucket is known to answer.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from deploycore.errors import NotFound
from deploycore.models import is_commit_hash
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.pull_requests import PullRequests
from deploycore.testing.repositories import GitRepositories
from deploycore.testing.webhooks import ShownStatus, Webhooks
from deploycore_bitbucket.sandbox import shapes
from deploycore_bitbucket.sandbox.authentication import (
    AppPasswords,
    Need,
    demand_scope,
    rest_credential,
    scope_headers,
)
from deploycore_bitbucket.sandbox.hooks import HooksApi, needed_for_hooks
from deploycore_bitbucket.sandbox.messages import refuse
from deploycore_bitbucket.sandbox.pages import Pagination, page_of
from deploycore_bitbucket.sandbox.partial import select_fields
from deploycore_bitbucket.sandbox.pull_requests import (
    PullRequestsApi,
    needed_for_pull_requests,
)
from deploycore_bitbucket.sandbox.query import (
    Fields,
    InvalidQuery,
    natural,
    parse_filter,
    sort_rows,
)
from deploycore_bitbucket.sandbox.state import Credential, Repository, State, User, Workspace
from deploycore_bitbucket.sandbox.statuses import StatusesApi

__all__ = ["RestApi"]

T = TypeVar("T")

NO_REPOSITORY = (
    "You may not have access to this repository or it no longer exists in this workspace. "
    "If you think this repository exists and you have access, make sure you are authenticated."
)
WITHDRAWN = "CHANGE-2770 - Functionality has been deprecated"
WITHDRAWN_DETAIL = "This API has been removed. Use the API of one workspace instead."
WITHDRAWN_URL = "https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-2770"

ABOUT_USER = Need(new=("read:user:bitbucket",), old=("account",), person=True)
ABOUT_WORKSPACES = Need(new=("read:workspace:bitbucket",), old=("account",), person=True)
ABOUT_WORKSPACE = Need(new=("read:workspace:bitbucket",))
ABOUT_REPOSITORIES = Need(new=("read:repository:bitbucket",), old=("repository",), anonymous=True)
TO_REPORT = Need(new=("read:repository:bitbucket",), old=("repository",))

REMEMBERED_LISTS = 8
ROLES = ("member", "contributor", "admin", "owner")

REPOSITORY_FIELDS: Fields[Repository] = {
    "name": lambda row: row.name,
    "slug": lambda row: row.slug,
    "full_name": lambda row: row.full_name,
    "is_private": lambda row: row.private,
}
BRANCH_FIELDS: Fields[tuple[str, str]] = {"name": lambda row: row[0]}
WORKSPACE_FIELDS: Fields[Workspace] = {"slug": lambda row: row.slug}


class RestApi:
    """Answers the requests below ``/2.0``."""

    def __init__(
        self,
        state: State,
        git: GitRepositories,
        app_passwords: AppPasswords,
        pagination: Pagination,
        webhooks: Webhooks,
        pull_requests: PullRequests,
    ) -> None:
        self._hooks = HooksApi(webhooks)
        self._pull_requests = PullRequestsApi(pull_requests, state, git.branches)
        self._statuses = StatusesApi()
        self._state = state
        self._git = git
        self._app_passwords = app_passwords
        self._pagination = pagination
        self._chosen = lru_cache(maxsize=REMEMBERED_LISTS)(self._choose)

    def statuses(self, repository: Repository, commit: str) -> Sequence[ShownStatus]:
        """What is shown about a commit, the oldest first."""
        return self._statuses.shown(repository, commit)

    def answer(self, request: Request) -> Answer:
        """The answer to a request, a refusal included."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return refusal.answer

    def _route(self, request: Request) -> Answer:
        match request.segments[1:]:
            case ["repositories", _, _, "hooks", *_]:
                need = needed_for_hooks(request)
                return self._answer(request, self._credential(request), need, self._hook)
            case ["repositories", _, _, "pullrequests", *_]:
                need = needed_for_pull_requests(request)
                return self._answer(request, self._credential(request), need, self._pull_request)
            case ["repositories", _, _, "commit", _, "statuses", *_]:
                need = ABOUT_REPOSITORIES if request.method == "GET" else TO_REPORT
                return self._answer(request, self._credential(request), need, self._status)
        if request.method != "GET":
            raise refuse(405, f"Method {request.method} is not allowed.")
        return self._read(request)

    def _credential(self, request: Request) -> Credential | None:
        return rest_credential(
            self._state, request.headers.get("authorization"), app_passwords=self._app_passwords
        )

    def _read(self, request: Request) -> Answer:
        credential = self._credential(request)
        match request.segments[1:]:
            case ["user"]:
                return self._answer(request, credential, ABOUT_USER, self._user)
            case ["user", "workspaces"]:
                return self._answer(request, credential, ABOUT_WORKSPACES, self._user_workspaces)
            case ["workspaces", _]:
                return self._answer(request, credential, ABOUT_WORKSPACE, self._workspace)
            case ["repositories", _]:
                return self._answer(request, credential, ABOUT_REPOSITORIES, self._repositories)
            case ["repositories", _, _]:
                return self._answer(request, credential, ABOUT_REPOSITORIES, self._repository)
            case ["repositories", _, _, "refs", "branches"]:
                return self._answer(request, credential, ABOUT_REPOSITORIES, self._branches)
            case ["repositories", _, _, "refs", "branches", *_]:
                return self._answer(request, credential, ABOUT_REPOSITORIES, self._branch)
            case ["repositories"] | ["workspaces"] | ["user", "permissions", *_]:
                return _withdrawn()
            case _:
                raise refuse(404, "Resource not found")

    def _answer(
        self,
        request: Request,
        credential: Credential | None,
        need: Need,
        make: Callable[[Request, Credential | None], Any],
    ) -> Answer:
        try:
            demand_scope(credential, need)
            fields = request.query.get("fields", "")
            made = make(request, credential)
            answer = made if isinstance(made, Answer) else json_answer(select_fields(made, fields))
        except Refusal as refusal:
            answer = refusal.answer
        return with_headers(answer, scope_headers(credential, need)) if credential else answer

    def _user(self, request: Request, credential: Credential | None) -> Any:
        return shapes.user(_person(credential), request.origin)

    def _user_workspaces(self, request: Request, credential: Credential | None) -> Any:
        user = _person(credential)
        rows = self._state.workspaces_of(user.username)
        wanted = request.query.get("administrator")
        if wanted is not None:
            if wanted not in ("true", "false"):
                raise refuse(400, "Invalid value for administrator")
            keep = wanted == "true"
            rows = [row for row in rows if row.members[user.username] is keep]
        rows = _sorted(rows, request.query.get("sort"), WORKSPACE_FIELDS)
        return self._page(
            rows,
            request,
            lambda row: shapes.workspace_access(
                row, request.origin, administrator=row.members[user.username]
            ),
        )

    def _workspace(self, request: Request, credential: Credential | None) -> Any:
        workspace = self._find_workspace(request)
        if credential is None or not _belongs(credential, workspace):
            raise _no_workspace(request)
        return shapes.workspace(workspace, request.origin)

    def _repositories(self, request: Request, credential: Credential | None) -> Any:
        workspace = self._find_workspace(request)
        query = request.query
        choice = (query.get("role"), query.get("q"), query.get("sort"))
        rows = self._chosen(workspace.slug, credential, *choice, version=self._state.version)
        shape = self._shape_in(workspace, request, credential)
        return self._page(rows, request, shape)

    def _choose(
        self,
        slug: str,
        credential: Credential | None,
        role: str | None,
        filter_: str | None,
        sort: str | None,
        *,
        version: int,
    ) -> Sequence[Repository]:
        """The repositories that a list has on all its pages; remembered from page to page."""
        workspace = self._state.workspace(slug)
        if role is not None and not _has_role(credential, workspace, role):
            return []
        everything = self._state.repositories(slug)
        rows = [row for row in everything if self._state.may_read(credential, row)]
        return _sorted(_filtered(rows, filter_, REPOSITORY_FIELDS), sort, REPOSITORY_FIELDS)

    def _repository(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        workspace = self._find_workspace(request)
        return self._shape_in(workspace, request, credential)(repository)

    def _branches(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        rows = sorted(self._git.branches(repository).items())
        rows = _filtered(rows, request.query.get("q"), BRANCH_FIELDS)
        rows = _sorted(rows, request.query.get("sort"), BRANCH_FIELDS)
        with self._git.commits(repository) as read:
            return self._page(
                rows,
                request,
                lambda row: shapes.branch(repository, row[0], read(row[1]), request.origin),
            )

    def _branch(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        name = "/".join(request.segments[6:])
        found = self._git.branches(repository).get(name)
        if found is None:
            raise refuse(404, f"Branch '{name}' not found")
        with self._git.commits(repository) as read:
            return shapes.branch(repository, name, read(found), request.origin)

    def _hook(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        user = credential.user if credential else None
        if user is not None and not self._state.administrates(user, repository.workspace):
            raise refuse(403, "You do not have admin access to this repository.")
        return self._hooks.answer(request, repository, self._page)

    def _pull_request(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        return self._pull_requests.answer(request, repository, self._page)

    def _status(self, request: Request, credential: Credential | None) -> Any:
        repository = self._find_repository(request, credential)
        commit = request.segments[5]
        if not is_commit_hash(commit) or not self._git.has_commit(repository, commit):
            raise refuse(404, f"Commit {commit} not found")
        return self._statuses.answer(request, repository, commit, self._page)

    def _find_workspace(self, request: Request) -> Workspace:
        try:
            return self._state.workspace(request.segments[2])
        except NotFound:
            raise _no_workspace(request) from None

    def _find_repository(self, request: Request, credential: Credential | None) -> Repository:
        workspace = self._find_workspace(request)
        repository = self._state.repository(workspace.slug, request.segments[3])
        if repository is None or not self._state.may_read(credential, repository):
            raise refuse(404, NO_REPOSITORY)
        return repository

    def _shape_in(
        self, workspace: Workspace, request: Request, credential: Credential | None
    ) -> Callable[[Repository], Any]:
        owner = shapes.owner_of_repositories(workspace, request.origin)
        username = credential.git_username if credential else ""
        clone_origin = shapes.clone_origin_for(username, request.origin)

        def shape(row: Repository) -> Any:
            empty = not self._git.branches(row)
            return shapes.repository(
                row, owner, request.origin, clone_origin=clone_origin, empty=empty
            )

        return shape

    def _page(self, rows: Sequence[T], request: Request, render: Callable[[T], Any]) -> Any:
        return page_of(rows, request, render, pagination=self._pagination)


def _has_role(credential: Credential | None, workspace: Workspace, role: str) -> bool:
    """Members may read; administrators of the workspace have every other role as well."""
    if role not in ROLES:
        raise refuse(400, "Invalid role")
    if credential is None or credential.user is None:
        return credential is not None
    administrator = workspace.members.get(credential.user.username)
    return bool(administrator) if role != "member" else administrator is not None


def _filtered(rows: list[T], text: str | None, fields: Fields[T]) -> list[T]:
    if not text:
        return rows
    try:
        keep = parse_filter(text, fields)
    except InvalidQuery as error:
        raise refuse(400, f"Invalid query: {error}") from None
    return [row for row in rows if keep(row)]


def _sorted(rows: list[T], text: str | None, fields: Fields[T]) -> list[T]:
    if not text:
        return rows
    # Branches alone are known to sort their names in natural order.
    keys = {"name": natural} if len(fields) == 1 else {}
    try:
        return sort_rows(rows, text, fields, keys)
    except InvalidQuery as error:
        raise refuse(400, f"Invalid sort: {error}") from None


def _person(credential: Credential | None) -> User:
    if credential is None or credential.user is None:
        raise refuse(401, "This endpoint requires authentication.")
    return credential.user


def _belongs(credential: Credential, workspace: Workspace) -> bool:
    if credential.user is None:
        return credential.workspace == workspace.slug
    return credential.user.username in workspace.members


def _no_workspace(request: Request) -> Refusal:
    return refuse(404, f"No workspace with identifier '{request.segments[2]}'.")


def _withdrawn() -> Answer:
    data = {"announcement_url": WITHDRAWN_URL}
    error = {"message": WITHDRAWN, "detail": WITHDRAWN_DETAIL, "data": data}
    return json_answer({"type": "error", "error": error, "data": data}, 410)
