"""GitLab as a deploycore provider: the hooks of the contract.

``configuration`` has the credentials for each kind of request, ``answers`` converts responses,
``filtering`` chooses search terms, ``webhooks`` parses deliveries, ``statuses`` reports
deployments, and ``explanations`` explains error responses.

Source: https://docs.gitlab.com/api/rest/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from deploycore.errors import NotFound, PermissionDenied, ProviderError
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient, parse_answer, parse_items
from deploycore.models import CloneUrl
from deploycore.plugin_parts import remove_by_number
from pydantic import SecretStr

from deploycore_gitlab import addresses, explanations
from deploycore_gitlab.configuration import (
    API_SCOPE,
    AnyConfig,
    GitLabConfig,
    OAuthConfig,
    OAuthTokenConfig,
)
from deploycore_gitlab.explanations import Action, Question
from deploycore_gitlab.filtering import branch_search, can_be_asked_for, project_search
from deploycore_gitlab.key_only import GitLabKeyProvider
from deploycore_gitlab.paths import branches_path, hooks_path, project_path, quoted
from deploycore_gitlab.ssh import ssh_address

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

    from deploycore_gitlab.webhooks import HookAnswer

__all__ = ["GitLabProvider"]

ITEMS_A_PAGE = 100
"""The maximum page size of GitLab. https://docs.gitlab.com/api/rest/#offset-based-pagination"""

Parameters = dict[str, str | int]

_BY_ID: Parameters = {"order_by": "id", "sort": "asc"}
_KEYSET: Parameters = {"pagination": "keyset"}
_OPENS_THE_API = {"api", API_SCOPE}
_GRANULAR = "granular"
"""The only scope that GitLab shows for a fine-grained token; only a request shows its permissions.

Source: https://docs.gitlab.com/auth/tokens/fine_grained_access_tokens/
"""


