"""Acme's hooks: four requests, and errors for Acme's error responses.

Source: https://acme.example/docs/api
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from deploycore.errors import DeploycoreError, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore.http import ErrorAnswer, HttpClient, parse_answer
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

from deploycore_acme.answers import BranchAnswer, RepositoryAnswer, UserAnswer
from deploycore_acme.configuration import READ_SCOPE, AcmeConfig

__all__ = ["AcmeProvider"]

GIT_USERNAME = "token"  # EDIT 6: the username that the git server expects with the token
ITEMS_A_PAGE = 100  # EDIT 7: the host's maximum number of items in a page


class AcmeProvider:
    """One configured account of Acme.

    Args:
        config: The address and the credential.
        http: The HTTP client, which can only reach the API's address.
    """

    API_VERSION = 1
    Config = AcmeConfig

    def __init__(self, config: AcmeConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http.explaining(explain)

    # EDIT 8: the requests of the host's API
    @hookimpl
    def authenticate(self) -> Account:
        """``GET /user``."""
        user = parse_answer(UserAnswer, self._http.get_json("user"), what="the user")
        return Account(username=user.login, display_name=user.name)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /owners/{owner}/repositories``."""
        path = f"owners/{_quoted(query.owner or self._config.owner)}/repositories"
        for page in self._pages(path, query.name_contains, query.limit):
            answers = parse_answer(list[RepositoryAnswer], page, what="a page of repositories")
            yield from (answer.repository() for answer in answers)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /repositories/{owner}/{slug}/branches``.

        The host's search may return more than the query asks for; the core removes the rest.
        """
        owner, slug = _quoted(repository.owner), _quoted(repository.slug)
        path = f"repositories/{owner}/{slug}/branches"
        for page in self._pages(path, query.name or query.name_contains, query.limit):
            answers = parse_answer(list[BranchAnswer], page, what="a page of branches")
            yield from (answer.branch() for answer in answers)

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration, without a request."""
        credential = GitCredential(username=GIT_USERNAME, password=self._config.token)
        return CloneUrl(url=f"{self._config.url}/{repository.path}.git", credential=credential)

    def _pages(self, path: str, search: str | None, limit: int | None) -> Iterator[object]:
        size = ITEMS_A_PAGE if limit is None or search else min(limit, ITEMS_A_PAGE)
        params: dict[str, str | int] = {"per_page": size}
        if search:
            params["search"] = search
        return self._http.linked_pages(path, params=params)


# EDIT 9: the host's error responses that the status alone does not explain
def explain(answer: ErrorAnswer) -> DeploycoreError | None:
    """Explain an error response; ``None`` keeps the client's own error."""
    if answer.status != 403:
        return None
    return PermissionDenied(
        "Acme accepts the token, but the token lacks the required scope.",
        hint=f"Create a token with the scope {READ_SCOPE}.",
        status=answer.status,
    )


def _quoted(name: str) -> str:
    """Quote a name as one segment of a path; slashes are quoted too."""
    return quote(name, safe="")
