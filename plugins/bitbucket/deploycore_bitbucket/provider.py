"""Bitbucket Cloud as a deploycore provider: the hooks of the contract.

``configuration`` has the credentials for each kind of request, ``pagination`` reads pages,
``answers`` converts responses, and ``explanations`` explains error responses.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import SecretStr

from deploycore.errors import NotFound, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient, parse_answer
from deploycore.models import CloneUrl
from deploycore_bitbucket import addresses, explanations, pagination
from deploycore_bitbucket.configuration import (
    AccessTokenConfig,
    AnyConfig,
    BitbucketConfig,
    OAuthClientConfig,
    OAuthUserConfig,
)
from deploycore_bitbucket.filtering import NameFilter
from deploycore_bitbucket.key_only import BitbucketKeyProvider
from deploycore_bitbucket.pagination import MOST_ITEMS_A_PAGE
from deploycore_bitbucket.questions import Action, Question
from deploycore_bitbucket.ssh import ssh_address

if TYPE_CHECKING:
    from deploycore.events import (
        CommitStatus,
        Delivered,
        DeployKey,
        RegisteredKey,
        Webhook,
        WebhookDelivery,
    )
    from deploycore.models import (
        Account,
        Branch,
        BranchQuery,
        Owner,
        OwnerQuery,
        PullRequest,
        PullRequestQuery,
        Repository,
        RepositoryId,
        RepositoryQuery,
        SshAddress,
        Tag,
        TagQuery,
    )
    from deploycore_bitbucket.answers import RepositoryAnswer

__all__ = ["BitbucketProvider"]

MOST_PULL_REQUESTS_A_PAGE = 50

Parameters = dict[str, str | int]


class BitbucketProvider:
    """One configured Bitbucket workspace.

    Args:
        config: The address and the credentials.
        http: The HTTP client, which sends the credentials only to the API's address.
    """

    API_VERSION = 1
    Config = BitbucketConfig
    DISPLAY_NAME = "Bitbucket"
    SUMMARY = "Repositories on bitbucket.org (Bitbucket Cloud)."
    CLASSES_OF_MODES = (BitbucketKeyProvider,)
    NO_REPOSITORIES_HINT = explanations.NO_REPOSITORIES_HINT

    def __init__(self, config: AnyConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http

    @classmethod
    def recognize_url(cls, url: str) -> dict[str, str] | None:
        """Return the fields that the address of a repository contains; ``None`` for another host's
        address."""
        return addresses.fields_of(url)

    @hookimpl
    def authenticate(self) -> Account:
        """``GET /user``, if the credentials belong to a person and can read the user.

        Other credentials are checked with the list of the workspace's repositories, which all of
        them can read, and the account has the workspace's name. The access token of a repository
        may not be able to read this list. It is checked with the configured repository.
        """
        from deploycore.models import Account

        if not isinstance(self._config, AccessTokenConfig):
            account = self._person()
            if account is not None:
                return account
        workspace, only = self._config.default_workspace, self._only_repository
        if only is not None:
            self.find_repository(only)
            return Account(username=workspace)
        params: Parameters = {"pagelen": 1, "fields": "values.full_name"}
        asking = self._asking(workspace)
        answer, headers = asking.get_with_headers(_repositories(workspace), params=params)
        pagination.Page.read(answer)
        return Account(username=workspace, scopes=_scopes(headers))

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /repositories/{workspace}``; for the access token of a repository, only that
        repository."""
        from deploycore_bitbucket.answers import REPOSITORY_FIELDS, RepositoryAnswer

        workspace = query.owner or self._config.default_workspace
        only = self._only_repository
        if only is not None:
            return self._list_only(only, workspace)
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

        A branch with an exact name is found with a filter, not by its address. At the address, 404
        means an unknown repository or an unknown branch, which only the text of the message
        distinguishes. Proxies may also change paths with ``%`` or ``#``.
        """
        from deploycore_bitbucket.answers import BRANCH_FIELDS, BranchAnswer

        url = f"{_path(repository)}/refs/branches"
        names = NameFilter(name=query.name, contains=query.name_contains)
        pages = self._pages(
            self._asking(repository.owner, repository), url, BRANCH_FIELDS, names, query.limit
        )
        return pagination.items(pages, BranchAnswer, BranchAnswer.branch, what="a page of branches")

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """``GET /repositories/{workspace}/{repo_slug}/refs/tags``, with a filter as for
        branches."""
        from deploycore_bitbucket.answers import BRANCH_FIELDS, TagAnswer

        url = f"{_path(repository)}/refs/tags"
        names = NameFilter(name=query.name, contains=query.name_contains)
        pages = self._pages(
            self._asking(repository.owner, repository), url, BRANCH_FIELDS, names, query.limit
        )
        return pagination.items(pages, TagAnswer, TagAnswer.tag, what="a page of tags")

    @hookimpl
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """``GET /user/workspaces``; an access token belongs to its workspace.

        Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-workspaces/
        """
        from deploycore.models import Owner
        from deploycore_bitbucket.answers import WORKSPACE_FIELDS, WorkspaceAccessAnswer

        if isinstance(self._config, AccessTokenConfig):
            return iter([Owner(username=self._config.workspace)])
        http = self._asking(action="list workspaces")
        shown = ["next", *(f"values.{field}" for field in WORKSPACE_FIELDS)]
        params: Parameters = {"pagelen": MOST_ITEMS_A_PAGE, "fields": ",".join(shown)}
        pages = pagination.pages(http, "/user/workspaces", params=params, prefetch=0)
        read = WorkspaceAccessAnswer.owner
        return pagination.items(pages, WorkspaceAccessAnswer, read, what="a page of workspaces")

    @hookimpl
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """``GET /repositories/{workspace}/{repo_slug}/pullrequests``, or ``…/{id}``.

        Pages of pull requests have at most 50 items.

        Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/
        """
        from deploycore_bitbucket.answers import PULL_REQUEST_FIELDS, PullRequestAnswer

        http = self._asking(repository.owner, repository, action="list pull requests")
        if query.number is not None:
            return self._pull_request(http, repository, query.number)
        shown = ["next", *(f"values.{field}" for field in PULL_REQUEST_FIELDS)]
        params: Parameters = {
            "state": "OPEN",
            "pagelen": min(query.limit or MOST_PULL_REQUESTS_A_PAGE, MOST_PULL_REQUESTS_A_PAGE),
            "fields": ",".join(shown),
        }
        pages = pagination.pages(http, _pull_requests(repository), params=params, prefetch=0)
        read = PullRequestAnswer.pull_request
        return pagination.items(pages, PullRequestAnswer, read, what="a page of pull requests")

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /repositories/{workspace}/{repo_slug}``."""
        from deploycore_bitbucket.answers import REPOSITORY_FIELDS, RepositoryAnswer

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
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Build the SSH address from the configuration, without a request."""
        return ssh_address(self._config.git_url, repository)

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured kind of credentials."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature``."""
        from deploycore_bitbucket import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``repo:push``, and pull requests that are opened, updated, merged or declined."""
        from deploycore_bitbucket import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST /repositories/{workspace}/{repo_slug}/hooks``, or ``PUT`` if it exists.

        A webhook is identified by its address.
        """
        from deploycore_bitbucket import webhooks

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
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """``POST /repositories/{workspace}/{repo_slug}/deploy-keys``, if the repository does not
        have it."""
        from deploycore_bitbucket import deploy_keys

        return deploy_keys.add(
            self._asking(repository.owner, repository, action="add deploy key"), repository, key
        )

    @hookimpl
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """``GET /repositories/{workspace}/{repo_slug}/deploy-keys``."""
        from deploycore_bitbucket import deploy_keys

        return deploy_keys.listed(
            self._asking(repository.owner, repository, action="list deploy keys"), repository
        )

    @hookimpl
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """``DELETE /repositories/{workspace}/{repo_slug}/deploy-keys/{key_id}``."""
        from deploycore_bitbucket import deploy_keys

        return deploy_keys.remove(
            self._asking(repository.owner, repository, action="remove deploy key"),
            repository,
            key_id,
        )

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The access keys in the settings of the repository."""
        return f"{self._config.git_url}/{repository.path}/admin/access-keys/"

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST /repositories/{workspace}/{repo_slug}/commit/{commit}/statuses/build``."""
        from deploycore_bitbucket.statuses import build_status

        http = self._asking(
            repository.owner, repository, action="report status", commit=status.commit
        )
        http.send_json(
            "POST",
            f"{_path(repository)}/commit/{status.commit}/statuses/build",
            body=build_status(status, repository, git_url=self._config.git_url),
        )
        return True

    @property
    def _only_repository(self) -> RepositoryId | None:
        config = self._config
        return config.repository_id if isinstance(config, AccessTokenConfig) else None

    def _list_only(self, only: RepositoryId, workspace: str) -> Iterator[Repository]:
        if workspace.lower() not in (only.owner.lower(), self._config.default_workspace.lower()):
            raise explanations.cannot_list(Question(self._config, workspace))
        yield self.find_repository(only)

    def _pull_request(
        self, http: HttpClient, repository: RepositoryId, number: int
    ) -> Iterator[PullRequest]:
        """Read a pull request. After 404, read the repository: either of the two may not exist."""
        from deploycore_bitbucket.answers import PULL_REQUEST_FIELDS, PullRequestAnswer

        params: Parameters = {"fields": ",".join(PULL_REQUEST_FIELDS)}
        try:
            found = http.get_json(f"{_pull_requests(repository)}/{number}", params=params)
        except NotFound:
            self.find_repository(repository)
            return
        yield parse_answer(PullRequestAnswer, found, what="a pull request").pull_request()

    def _person(self) -> Account | None:
        """The account of valid credentials; ``None`` if Bitbucket does not return it."""
        from deploycore_bitbucket.answers import USER_FIELDS, UserAnswer

        try:
            params = {"fields": ",".join(USER_FIELDS)}
            user, headers = self._asking().get_with_headers("/user", params=params)
        except PermissionDenied:
            return None
        account = parse_answer(UserAnswer, user, what="the user").account()
        return account and account.model_copy(update={"scopes": _scopes(headers)})

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
        from deploycore_bitbucket import webhooks

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


def _scopes(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the scopes of the credentials. Bitbucket does not report when they expire."""
    return tuple(filter(None, map(str.strip, headers.get("X-OAuth-Scopes", "").split(","))))


def _repositories(workspace: str) -> str:
    return f"/repositories/{quote(workspace, safe='')}"


def _path(repository: RepositoryId) -> str:
    return f"{_repositories(repository.owner)}/{quote(repository.slug, safe='')}"


def _pull_requests(repository: RepositoryId) -> str:
    return f"{_path(repository)}/pullrequests"


def _hooks(repository: RepositoryId, webhook: str | None = None) -> str:
    hooks = f"{_path(repository)}/hooks"
    return hooks if webhook is None else f"{hooks}/{quote(webhook, safe='')}"
