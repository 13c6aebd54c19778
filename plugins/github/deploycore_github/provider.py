"""GitHub as a deploycore provider: the hooks of the contract.

``configuration`` has the credentials for each kind of request, ``installation`` has the sign-in of
an app, ``answers`` converts responses, and ``explanations`` explains error responses.

Source: https://docs.github.com/en/rest
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.errors import NotFound
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient, parse_answer, parse_items
from deploycore.models import CloneUrl
from deploycore.tokens import Token
from deploycore_github import addresses, explanations, tasks
from deploycore_github.configuration import (
    INSTALLATION,
    AnyConfig,
    AppConfig,
    DeviceConfig,
    GitHubConfig,
    TokenConfig,
)
from deploycore_github.explanations import Question
from deploycore_github.key_only import GitHubKeyProvider
from deploycore_github.paths import hooks_path, page_of, quoted, repository_path
from deploycore_github.ssh import ssh_address
from deploycore_github.tasks import READING, TASKS, Task

if TYPE_CHECKING:
    from deploycore.events import (
        CommitStatus,
        Delivered,
        DeployKey,
        DeploymentStatus,
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
    from deploycore_github.answers import InstallationAnswer, RepositoryAnswer, UserAnswer

__all__ = ["GIT_USERNAME", "GitHubProvider"]

GIT_USERNAME = "x-access-token"
"""The username for git with an installation's token. Other tokens work with any username.

