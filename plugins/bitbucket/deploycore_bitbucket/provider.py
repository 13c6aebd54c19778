"""Bitbucket Cloud as a deploycore provider: the contract's hooks, and nothing else.

Which credential goes where is in ``configuration``, how pages are read in ``pagination``, what
answers mean in ``answers`` and what refusals mean in ``explanations``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from urllib.parse import quote

from pydantic import SecretStr

from deploycore.errors import NotFound, PermissionDenied
from deploycore.events import CommitStatus, Delivered, Webhook, WebhookDelivery
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient, parse_answer
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneUrl,
    Repository,
    RepositoryId,
    RepositoryQuery,
)
from deploycore_bitbucket import explanations, pagination, webhooks
from deploycore_bitbucket.answers import (
    BRANCH_FIELDS,
    REPOSITORY_FIELDS,
    USER_FIELDS,
    BranchAnswer,
    RepositoryAnswer,
    UserAnswer,
)
from deploycore_bitbucket.configuration import (
    AccessTokenConfig,
    AnyConfig,
    BitbucketConfig,
    OAuthClientConfig,
    OAuthUserConfig,
)
from deploycore_bitbucket.explanations import Action, Question
from deploycore_bitbucket.filtering import NameFilter
from deploycore_bitbucket.pagination import MOST_ITEMS_A_PAGE
from deploycore_bitbucket.statuses import build_status

__all__ = ["BitbucketProvider"]

Parameters = dict[str, str | int]


class BitbucketProvider:
    """One configured Bitbucket workspace.

    Args:
        config: Where it is and how to sign in.
        http: Bound to the API's address and to the credentials for it.
    """

    API_VERSION = 1
    Config = BitbucketConfig
    NO_REPOSITORIES_HINT = explanations.NO_REPOSITORIES_HINT

    def __init__(self, config: AnyConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http

    @hookimpl
    def authenticate(self) -> Account:
        """``GET /user``, if the credentials belong to a person and can read the user.

        Others prove themselves with the list of the workspace's repositories, which is the
        least that they are good for, and are named by the workspace.
        """
        if not isinstance(self._config, AccessTokenConfig):
            account = self._person()
            if account is not None:
                return account
        workspace = self._config.default_workspace
        params: Parameters = {"pagelen": 1, "fields": "values.full_name"}
        answer = self._asking(workspace).get_json(_repositories(workspace), params=params)
        pagination.Page.read(answer)
        return Account(username=workspace)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /repositories/{workspace}``."""
        workspace = query.owner or self._config.default_workspace
        names = NameFilter(contains=query.name_contains)
        pages = self._pages(
            self._asking(workspace), _repositories(workspace), REPOSITORY_FIELDS, names, query.limit
        )
        return pagination.items(
            pages, RepositoryAnswer, self._repository, what="a page of repositories"
        )

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /repositories/{workspace}/{repo_slug}/refs/branches``.

        A branch of one exact name is asked for by a filter and not by its own address: there,
        404 means an unknown repository or an unknown branch, told apart by prose alone, and a
        name with ``%`` or ``#`` has to survive each proxy's idea of a path.
        """
        url = f"{_path(repository)}/refs/branches"
        names = NameFilter(name=query.name, contains=query.name_contains)
        pages = self._pages(
            self._asking(repository.owner, repository), url, BRANCH_FIELDS, names, query.limit
        )
        return pagination.items(pages, BranchAnswer, BranchAnswer.branch, what="a page of branches")

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /repositories/{workspace}/{repo_slug}``."""
        http = self._asking(repository.owner, repository)
        found = http.get_json(_path(repository), params={"fields": ",".join(REPOSITORY_FIELDS)})
        return self._repository(parse_answer(RepositoryAnswer, found, what="a repository"))

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration; an OAuth client's token may be renewed."""
        config = self._config
        if isinstance(config, OAuthClientConfig | OAuthUserConfig):
            credential = config.git_credential_with(self._http)
        else:
            credential = config.git_credential
        return CloneUrl(url=f"{config.git_url}/{repository.path}.git", credential=credential)

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured kind of credentials."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature``."""
        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``repo:push``, and pull requests that are opened, updated, merged or declined."""
        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST /repositories/{workspace}/{repo_slug}/hooks``, or ``PUT`` if it exists.

        Told apart by the address, in which nothing else of ours is kept.
        """
        wanted = webhooks.subscription(url, secret)
        http = self._asking(repository.owner, repository, action="register webhook")
        known = next((hook for hook in self._webhooks(http, repository) if hook.url == url), None)
        if known is None:
            answer = http.send_json("POST", _hooks(repository), body=wanted)
        else:
            answer = http.send_json("PUT", _hooks(repository, known.id), body=wanted)
        return webhooks.webhook_from(answer, url=url)

    @hookimpl
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """``GET /repositories/{workspace}/{repo_slug}/hooks``."""
        http = self._asking(repository.owner, repository, action="list webhooks")
        return self._webhooks(http, repository)

    @hookimpl
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """``DELETE /repositories/{workspace}/{repo_slug}/hooks/{uid}``."""
        http = self._asking(repository.owner, repository, action="remove webhook")
        try:
            http.send_json("DELETE", _hooks(repository, webhook))
        except NotFound:
            return False
        return True

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST /repositories/{workspace}/{repo_slug}/commit/{commit}/statuses/build``."""
        http = self._asking(
            repository.owner, repository, action="report status", commit=status.commit
        )
        http.send_json(
            "POST",
            f"{_path(repository)}/commit/{status.commit}/statuses/build",
            body=build_status(status, repository, git_url=self._config.git_url),
        )
        return True

    def _person(self) -> Account | None:
        """The account of valid credentials; ``None`` if Bitbucket does not return it."""
        try:
            user = self._asking().get_json("/user", params={"fields": ",".join(USER_FIELDS)})
        except PermissionDenied:
            return None
        return parse_answer(UserAnswer, user, what="the user").account()

    def _repository(self, answer: RepositoryAnswer) -> Repository:
        return answer.repository(self._config.git_url)

    def _asking(
        self,
        workspace: str | None = None,
        repository: RepositoryId | None = None,
        *,
        action: Action = "read",
        commit: str | None = None,
    ) -> HttpClient:
        question = Question(self._config, workspace, repository, action, commit)
        return self._http.explaining(partial(explanations.explain, question=question))

    def _webhooks(
        self, http: HttpClient, repository: RepositoryId
    ) -> Generator[Webhook, None, None]:
        shown = ["next", *(f"values.{field}" for field in webhooks.WEBHOOK_FIELDS)]
        params: Parameters = {"pagelen": MOST_ITEMS_A_PAGE, "fields": ",".join(shown)}
        pages = pagination.pages(http, _hooks(repository), params=params, prefetch=0)
        return pagination.items(pages, object, webhooks.webhook_from, what="a page of webhooks")

    def _pages(
        self,
        http: HttpClient,
        url: str,
        fields: Iterable[str],
        names: NameFilter,
        limit: int | None,
    ) -> Generator[pagination.Page, None, None]:
        wanted = limit if names.is_all_in_q else None
        shown = [*pagination.PAGE_FIELDS, *(f"values.{field}" for field in fields)]
        params: Parameters = {
            "pagelen": min(wanted or MOST_ITEMS_A_PAGE, MOST_ITEMS_A_PAGE),
            "fields": ",".join(shown),
        }
        if names.q is not None:
            params["q"] = names.q
        prefetch = self._config.prefetch_pages
        return pagination.pages(http, url, params=params, prefetch=prefetch, wanted=wanted)


def _repositories(workspace: str) -> str:
    return f"/repositories/{quote(workspace, safe='')}"


def _path(repository: RepositoryId) -> str:
    return f"{_repositories(repository.owner)}/{quote(repository.slug, safe='')}"


def _hooks(repository: RepositoryId, webhook: str | None = None) -> str:
    hooks = f"{_path(repository)}/hooks"
    return hooks if webhook is None else f"{hooks}/{quote(webhook, safe='')}"