class GitLabProvider:
    """One configured GitLab.

    Args:
        config: Where it is, how to sign in, and whose projects.
        http: The HTTP client, which sends the credentials only to the API's address.
    """

    API_VERSION = 1
    Config = GitLabConfig
    DISPLAY_NAME = "GitLab"
    SUMMARY = "Projects on gitlab.com or on a GitLab server that your organization runs."
    CLASSES_OF_MODES = (GitLabKeyProvider,)
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
        """The token's scopes, then ``GET /user``; for some fine-grained tokens, a listing.

        ``GET /user`` alone is not enough: it also accepts tokens whose only scope is ``read_user``,
        which cannot list anything. And it rejects fine-grained tokens that can list and clone but
        cannot read the user.
        """
        from deploycore.models import Account

        try:
            return self._account()
        except PermissionDenied as error:
            if "fine_grained" not in error.details:
                raise
        namespace = self._config.namespace
        for _ in self._project_pages(namespace, {**_BY_ID, "per_page": 1}):
            break
        return Account(username=namespace or "fine-grained-token", scopes=(_GRANULAR,))

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """List the projects of a group or a user, or all projects that the account is a member
        of."""
        from deploycore_gitlab.answers import ProjectAnswer

        namespace = query.owner or self._config.namespace
        params: Parameters = {**_BY_ID, "per_page": _page_size(query.limit, query.name_contains)}
        if search := project_search(query.name_contains):
            params["search"] = search
        for page in self._project_pages(namespace, params):
            yield from parse_items(
                ProjectAnswer, page, what="a page of projects", read=ProjectAnswer.repository
            )

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """List one branch by its address, or all branches that a search returns."""
        if query.name is not None and can_be_asked_for(query.name):
            return self._branch(repository, query.name)
        return self._branches(repository, query)

    @hookimpl
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """``GET /namespaces``: the groups of the account, and the account itself.

        Source: https://docs.gitlab.com/api/namespaces/#list-all-namespaces
        """
        from deploycore_gitlab.answers import NamespaceAnswer

        http = self._asking(Question(self._config))
        for page in http.linked_pages("namespaces", params={"per_page": ITEMS_A_PAGE}):
            yield from parse_items(
                NamespaceAnswer, page, what="a page of namespaces", read=NamespaceAnswer.owner
            )

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """``GET /projects/:id/repository/tags``, with the same search as for branches.

        Source: https://docs.gitlab.com/api/tags/#list-all-project-repository-tags
        """
        from deploycore_gitlab.answers import BranchAnswer

        http = self._asking(Question(self._config, repository=repository))
        part = query.name or query.name_contains
        params: Parameters = {"per_page": _page_size(query.limit, part)}
        search = branch_search(part)
        if search is not None:
            params["search"] = search
        path = f"{project_path(repository)}/repository/tags"
        for page in http.linked_pages(path, params=params):
            yield from parse_items(BranchAnswer, page, what="a page of tags", read=BranchAnswer.tag)

    @hookimpl
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """``GET /projects/:id/merge_requests``, or ``…/:merge_request_iid``.

        Source: https://docs.gitlab.com/api/merge_requests/
        """
        from deploycore_gitlab.answers import MergeRequestAnswer

        http = self._asking(Question(self._config, repository=repository))
        path = f"{project_path(repository)}/merge_requests"
        if query.number is not None:
            yield from self._merge_request(http, repository, f"{path}/{query.number}")
            return
        params: Parameters = {"state": "opened", "per_page": _page_size(query.limit, None)}
        oldest_first: Parameters = {"order_by": "created_at", "sort": "asc"}
        for page in http.linked_pages(path, params={**params, **oldest_first}):
            for each in parse_items(MergeRequestAnswer, page, what="a page of merge requests"):
                yield each.pull_request(repository)

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /projects/:id``, which redirects from a previous path.

        Source: https://docs.gitlab.com/api/projects/#get-a-single-project
        """
        from deploycore_gitlab.answers import ProjectAnswer

        http = self._asking(Question(self._config, repository=repository))
        found = http.get_json(project_path(repository))
        return parse_answer(ProjectAnswer, found, what="a project").repository()

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration, without a request."""
        url = f"{self._config.url}/{repository.path}.git"
        config = self._config
        if isinstance(config, OAuthConfig):
            return CloneUrl(url=url, credential=config.git_credential_with(self._http))
        return CloneUrl(url=url, credential=config.git_credential)

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Build the SSH address of gitlab.com, or ask another server for it."""
        return ssh_address(self._config.url, repository, self.find_repository)

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what to do if GitLab's git server rejects a request."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``webhook-signature``, which GitLab has since 19.0, or ``X-Gitlab-Token``."""
        from deploycore_gitlab import webhooks

        return webhooks.is_proved(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Parse pushes of branches and tags, and merge requests that are opened, get new commits or
        another target, are merged, or are closed."""
        from deploycore_gitlab import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST /projects/:id/hooks``, or ``PUT`` if one has the same address.

        A webhook that GitLab has disabled after too many failures is created again, because only a
        test on GitLab's pages would enable it.

        Source: https://docs.gitlab.com/api/project_webhooks/
        """
        from deploycore_gitlab import webhooks

        wanted = webhooks.subscription(url, secret)
        http = self._doing("register webhook", repository)
        present = webhooks.listed(http, hooks_path(repository))
        known = next((hook for hook in present if hook.url == url), None)
        if known is not None and not known.active:
            http.send_json("DELETE", hooks_path(repository, known.id))
            known = None
        if known is None:
            first = {**webhooks.FIRST_SETTINGS, **wanted}
            made = http.send_json("POST", hooks_path(repository), body=first)
        else:
            made = http.send_json("PUT", hooks_path(repository, known.id), body=wanted)
        hook = parse_answer(webhooks.HookAnswer, made, what="a webhook")
        return self._with_one_proof(http, repository, hook, url, secret).webhook()

    @hookimpl
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """``GET /projects/:id/hooks``."""
        from deploycore_gitlab import webhooks

        return webhooks.listed(self._doing("list webhooks", repository), hooks_path(repository))

    @hookimpl
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """``DELETE /projects/:id/hooks/:hook_id``; GitLab's identifiers are numbers."""
        http = self._doing("remove webhook", repository)
        path = hooks_path(repository, webhook)
        return remove_by_number(webhook, lambda: http.send_json("DELETE", path))

    @hookimpl
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """``POST /projects/:id/deploy_keys``, if the repository does not have it."""
        from deploycore_gitlab import deploy_keys

        return deploy_keys.add(self._doing("add deploy key", repository), repository, key)

    @hookimpl
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """``GET /projects/:id/deploy_keys``."""
        from deploycore_gitlab import deploy_keys

        return deploy_keys.listed(self._doing("list deploy keys", repository), repository)

    @hookimpl
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """``DELETE /projects/:id/deploy_keys/:key_id``."""
        from deploycore_gitlab import deploy_keys

        return deploy_keys.remove(self._doing("remove deploy key", repository), repository, key_id)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The repository settings of the project."""
        return f"{self._config.url}/{repository.path}/-/settings/repository"

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST /projects/:id/statuses/:sha``; GitLab rejects a status that it already shows."""
        from deploycore_gitlab import statuses

        http = self._doing("report status", repository, status.commit)
        body = statuses.commit_status(status)
        address = f"{project_path(repository)}/statuses/{status.commit}"
        try:
            http.send_json("POST", address, body=body)
        except ProviderError as error:
            if error.details.get("present_state") != body["state"]:
                raise
        return True

    @hookimpl
    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> bool:
        """``POST /projects/:id/deployments``, or ``PUT`` if one is running.

        GitLab creates an environment with the application's name if there is none.

        Source: https://docs.gitlab.com/api/deployments/
        """
        from deploycore_gitlab import statuses

        http = self._doing("report deployment", repository, status.commit)
        statuses.report_deployment(http, f"{project_path(repository)}/deployments", status)
        return True

    def _merge_request(
        self, http: HttpClient, repository: RepositoryId, path: str
    ) -> Iterator[PullRequest]:
        """404 is said of an unknown merge request and of an unknown project."""
        from deploycore_gitlab.answers import MergeRequestAnswer

        try:
            found = http.get_json(path)
        except NotFound:
            self.find_repository(repository)
            return
        answer = parse_answer(MergeRequestAnswer, found, what="a merge request")
        yield answer.pull_request(repository)

    def _with_one_proof(
        self,
        http: HttpClient,
        repository: RepositoryId,
        hook: HookAnswer,
        url: str,
        secret: SecretStr,
    ) -> HookAnswer:
        """Register a webhook whose deliveries are signed, or contain the secret, but never both.

        A GitLab that cannot sign ignores the signing token. The previous signing token or secret
        stays until the new one is set, so that no delivery is without one.
        """
        from deploycore_gitlab.webhooks import HookAnswer

        if hook.signing_token_present and not hook.token_present:
            return hook
        token = SecretStr("") if hook.signing_token_present else secret
        changed = http.send_json(
            "PUT", hooks_path(repository, str(hook.id)), body={"url": url, "token": token}
        )
        return parse_answer(HookAnswer, changed, what="a webhook")

    def _doing(
        self, action: Action, repository: RepositoryId, commit: str | None = None
    ) -> HttpClient:
        question = Question(self._config, repository=repository, action=action, commit=commit)
        return self._asking(question)

    def _account(self) -> Account:
        from deploycore_gitlab.answers import UserAnswer

        question = Question(self._config)
        http = self._asking(question)
        scopes, expires_at = self._token_details(http)
        if scopes and not {*_OPENS_THE_API, _GRANULAR} & set(scopes):
            raise explanations.missing_api_scope(question, scopes)
        user = parse_answer(UserAnswer, http.get_json("user"), what="the user")
        return user.account(scopes, expires_at)

    def _asking(self, question: Question) -> HttpClient:
        return self._http.explaining(partial(explanations.explain, question=question))

    def _token_details(self, http: HttpClient) -> tuple[list[str], datetime | None]:
        """Return the token's scopes and expiry. GitLab returns them since 15.5; for earlier
        versions, the result is empty.

        Sources: https://docs.gitlab.com/api/personal_access_tokens/#self-inform,
        https://docs.gitlab.com/api/oauth2/#retrieve-the-token-information
        """
        from deploycore_gitlab.answers import AccessTokenAnswer, OAuthTokenAnswer

        try:
            if isinstance(self._config, OAuthTokenConfig | OAuthConfig):
                found = http.get_json(f"{self._config.url}/oauth/token/info")
                granted = parse_answer(OAuthTokenAnswer, found, what="the token")
                return granted.scope, granted.ends_at(datetime.now(UTC))
            found = http.get_json("personal_access_tokens/self")
            token = parse_answer(AccessTokenAnswer, found, what="the token")
            return token.scopes, token.ends_at
        except NotFound:
            return [], None

    def _project_pages(self, namespace: str | None, params: Parameters) -> Iterator[object]:
        """Yield pages of projects, with keyset pagination except for groups, for which GitLab does
        not have it.

        Sources: https://docs.gitlab.com/api/projects/#list-all-projects,
        https://docs.gitlab.com/api/groups/#list-projects,
        https://docs.gitlab.com/api/rest/#keyset-based-pagination
        """
        http = self._asking(Question(self._config, namespace=namespace))
        by_keyset = {**params, **_KEYSET}
        if namespace is None:
            yield from http.linked_pages("projects", params={**by_keyset, "membership": "true"})
            return
        pages = http.linked_pages(
            f"groups/{quoted(namespace)}/projects",
            params={
                **params,
                "include_subgroups": str(self._config.include_subgroups).lower(),
                "with_shared": "false",  # projects of others that are shared with the group
            },
        )
        try:
            first = next(pages)
        except NotFound:
            if "/" in namespace:  # a username has no slash
                raise
        else:
            yield first
            yield from pages
            return
        yield from http.linked_pages(f"users/{quoted(namespace)}/projects", params=by_keyset)

    def _branch(self, repository: RepositoryId, name: str) -> Iterator[Branch]:
        """Find the branch of this name with one request.

        Source: https://docs.gitlab.com/api/branches/#get-single-repository-branch
        """
        from deploycore_gitlab.answers import BranchAnswer

        http = self._asking(Question(self._config, repository=repository, branch=name))
        try:
            found = http.get_json(f"{branches_path(repository)}/{quoted(name)}")
        except NotFound as error:
            if "branch" not in error.details:
                raise
        else:
            yield parse_answer(BranchAnswer, found, what="a branch").branch()

    def _branches(self, repository: RepositoryId, query: BranchQuery) -> Iterator[Branch]:
        """Yield all branches, or those that a search returns.

        The request asks for keyset pagination, which works for branches although it is not
        documented for them. If GitLab does not support it, the ``Link`` header is that of numbered
        pages. With a search, the first page has all results, whatever its size, but also a link to
        some of them again.

        Source: https://docs.gitlab.com/api/branches/#list-repository-branches
        """
        from deploycore_gitlab.answers import BranchAnswer

        http = self._asking(Question(self._config, repository=repository))
        part = query.name or query.name_contains
        params: Parameters = {"per_page": _page_size(query.limit, part)}
        search = branch_search(part)
        params.update(_KEYSET if search is None else {"search": search})
        for page in http.linked_pages(branches_path(repository), params=params):
            yield from parse_items(
                BranchAnswer, page, what="a page of branches", read=BranchAnswer.branch
            )
            if search is not None and len(page) > ITEMS_A_PAGE:
                return


def _page_size(limit: int | None, filtered: str | None) -> int:
    """The page size: the limit, if every item matches."""
    return ITEMS_A_PAGE if limit is None or filtered else min(limit, ITEMS_A_PAGE)
