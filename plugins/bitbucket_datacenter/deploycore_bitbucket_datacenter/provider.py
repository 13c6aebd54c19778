"""Bitbucket Data Center as a deploycore provider: the hooks of the contract.

``configuration`` has the credentials for each kind of request, ``pagination`` reads pages,
``answers`` converts responses, and ``explanations`` explains error responses.

Source: https://developer.atlassian.com/server/bitbucket/rest/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from deploycore.errors import NotFound, PermissionDenied, ProviderError
from deploycore.hookspecs import hookimpl
from deploycore.http import AnswerModel, ErrorAnswer, HttpClient, parse_answer, parse_items
from deploycore.models import CloneUrl
from pydantic import SecretStr

from deploycore_bitbucket_datacenter import addresses, explanations
from deploycore_bitbucket_datacenter.configuration import (
    AccessTokenConfig,
    AnyConfig,
    BitbucketDataCenterConfig,
)
from deploycore_bitbucket_datacenter.explanations import Action, Question
from deploycore_bitbucket_datacenter.key_only import BitbucketDataCenterKeyProvider
from deploycore_bitbucket_datacenter.pagination import pages, size_of
from deploycore_bitbucket_datacenter.paths import API, hooks_path, project_path, repository_path

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

    from deploycore_bitbucket_datacenter.answers import RepositoryAnswer
    from deploycore_bitbucket_datacenter.webhooks import HookAnswer

__all__ = ["BitbucketDataCenterProvider"]

OLDER_BUILDS = "build-status/latest/commits"
UNNAMED = "unknown"
"""The account of a token, if the server does not say to whom it belongs."""

READ = "REPO_READ"

Row = TypeVar("Row", bound=AnswerModel)
Ref = TypeVar("Ref", "Branch", "Tag")


class BitbucketDataCenterProvider:
    """One configured Bitbucket Data Center.

    Args:
        config: The address and the credentials.
        http: The HTTP client, which sends the credentials only to the API's address.
    """

    API_VERSION = 1
    Config = BitbucketDataCenterConfig
    DISPLAY_NAME = "Bitbucket Data Center"
    SUMMARY = "A Bitbucket Data Center that your organization runs."
    CLASSES_OF_MODES = (BitbucketDataCenterKeyProvider,)
    NO_REPOSITORIES_HINT = explanations.NO_REPOSITORIES_HINT

    def __init__(self, config: AnyConfig, http: HttpClient) -> None:
        self._config = config
        self._http = http

    @classmethod
    def recognize_url(cls, url: str) -> dict[str, str] | None:
        """Return the fields that an address contains; ``None`` for another host's address."""
        return addresses.fields_of(url)

    @classmethod
    def repository_of_url(cls, url: str) -> RepositoryId | None:
        """Return the repository in an address below ``/scm/``, ``/projects/`` or ``/users/``."""
        return addresses.repository_of(url)

    @hookimpl
    def authenticate(self) -> Account:
        """Send a request that only a signed-in person may send; the response names the person in
        ``X-AUSERNAME``. The token of a project or repository does not belong to a person. It is
        checked with a request for its project or repository, whose name becomes the account's.
        """
        from deploycore.models import Account

        if isinstance(self._config, AccessTokenConfig):
            return self._token_holder(self._config)
        path = f"{API}/profile/recent/repos"
        try:
            page, headers = self._asking().get_with_headers(path, params={"limit": 1})
        except NotFound:
            raise explanations.no_server(self._config, self._version()) from None
        _read_page(page)
        return Account(username=_username(headers) or self._configured_name)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /projects/{projectKey}/repos``, or ``GET /repos`` if no project is configured.

        The requests have no filter for a part of a name: the first one does not support it, and for
        the second one it is not documented.
        """
        project = query.owner or self._config.project
        only = self._only_repository
        if only is not None:
            return self._list_only(only, project)
        limit = None if query.name_contains else query.limit
        params = {"limit": size_of(limit)}
        path = f"{API}/repos" if project is None else f"{project_path(project)}/repos"
        if project is None:
            found = pages(
                self._asking(), path, "a page of repositories", {**params, "permission": READ}
            )
        else:
            found = pages(self._asking(project), path, "a page of repositories", params)
        return self._repositories(found)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET …/branches``. ``filterText`` finds parts of names, and so also the exact name. The
        exact one is requested first, and the listing ends after it."""
        from deploycore_bitbucket_datacenter.answers import BranchAnswer

        found = self._refs(repository, "branches", query, BranchAnswer)
        return _until(query.name, (answer.branch() for answer in found))

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """``GET …/tags``, as branches."""
        from deploycore_bitbucket_datacenter.answers import TagAnswer

        found = self._refs(repository, "tags", query, TagAnswer)
        return _until(query.name, (answer.tag() for answer in found))

    @hookimpl
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """``GET /projects``, which does not list the projects of persons (``~user``)."""
        from deploycore_bitbucket_datacenter.answers import ProjectAnswer

        for page in pages(self._asking(), f"{API}/projects", "a page of projects"):
            yield from parse_items(
                ProjectAnswer, page, what="a page of projects", read=ProjectAnswer.owner
            )

    @hookimpl
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """``GET …/pull-requests``, or ``…/pull-requests/{id}``."""
        from deploycore_bitbucket_datacenter.answers import PullRequestAnswer

        http, path = self._about(repository), f"{repository_path(repository)}/pull-requests"
        what = "a page of pull requests"
        if query.number is not None:
            yield from self._pull_request(http, repository, f"{path}/{query.number}")
            return
        params: Mapping[str, str | int] = {"limit": size_of(query.limit), "state": "OPEN"}
        for page in pages(http, path, what, params):
            yield from parse_items(
                PullRequestAnswer, page, what=what, read=PullRequestAnswer.pull_request
            )

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /projects/{projectKey}/repos/{slug}``, and ``…/default-branch`` if needed."""
        answer = self._describe(repository)
        found = answer.repository(self._config.url)
        if found.default_branch is not None:
            return found
        return found.model_copy(update={"default_branch": self._default_branch(answer)})

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration."""
        from deploycore_bitbucket_datacenter.answers import clone_address

        url = clone_address(self._config.url, repository)
        return CloneUrl(url=url, credential=self._config.git_credential)

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Return the repository's link for SSH. Its port, and often its host, differ from those of
        the configuration. Servers do not publish their host keys."""
        from deploycore.models import SshAddress

        found = self._describe(repository).repository(self._config.url)
        link = next((link.href for link in found.clone_links if link.name == "ssh"), None)
        if link is None:
            raise explanations.no_ssh(repository)
        return parse_answer(SshAddress, {"url": link}, what="an address for SSH")

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured kind of credentials."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature``."""
        from deploycore_bitbucket_datacenter import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``repo:refs_changed``, and pull requests that are opened, changed or ended."""
        from deploycore_bitbucket_datacenter import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST …/webhooks``, or ``PUT`` if it exists, which also changes the secret."""
        from deploycore_bitbucket_datacenter import webhooks
        from deploycore_bitbucket_datacenter.webhooks import HookAnswer

        wanted = webhooks.subscription(url, secret)
        http = self._about(repository, "register webhook")
        known = next((hook for hook in self._hooks(http, repository) if hook.url == url), None)
        if known is None:
            answer = http.send_json("POST", hooks_path(repository), body=wanted)
        else:
            answer = http.send_json("PUT", hooks_path(repository, str(known.id)), body=wanted)
        return parse_answer(HookAnswer, answer, what="a webhook").webhook()

    @hookimpl
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """``GET …/webhooks``."""
        hooks = self._hooks(self._about(repository, "list webhooks"), repository)
        return (hook.webhook() for hook in hooks)

    @hookimpl
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """``DELETE …/webhooks/{id}``."""
        try:
            http = self._about(repository, "remove webhook")
            http.send_json("DELETE", hooks_path(repository, webhook))
        except NotFound:
            return False
        return True

    @hookimpl
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """``POST /rest/keys/…/repos/{slug}/ssh``, if the repository does not have it."""
        from deploycore_bitbucket_datacenter import deploy_keys

        return deploy_keys.add(self._about(repository, "add deploy key"), repository, key)

    @hookimpl
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """``GET /rest/keys/…/repos/{slug}/ssh``."""
        from deploycore_bitbucket_datacenter import deploy_keys

        return deploy_keys.listed(self._about(repository, "list deploy keys"), repository)

    @hookimpl
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """``DELETE /rest/keys/…/repos/{slug}/ssh/{keyId}``."""
        from deploycore_bitbucket_datacenter import deploy_keys

        return deploy_keys.remove(self._about(repository, "remove deploy key"), repository, key_id)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The access keys in the settings of the repository."""
        from deploycore_bitbucket_datacenter import deploy_keys

        return deploy_keys.page_of(self._config.url, repository)

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST …/commits/{commitId}/builds``, or for servers before 7.4
        ``POST /build-status/latest/commits/{commitId}``.

        The statuses 400 and 404 do not show the reason, so further requests find it out.
        """
        from deploycore_bitbucket_datacenter.statuses import build_status, older

        http = self._about(repository, "report status")
        body = build_status(status, repository, self._config.url)
        path = f"{repository_path(repository)}/commits/{status.commit}"
        try:
            http.send_json("POST", f"{path}/builds", body=body)
        except NotFound:
            self._demand_commit(repository, status.commit)
            self._report_as_before_7_4(http, status.commit, older(body))
        except ProviderError as error:
            if error.details.get("status") != 400:
                raise
            self._demand_commit(repository, status.commit)
            if older(body) == body:
                raise
            http.send_json("POST", f"{path}/builds", body=older(body))
        return True

    @property
    def _only_repository(self) -> RepositoryId | None:
        config = self._config
        return config.repository_id if isinstance(config, AccessTokenConfig) else None

    @property
    def _configured_name(self) -> str:
        """The configured owner of the credentials, if the server does not send it."""
        return getattr(self._config, "username", None) or self._config.project or UNNAMED

    def _token_holder(self, config: AccessTokenConfig) -> Account:
        from deploycore.models import Account

        only = config.repository_id
        if only is not None:
            return Account(username=str(self._describe(only).repository_id))
        http = self._asking(config.project)
        path = f"{API}/repos" if config.project is None else f"{project_path(config.project)}/repos"
        page, headers = http.get_with_headers(path, params={"limit": 1})
        _read_page(page)
        return Account(username=config.project or _username(headers) or UNNAMED)

    def _list_only(self, only: RepositoryId, project: str | None) -> Iterator[Repository]:
        if project is None or project.lower() == only.owner.lower():
            yield self.find_repository(only)
            return
        raise PermissionDenied(
            f"The token is for the repository {only}, and cannot list the project {project!r}.",
            hint="Use a token of the project, or of a user.",
            project=project,
            repository=str(only),
        )

    def _repositories(self, found: Iterator[list[object]]) -> Iterator[Repository]:
        from deploycore_bitbucket_datacenter.answers import RepositoryAnswer

        what, url = "a page of repositories", self._config.url
        for page in found:
            yield from parse_items(
                RepositoryAnswer, page, what=what, read=lambda row: row.repository(url)
            )

    def _refs(
        self,
        repository: RepositoryId,
        kind: str,
        query: BranchQuery | TagQuery,
        expected: type[Row],
    ) -> Iterator[Row]:
        wanted = query.name or query.name_contains
        limit = None if wanted else query.limit
        params: dict[str, str | int] = {"limit": size_of(limit), "orderBy": "ALPHABETICAL"}
        if wanted:
            params["filterText"] = wanted
        if query.name and kind == "branches":
            params["boostMatches"] = "true"
        what = f"a page of {kind}"
        for page in pages(
            self._about(repository), f"{repository_path(repository)}/{kind}", what, params
        ):
            yield from parse_items(expected, page, what=what)

    def _pull_request(
        self, http: HttpClient, repository: RepositoryId, path: str
    ) -> Iterator[PullRequest]:
        """An unknown pull request and an unknown repository both cause a 404."""
        from deploycore_bitbucket_datacenter.answers import PullRequestAnswer

        try:
            found = http.get_json(path)
        except NotFound:
            self._describe(repository)
            return
        yield parse_answer(PullRequestAnswer, found, what="a pull request").pull_request()

    def _hooks(self, http: HttpClient, repository: RepositoryId) -> Iterator[HookAnswer]:
        from deploycore_bitbucket_datacenter.webhooks import HookAnswer

        what = "a page of webhooks"
        for page in pages(http, hooks_path(repository), what):
            yield from parse_items(HookAnswer, page, what=what)

    def _describe(self, repository: RepositoryId) -> RepositoryAnswer:
        from deploycore_bitbucket_datacenter.answers import RepositoryAnswer

        answer = self._about(repository).get_json(repository_path(repository))
        return parse_answer(RepositoryAnswer, answer, what="a repository")

    def _default_branch(self, repository: RepositoryAnswer) -> str | None:
        """The default branch of an empty repository does not exist: the response is 404."""
        from deploycore_bitbucket_datacenter.answers import DefaultBranchAnswer

        known = repository.repository_id
        try:
            answer = self._about(known).get_json(f"{repository_path(known)}/default-branch")
        except NotFound:
            return None
        if answer is None:
            return None
        return parse_answer(DefaultBranchAnswer, answer, what="a default branch").name

    def _report_as_before_7_4(self, http: HttpClient, commit: str, body: Mapping[str, str]) -> None:
        try:
            http.send_json("POST", f"{OLDER_BUILDS}/{commit}", body=body)
        except NotFound:
            raise explanations.no_server(self._config, self._version()) from None

    def _demand_commit(self, repository: RepositoryId, commit: str) -> None:
        """Raise ``NotFound`` for a repository or a commit that does not exist."""
        self._describe(repository)
        try:
            self._about(repository).get_json(f"{repository_path(repository)}/commits/{commit}")
        except NotFound:
            raise explanations.no_commit(repository, commit) from None

    def _version(self) -> str | None:
        """Return the server's version, without credentials; ``None`` if it is not Bitbucket."""
        from deploycore_bitbucket_datacenter.answers import VersionAnswer

        try:
            answer = self._http.get_json(f"{API}/application-properties")
            return parse_answer(VersionAnswer, answer, what="the version").version or None
        except ProviderError:
            return None

    def _about(self, repository: RepositoryId, action: Action = "read") -> HttpClient:
        return self._asking(repository.owner, repository, action)

    def _asking(
        self,
        project: str | None = None,
        repository: RepositoryId | None = None,
        action: Action = "read",
    ) -> HttpClient:
        question = Question(self._config, project, repository, action)
        return self._http.explaining(lambda answer: self._explained(answer, question))

    def _explained(self, answer: ErrorAnswer, question: Question) -> ProviderError | None:
        """Return the right error for a repository that cannot be read. The server sends the same
        response if the repository is hidden, and if the credentials cannot read any repository. A
        request for any other repository shows which is the case."""
        error = explanations.explain(answer, question)
        is_reading = question.repository is not None and question.action == "read"
        if is_reading and isinstance(error, PermissionDenied) and self._reads_something():
            return explanations.hidden(question)
        return error

    def _reads_something(self) -> bool:
        try:
            found = self._http.get_json(f"{API}/repos", params={"limit": 1, "permission": READ})
            return bool(_read_page(found))
        except ProviderError:
            return False


def _read_page(page: object) -> list[RepositoryAnswer]:
    from deploycore_bitbucket_datacenter.answers import PageAnswer, RepositoryAnswer

    what = "a page of repositories"
    values = parse_answer(PageAnswer, page, what=what).values
    return parse_items(RepositoryAnswer, values, what=what)


def _until(name: str | None, found: Iterator[Ref]) -> Iterator[Ref]:
    """Yield the found items, up to the one with the exact name."""
    for item in found:
        yield item
        if item.name == name:
            return


def _username(headers: Mapping[str, str]) -> str:
    """Return the signed-in user from a response's header, in which the name is percent-encoded."""
    return unquote(headers.get("X-AUSERNAME", "")).strip()
