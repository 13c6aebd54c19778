"""Quay's hooks: four requests, and errors for Quay's error responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from deploycore.errors import DeploycoreError, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore.http import ErrorAnswer, HttpClient, parse_answer, parse_items
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneUrl,
    GitCredential,
    Repository,
    RepositoryId,
    RepositoryQuery,
)

from deploycore_quay.answers import BranchAnswer, MeAnswer, Page, PageLink, ProjectAnswer
from deploycore_quay.configuration import READ_PERMISSION, QuayConfig

__all__ = ["QuayProvider"]

GIT_USERNAME = "key"
ITEMS_A_PAGE = 50


class QuayProvider:
    """One configured account of Quay."""

    API_VERSION = 1
    Config = QuayConfig

    def __init__(self, config: QuayConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http.explaining(explain)

    @hookimpl
    def authenticate(self) -> Account:
        """``GET /me``."""
        user = parse_answer(MeAnswer, self._http.get_json("me"), what="the user").user
        return Account(username=user.handle, display_name=user.full_name)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /teams/{team}/projects``."""
        path = f"teams/{_quoted(query.owner or self._config.team)}/projects"
        for page in self._pages(path, query.name_contains):
            items = parse_answer(Page, page, what="a page of projects").items
            projects = parse_items(ProjectAnswer, items, what="a page of projects")
            yield from (project.repository(self._config.url) for project in projects)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /projects/{team}/{project}/branches``."""
        path = f"projects/{_quoted(repository.owner)}/{_quoted(repository.slug)}/branches"
        for page in self._pages(path, query.name or query.name_contains):
            items = parse_answer(Page, page, what="a page of branches").items
            yield from parse_items(
                BranchAnswer, items, what="a page of branches", read=BranchAnswer.branch
            )

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration, without a request."""
        credential = GitCredential(username=GIT_USERNAME, password=self._config.key)
        return CloneUrl(url=f"{self._config.url}/{repository.path}.git", credential=credential)

    def _pages(self, path: str, match: str | None) -> Iterator[object]:
        params: dict[str, str | int] = {"size": ITEMS_A_PAGE, **({"match": match} if match else {})}
        return self._http.pages(path, params=params, next_url=_more)


def explain(answer: ErrorAnswer) -> DeploycoreError | None:
    """Explain an error response; ``None`` keeps the client's own error."""
    if answer.status != 403:
        return None
    return PermissionDenied(
        "Quay accepts the key, but the key lacks the required permission.",
        hint=f"Create a key with the permission {READ_PERMISSION}.",
        status=answer.status,
    )


def _more(page: object) -> str | None:
    return parse_answer(PageLink, page, what="a page").more


def _quoted(name: str) -> str:
    """Quote a name as one segment of a path, with its slashes."""
    return quote(name, safe="")