Source: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
"""

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
IN_ORDER = {"sort": "full_name"}
"""Sort by name. If sorted by date, the default for organizations, a new repository would move
others to the next page."""


class GitHubProvider:
    """One configured account, organization or installation of GitHub.

    Args:
        config: The address and the credentials.
        http: The HTTP client, which sends the credentials only to the API's address.
    """

    API_VERSION = 1
    Config = GitHubConfig
    DISPLAY_NAME = "GitHub"
    SUMMARY = "Repositories on github.com or on a GitHub Enterprise Server."
    CLASSES_OF_MODES = (GitHubKeyProvider,)
    NO_REPOSITORIES_HINT = explanations.NO_REPOSITORIES_HINT

    def __init__(self, config: AnyConfig, http: HttpClient) -> None:
        from deploycore_github.installation import installation_token

        self._config = config
        self._http = http.with_headers(HEADERS)
        self._app: AppConfig | None = None
        self._clients: dict[Task, HttpClient] = {}
        if isinstance(config, TokenConfig):
            self._token: Callable[[], Token] = lambda: Token(value=config.token)
            self._owner = config.owner
            self._is_installation = config.kind is INSTALLATION
        elif isinstance(config, DeviceConfig):
            self._token = self._http.token
            self._owner = config.owner
            self._is_installation = False
        else:
            self._app = config
            self._clients = {
                task: self._http.authorised_by(installation_token(config, task)) for task in TASKS
            }
            self._token = self._clients[READING].token
            self._owner = None
            self._is_installation = True

    @classmethod
    def recognize_url(cls, url: str) -> dict[str, str] | None:
        """Return the fields that the address of a repository contains; ``None`` for another host's
        address."""
        return addresses.fields_of(url)

    @hookimpl
    def authenticate(self) -> Account:
        """``GET /user``; for an app ``GET /app/installations/{installation_id}``.

        An installation token in mode ``token`` can use neither. It is checked with the list of its
        repositories.
        """
        from deploycore.models import Account
        from deploycore_github.answers import UserAnswer, token_details

        if self._app is not None:
            described = self._described(self._app)
            if described.suspended_at is not None:
                raise explanations.suspended(Question(self._config))
            return described.as_account()
        if self._is_installation:
            return Account(username=self._first_owner() or "installation")
        user, headers = self._asking().get_with_headers("user")
        account = parse_answer(UserAnswer, user, what="the user").account()
        details = token_details(headers)
        if isinstance(self._config, DeviceConfig):
            details["expires_at"] = None  # that of a token that is renewed every few hours
        return account.model_copy(update=details)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """List repositories; the request depends on the owner, see ``_of_owner``.

        GitHub has no filter for a part of the name. Its search finds only words, misses new
        repositories, and ends after a thousand results.
        """
        limit = None if query.name_contains else query.limit
        owner = query.owner or self._owner
        pages = self._all(limit) if owner is None else self._of_owner(owner, limit)
        for answers in pages:
            yield from (answer.repository() for answer in answers)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /repos/{owner}/{repo}/branches``, or ``/branches/{branch}`` for one name."""
        from deploycore_github.answers import BranchAnswer

        if query.name is not None:
            yield from self._branch(repository, query.name)
            return
        limit = None if query.name_contains else query.limit
        pages = self._asking(repository=repository).linked_pages(
            f"{repository_path(repository)}/branches", params=page_of(limit)
        )
        for page in pages:
            yield from parse_items(
                BranchAnswer, page, what="a page of branches", read=BranchAnswer.branch
            )

    @hookimpl
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """The account, then ``GET /user/orgs``; for an installation, only its account.

        Source: https://docs.github.com/en/rest/orgs/orgs#list-organizations-for-the-authenticated-user
        """
        from deploycore.models import Owner
        from deploycore_github.answers import OwnerAnswer

        if self._is_installation:
            account = self._installed_at()
            if account is not None:
                yield Owner(username=account)
            return
        user = self._user()
        yield Owner(username=user.login, display_name=user.name)
        http = self._asking(task=tasks.LISTING_ORGANIZATIONS)
        for page in http.linked_pages("user/orgs", params=page_of(None)):
            for each in parse_items(OwnerAnswer, page, what="a page of organizations"):
                yield Owner(username=each.login)

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """``GET /repos/{owner}/{repo}/tags``, which has no filter.

        Source: https://docs.github.com/en/rest/repos/repos#list-repository-tags
        """
        from deploycore_github.answers import BranchAnswer

        limit = None if query.name or query.name_contains else query.limit
        http = self._asking(repository=repository)
        for page in http.linked_pages(f"{repository_path(repository)}/tags", params=page_of(limit)):
            yield from parse_items(BranchAnswer, page, what="a page of tags", read=BranchAnswer.tag)

    @hookimpl
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """``GET /repos/{owner}/{repo}/pulls``, or ``/pulls/{pull_number}``.

        Source: https://docs.github.com/en/rest/pulls/pulls
        """
        from deploycore_github.answers import PullRequestAnswer

        http = self._asking(repository.owner, repository, tasks.LISTING_PULL_REQUESTS)
        path = f"{repository_path(repository)}/pulls"
        if query.number is not None:
            yield from self._pull_request(http, repository, f"{path}/{query.number}")
            return
        oldest_first = {"state": "open", "sort": "created", "direction": "asc"}
        for page in http.linked_pages(path, params={**page_of(query.limit), **oldest_first}):
            yield from parse_items(
                PullRequestAnswer,
                page,
                what="a page of pull requests",
                read=PullRequestAnswer.pull_request,
            )

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /repos/{owner}/{repo}``, which redirects from a previous name.

        Source: https://docs.github.com/en/rest/repos/repos#get-a-repository
        """
        from deploycore_github.answers import RepositoryAnswer

        found = self._asking(repository=repository).get_json(repository_path(repository))
        return parse_answer(RepositoryAnswer, found, what="a repository").repository()

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration; an app may have to obtain a token first."""
        credential = self._token().git_credential(GIT_USERNAME)
        return CloneUrl(url=f"{self._config.url}/{repository.path}.git", credential=credential)

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Build the SSH address from the configuration, without a request."""
        return ssh_address(self._config.url, repository)

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured kind of credentials."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature-256``."""
        from deploycore_github import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``push``, and pull requests that are opened, changed, merged or closed."""
        from deploycore_github import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST /repos/{owner}/{repo}/hooks``, or ``PATCH`` if it exists.

        A webhook is identified by its address.
        """
        from deploycore_github import webhooks

        wanted = webhooks.subscription(url, secret)
        http = self._asking(repository.owner, repository, tasks.REGISTERING_WEBHOOK)
        present = webhooks.listed(http, hooks_path(repository))
        known = next((hook for hook in present if hook.url == url), None)
        if known is None:
            answer = http.send_json("POST", hooks_path(repository), body=wanted)
        else:
            answer = http.send_json("PATCH", hooks_path(repository, known.id), body=wanted)
        return parse_answer(webhooks.HookAnswer, answer, what="a webhook").webhook(url)

    @hookimpl
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """``GET /repos/{owner}/{repo}/hooks``."""
        from deploycore_github import webhooks

        http = self._asking(repository.owner, repository, tasks.LISTING_WEBHOOKS)
        return webhooks.listed(http, hooks_path(repository))

    @hookimpl
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """``DELETE /repos/{owner}/{repo}/hooks/{hook_id}``."""
        http = self._asking(repository.owner, repository, tasks.REMOVING_WEBHOOK)
        try:
            http.send_json("DELETE", hooks_path(repository, webhook))
        except NotFound:
            return False
        return True

    @hookimpl
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """``POST /repos/{owner}/{repo}/keys``, if the repository does not have it."""
        from deploycore_github import deploy_keys

        return deploy_keys.add(
            self._asking(repository.owner, repository, tasks.ADDING_DEPLOY_KEY), repository, key
        )

    @hookimpl
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """``GET /repos/{owner}/{repo}/keys``."""
        from deploycore_github import deploy_keys

        return deploy_keys.listed(
            self._asking(repository.owner, repository, tasks.LISTING_DEPLOY_KEYS), repository
        )

    @hookimpl
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """``DELETE /repos/{owner}/{repo}/keys/{key_id}``."""
        from deploycore_github import deploy_keys

        return deploy_keys.remove(
            self._asking(repository.owner, repository, tasks.REMOVING_DEPLOY_KEY),
            repository,
            key_id,
        )

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The deploy keys in the settings of the repository."""
        return f"{self._config.url}/{repository.path}/settings/keys"

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST /repos/{owner}/{repo}/statuses/{sha}``."""
        from deploycore_github.statuses import commit_status

        task = tasks.REPORTING_STATUS
        http = self._asking(repository.owner, repository, task, commit=status.commit)
        place = f"{repository_path(repository)}/statuses/{status.commit}"
        http.send_json("POST", place, body=commit_status(status))
        return True

    @hookimpl
    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> bool:
        """``POST /repos/{owner}/{repo}/deployments`` if there is none with this number, then ``POST
        /repos/{owner}/{repo}/deployments/{deployment_id}/statuses``."""
        from deploycore_github import statuses

        task = tasks.REPORTING_DEPLOYMENT
        http = self._asking(repository.owner, repository, task, commit=status.commit)
        place = f"{repository_path(repository)}/deployments"
        found = statuses.find_deployment(http, place, status)
        if found is None:
            added = http.send_json("POST", place, body=statuses.deployment(status))
            found = parse_answer(statuses.DeploymentAnswer, added, what="a deployment")
        body = statuses.deployment_status(status)
        http.send_json("POST", f"{place}/{found.id}/statuses", body=body)
        return True

    def _all(self, limit: int | None) -> Iterator[list[RepositoryAnswer]]:
        """``GET /user/repos``; for an app ``GET /installation/repositories``."""
        if self._is_installation:
            return self._of_installation(limit)
        return _repositories(self._asking(), "user/repos", {**page_of(limit), **IN_ORDER})

    def _of_owner(self, owner: str, limit: int | None) -> Iterator[list[RepositoryAnswer]]:
        """``GET /orgs/{org}/repos``, which is not found for users.

        ``GET /users/{username}/repos`` lists only public repositories. So the user's own
        repositories are listed with ``GET /user/repos``, and those of an app's account with the
        installation's listing.
        """
        asking = self._asking(owner)
        params = {**page_of(limit), **IN_ORDER}
        if self._is_installation and _same(self._installed_at(), owner):
            yield from self._of_installation(limit)
            return
        pages = _repositories(asking, f"orgs/{quoted(owner)}/repos", params)
        try:
            first = next(pages)
        except NotFound:
            pass
        else:
            yield first
            yield from pages
            return
        if not self._is_installation and _same(self._user().login, owner):
            yield from _repositories(asking, "user/repos", {**params, "affiliation": "owner"})
        else:
            yield from _repositories(asking, f"users/{quoted(owner)}/repos", params)

    def _of_installation(self, limit: int | None) -> Iterator[list[RepositoryAnswer]]:
        from deploycore_github.answers import InstallationRepositoriesAnswer, RepositoryAnswer

        pages = self._asking().linked_pages("installation/repositories", params=page_of(limit))
        for page in pages:
            answer = parse_answer(
                InstallationRepositoriesAnswer, page, what="a page of an installation"
            )
            yield parse_items(RepositoryAnswer, answer.repositories, what="a page of repositories")

    def _installed_at(self) -> str | None:
        """The account; ``None`` if an installation token has access to no repository."""
        if self._app is not None:
            account = self._described(self._app).account
            return account.login if account else self._first_owner()
        return self._first_owner()

    def _first_owner(self) -> str | None:
        rows = (row for page in self._of_installation(1) for row in page)
        found = next(rows, None)
        return found.owner.login if found else None

    def _user(self) -> UserAnswer:
        from deploycore_github.answers import UserAnswer

        return parse_answer(UserAnswer, self._asking().get_json("user"), what="the user")

    def _branch(self, repository: RepositoryId, name: str) -> Iterator[Branch]:
        """Find a branch with one request. If it was not found, a second request shows whether the
        repository exists.

        ``/git/matching-refs`` is not used, because it returns all branches that begin with the
        name. GitHub redirects from a renamed branch, and from ``master`` to the default branch.
        Such a branch is not the requested one. Source:
        https://docs.github.com/en/rest/branches/branches#get-a-branch
        """
        from deploycore_github.answers import BranchAnswer, RepositoryAnswer

        asking, path = self._asking(repository=repository), repository_path(repository)
        try:
            found = asking.get_json(f"{path}/branches/{quoted(name)}")
        except NotFound:
            parse_answer(RepositoryAnswer, asking.get_json(path), what="a repository")
            return
        branch = parse_answer(BranchAnswer, found, what="a branch").branch()
        if branch.name == name:
            yield branch

    def _pull_request(
        self, http: HttpClient, repository: RepositoryId, path: str
    ) -> Iterator[PullRequest]:
        """The host responds with 404 both for an unknown pull request and for an unknown
        repository."""
        from deploycore_github.answers import PullRequestAnswer

        try:
            found = http.get_json(path)
        except NotFound:
            self.find_repository(repository)
            return
        yield parse_answer(PullRequestAnswer, found, what="a pull request").pull_request()

    def _asking(
        self,
        owner: str | None = None,
        repository: RepositoryId | None = None,
        task: Task = READING,
        *,
        commit: str | None = None,
    ) -> HttpClient:
        question = Question(self._config, owner, repository, task, commit)
        http = self._clients.get(task, self._http)
        return http.explaining(partial(explanations.explain, question=question))

    def _described(self, app: AppConfig) -> InstallationAnswer:
        """Read the installation. This needs only the app's key, no permission."""
        from deploycore_github.answers import InstallationAnswer
        from deploycore_github.installation import installation_path

        explain = partial(explanations.explain, question=Question(app))
        answer = self._http.explaining(explain).get_json(installation_path(app))
        return parse_answer(InstallationAnswer, answer, what="an installation")


def _repositories(
    http: HttpClient, path: str, params: dict[str, str | int]
) -> Iterator[list[RepositoryAnswer]]:
    from deploycore_github.answers import RepositoryAnswer

    for page in http.linked_pages(path, params=params):
        yield parse_items(RepositoryAnswer, page, what="a page of repositories")


def _same(login: str | None, owner: str) -> bool:
    return login is not None and login.casefold() == owner.casefold()
