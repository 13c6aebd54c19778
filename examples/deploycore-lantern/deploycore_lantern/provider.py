"""Lantern's hooks: pages with cursors, and credentials for git that are issued for each clone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

from deploycore.errors import DeploycoreError, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore.http import ErrorAnswer, HttpClient, parse_answer, parse_items
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneUrl,
    Repository,
    RepositoryId,
    RepositoryQuery,
)

from deploycore_lantern.answers import BranchAnswer, GitAnswer, MeAnswer, Page, ProjectAnswer
from deploycore_lantern.configuration import READ_SCOPE, LanternConfig

__all__ = ["LanternProvider"]


class LanternProvider:
    """One configured client of Lantern."""

    API_VERSION = 1
    Config = LanternConfig

    def __init__(self, config: LanternConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http.explaining(explain)

    @hookimpl
    def authenticate(self) -> Account:
        """``GET /me``."""
        client = parse_answer(MeAnswer, self._http.get_json("me"), what="the client").client
        return Account(username=client)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /teams/{team}/projects``."""
        path = f"teams/{_quoted(query.owner or self._config.team)}/projects"
        for items in self._pages(path, query.name_contains):
            projects = parse_items(ProjectAnswer, items, what="a page of projects")
            yield from (project.repository(self._config.url) for project in projects)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /projects/{team}/{project}/branches``."""
        for items in self._pages(f"{_project(repository)}/branches", query.name):
            yield from parse_items(
                BranchAnswer, items, what="a page of branches", read=BranchAnswer.branch
            )

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """``POST /projects/{team}/{project}/git-credentials``, valid for minutes."""
        http = self._http.repeating("POST")
        answer = http.send_json("POST", f"{_project(repository)}/git-credentials")
        credential = parse_answer(GitAnswer, answer, what="a git credential").credential()
        return CloneUrl(url=f"{self._config.url}/{repository.path}.git", credential=credential)

    def _pages(self, path: str, match: str | None) -> Iterator[list[object]]:
        params: dict[str, str | int] = {"match": match} if match else {}

        def following(page: object) -> str | None:
            cursor = parse_answer(Page, page, what="a page").cursor
            return f"{path}?{urlencode({**params, 'cursor': cursor})}" if cursor else None

        for page in self._http.pages(path, params=params, next_url=following):
            yield parse_answer(Page, page, what="a page").items


def explain(answer: ErrorAnswer) -> DeploycoreError | None:
    """Explain an error response; ``None`` keeps the client's own error."""
    if answer.status != 403:
        return None
    return PermissionDenied(
        "Lantern accepts the client, but the client lacks the required scope.",
        hint=f"Give the client the scope {READ_SCOPE}.",
        status=answer.status,
    )


def _project(repository: RepositoryId) -> str:
    return f"projects/{_quoted(repository.owner)}/{_quoted(repository.slug)}"


def _quoted(name: str) -> str:
    """Quote a name as one segment of a path, with its slashes."""
    return quote(name, safe="")
