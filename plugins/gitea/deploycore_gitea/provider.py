"""Gitea and Forgejo as a deploycore provider: the hooks of the contract.

The requests are those of the API that both share; a server describes it at ``/api/swagger``.
Listings have pages of at most 50 items, or fewer if the server's ``MAX_RESPONSE_ITEMS`` is lower.
Pages link to the next one in the ``Link`` header.

Source: https://docs.gitea.com/development/api-usage and
https://forgejo.org/docs/latest/user/api-usage/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING
from urllib.parse import quote

from deploycore.errors import NotFound, PermissionDenied, ProviderUnavailable
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient, parse_answer, parse_items
from deploycore.models import CloneUrl

from deploycore_gitea import addresses, explanations
from deploycore_gitea.configuration import (
    AnyConfig,
    GiteaConfig,
    OAuthConfig,
)
from deploycore_gitea.explanations import Action, Question, missing_scopes
from deploycore_gitea.key_only import GiteaKeyProvider

# A clone sends no API request, so hooks that do import the models of the responses.
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
    from pydantic import SecretStr

    from deploycore_gitea.answers import RepositoryAnswer, UserAnswer
    from deploycore_gitea.webhooks import HookAnswer

__all__ = ["GiteaProvider"]

MOST_ITEMS_A_PAGE = 50

Parameters = dict[str, str | int]


class GiteaProvider:
    """One configured Gitea or Forgejo.

    Args:
        config: The address and the credentials.
        http: The HTTP client, which sends the credentials only to the API's address.
    """

    API_VERSION = 1
    Config = GiteaConfig
    DISPLAY_NAME = "Gitea"
    SUMMARY = "A Gitea or Forgejo server, such as codeberg.org."
    CLASSES_OF_MODES = (GiteaKeyProvider,)
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
        """``GET /user``, and one repository, because the two need different scopes.

        For a token without ``read:user``, the account has the name of the configured owner. Such a
        token is valid: an invalid one would be rejected before its scopes are checked.
        """
        from deploycore.models import Account

        from deploycore_gitea.answers import SearchAnswer

        try:
            user = self._user(self._asking(), "user")
        except PermissionDenied as denied:
            if not missing_scopes(denied):
                raise
            account, whose = Account(username=self._config.owner), _of(self._config.owner)
        else:
            account, whose = user.account(), _owned_by(user)
        http = self._asking(self._config.owner)
        page = http.get_json("repos/search", params={"limit": 1, **whose})
        parse_answer(SearchAnswer, page, what="a page of repositories")
        return account

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """``GET /users/{owner}/repos``, or ``GET /repos/search`` for a part of a name.

        The first one lists the repositories of a user or organization that the account may read,
        including private ones, and responds with 404 for an unknown owner. But it has no filter,
        and requires the scope ``read:user`` in addition to ``read:repository``. Without that scope,
        the search is used for everything. (``GET /orgs/{org}/repos`` would require
        ``read:organization``.)
        """
        owner = query.owner or self._config.owner
        found = (
            self._all_of(owner, query.limit)
            if query.name_contains is None
            else self._search(owner, query.name_contains)
        )
        return (answer.repository() for answer in found)

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """``GET /repos/{owner}/{repo}/branches``, or ``…/branches/{branch}`` for an exact name.

        There is no filter for a part of a name.
        """
        if query.name is not None:
            return self._branch(repository, query.name)
        return self._branches(repository, None if query.name_contains else query.limit)

    @hookimpl
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """``GET /user``, and ``GET /user/orgs``, which requires ``read:organization``."""
        from deploycore.models import Owner

        from deploycore_gitea.answers import OrganizationAnswer

        http = self._asking()
        user = self._user(http, "user")
        yield Owner(username=user.login, display_name=user.full_name or None)
        for page in http.linked_pages("user/orgs", params={"limit": MOST_ITEMS_A_PAGE}):
            yield from parse_items(
                OrganizationAnswer,
                page,
                what="a page of organizations",
                read=OrganizationAnswer.owner,
            )

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """``GET /repos/{owner}/{repo}/tags``, which has no filter and no links to pages."""
        from deploycore_gitea.answers import TagAnswer

        limit = None if query.name or query.name_contains else query.limit
        path = f"repos/{_path(repository)}/tags"
        for page in self._until_empty(self._about(repository), path, _size(limit)):
            yield from parse_items(TagAnswer, page, what="a page of tags", read=TagAnswer.tag)

    @hookimpl
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """``GET /repos/{owner}/{repo}/pulls``, or ``…/pulls/{index}``."""
        from deploycore_gitea.answers import PullRequestAnswer

        http, path = self._about(repository), f"repos/{_path(repository)}/pulls"
        if query.number is not None:
            yield from self._pull_request(http, repository, f"{path}/{query.number}")
            return
        params: Parameters = {"state": "open", "limit": _size(query.limit)}
        for page in http.linked_pages(path, params=params):
            yield from parse_items(
                PullRequestAnswer,
                page,
                what="a page of pull requests",
                read=PullRequestAnswer.pull_request,
            )

    @hookimpl
    def find_repository(self, repository: RepositoryId) -> Repository:
        """``GET /repos/{owner}/{repo}``, which redirects from a previous name."""
        return self._describe(repository).repository()

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Build the clone URL from the configuration; an OAuth token may be renewed."""
        config, url = self._config, f"{self._config.url}/{repository.path}.git"
        if isinstance(config, OAuthConfig):
            return CloneUrl(url=url, credential=config.git_credential_with(self._http))
        return CloneUrl(url=url, credential=config.git_credential)

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Build the SSH address of codeberg.org, or ask another server for it."""
        from deploycore_gitea.ssh import ssh_address

        return ssh_address(self._config.url, repository, self.find_repository)

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured kind of credentials."""
        return explanations.explain_git_refusal(self._config, status, message)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Gitea-Signature``, which Forgejo also sends."""
        from deploycore_gitea import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``push`` and ``delete``, and pull requests that are opened, changed or closed."""
        from deploycore_gitea import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """``POST /repos/{owner}/{repo}/hooks``, then ``DELETE`` previous ones for the address.

        ``PATCH`` ignores the secret, so a webhook is replaced. The new one is created first, so
        that no push is missed.
        """
        from deploycore_gitea import webhooks
        from deploycore_gitea.webhooks import HookAnswer

        wanted = webhooks.subscription(url, secret)
        http = self._about(repository, "register webhook")
        former = [hook.id for hook in self._hooks(http, repository) if hook.is_ours(url)]
        answer = http.send_json("POST", f"repos/{_path(repository)}/hooks", body=wanted)
        made = parse_answer(HookAnswer, answer, what="a webhook").webhook()
        for each in former:
            self._remove_hook(http, repository, str(each))
        return made

    @hookimpl
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """``GET /repos/{owner}/{repo}/hooks``."""
        hooks = self._hooks(self._about(repository, "list webhooks"), repository)
        return (hook.webhook() for hook in hooks)

    @hookimpl
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """``DELETE /repos/{owner}/{repo}/hooks/{id}``."""
        return self._remove_hook(self._about(repository, "remove webhook"), repository, webhook)

    @hookimpl
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """``POST /repos/{owner}/{repo}/keys``, if the repository does not have it."""
        from deploycore_gitea import deploy_keys

        return deploy_keys.add(self._about(repository, "add deploy key"), repository, key)

    @hookimpl
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """``GET /repos/{owner}/{repo}/keys``."""
        from deploycore_gitea import deploy_keys

        return deploy_keys.listed(self._about(repository, "list deploy keys"), repository)

    @hookimpl
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """``DELETE /repos/{owner}/{repo}/keys/{id}``."""
        from deploycore_gitea import deploy_keys

        return deploy_keys.remove(self._about(repository, "remove deploy key"), repository, key_id)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The deploy keys in the settings of the repository."""
        return f"{self._config.url}/{repository.path}/settings/keys"

    @hookimpl
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """``POST /repos/{owner}/{repo}/statuses/{sha}``.

        For a commit that does not exist, some versions respond with 500 and others with 404. So
        further requests find out the reason.
        """
        from deploycore_gitea.statuses import commit_status

        http = self._about(repository, "report status")
        path = f"repos/{_path(repository)}/statuses/{status.commit}"
        try:
            http.send_json("POST", path, body=commit_status(status))
        except NotFound:
            self._describe(repository)
            raise _no_commit(repository, status.commit) from None
        except ProviderUnavailable as error:
            if error.details.get("status") != 500 or self._has_commit(repository, status.commit):
                raise
            raise _no_commit(repository, status.commit) from None
        return True

    def _all_of(self, owner: str, limit: int | None) -> Iterator[RepositoryAnswer]:
        from deploycore_gitea.answers import RepositoryAnswer

        path = f"users/{quote(owner, safe='')}/repos"
        pages = self._asking(owner).linked_pages(path, params={"limit": _size(limit)})
        try:
            first = next(pages)
        except PermissionDenied as denied:
            if not missing_scopes(denied):
                raise
        else:
            for page in chain([first], pages):
                yield from parse_items(RepositoryAnswer, page, what="a page of repositories")
            return
        yield from self._found(owner, _of(owner))

    def _search(self, owner: str, part: str) -> Iterator[RepositoryAnswer]:
        """Search by the owner's number if the token can read it, otherwise by the owner's name."""
        try:
            user = self._user(self._asking(owner), f"users/{quote(owner, safe='')}")
        except PermissionDenied as denied:
            if not missing_scopes(denied):
                raise
            wanted = _of(owner, part)
        else:
            owner, wanted = user.login, {**_owned_by(user), "q": part}
        yield from self._found(owner, wanted)

    def _found(self, owner: str, wanted: Parameters) -> Iterator[RepositoryAnswer]:
        from deploycore_gitea.answers import RepositoryAnswer, SearchAnswer

        params: Parameters = {"limit": MOST_ITEMS_A_PAGE, "sort": "id", **wanted}
        for page in self._asking(owner).linked_pages("repos/search", params=params):
            answer = parse_answer(SearchAnswer, page, what="a page of repositories")
            rows = parse_items(RepositoryAnswer, answer.data, what="a page of repositories")
            yield from (row for row in rows if row.owner.login.lower() == owner.lower())

    def _branches(self, repository: RepositoryId, limit: int | None) -> Iterator[Branch]:
        from deploycore_gitea.answers import BranchAnswer

        path = f"repos/{_path(repository)}/branches"
        for page in self._about(repository).linked_pages(path, params={"limit": _size(limit)}):
            # The branches of an empty repository are null, not an empty list.
            if page is None and self._describe(repository).empty:
                return
            yield from parse_items(
                BranchAnswer, page, what="a page of branches", read=BranchAnswer.branch
            )

    def _branch(self, repository: RepositoryId, name: str) -> Iterator[Branch]:
        """After an error, request the repository itself: the response is 404 both for an unknown
        branch and for an unknown repository, and older servers respond with 500 if the repository
        is empty.
        """
        from deploycore_gitea.answers import BranchAnswer

        if not _may_be_a_branch(name):
            self._describe(repository)
            return
        path = f"repos/{_path(repository)}/branches/{quote(name)}"
        try:
            page = self._about(repository).get_json(path)
        except NotFound:
            self._describe(repository)
            return
        except ProviderUnavailable as error:
            if error.details.get("status") != 500 or not self._describe(repository).empty:
                raise
            return
        yield parse_answer(BranchAnswer, page, what="a branch").branch()

    def _pull_request(
        self, http: HttpClient, repository: RepositoryId, path: str
    ) -> Iterator[PullRequest]:
        """The host responds with 404 both for an unknown pull request and for an unknown
        repository."""
        from deploycore_gitea.answers import PullRequestAnswer

        try:
            found = http.get_json(path)
        except NotFound:
            self._describe(repository)
            return
        yield parse_answer(PullRequestAnswer, found, what="a pull request").pull_request()

    def _hooks(self, http: HttpClient, repository: RepositoryId) -> Iterator[HookAnswer]:
        from deploycore_gitea.webhooks import HookAnswer

        path = f"repos/{_path(repository)}/hooks"
        for page in self._until_empty(http, path, MOST_ITEMS_A_PAGE):
            yield from parse_items(HookAnswer, page, what="a page of webhooks")

    @staticmethod
    def _until_empty(http: HttpClient, path: str, size: int) -> Iterator[object]:
        """Yield the pages of a listing without links to further pages."""
        address = f"{path}?limit={size}&page="
        further = count(2)
        pages = http.pages(
            f"{address}1", next_url=lambda page: f"{address}{next(further)}" if page else None
        )
        return (page for page in pages if page is not None)

    @staticmethod
    def _remove_hook(http: HttpClient, repository: RepositoryId, webhook: str) -> bool:
        try:
            http.send_json("DELETE", f"repos/{_path(repository)}/hooks/{quote(webhook, safe='')}")
        except NotFound:
            return False
        return True

    def _has_commit(self, repository: RepositoryId, commit: str) -> bool:
        params: Parameters = {"stat": "false", "verification": "false", "files": "false"}
        try:
            path = f"repos/{_path(repository)}/git/commits/{commit}"
            self._about(repository).get_json(path, params=params)
        except NotFound:
            return False
        return True

    def _describe(self, repository: RepositoryId) -> RepositoryAnswer:
        from deploycore_gitea.answers import RepositoryAnswer

        answer = self._about(repository).get_json(f"repos/{_path(repository)}")
        return parse_answer(RepositoryAnswer, answer, what="a repository")

    @staticmethod
    def _user(http: HttpClient, path: str) -> UserAnswer:
        from deploycore_gitea.answers import UserAnswer

        return parse_answer(UserAnswer, http.get_json(path), what="a user")

    def _about(self, repository: RepositoryId, action: Action = "read") -> HttpClient:
        return self._asking(repository.owner, repository, action)

    def _asking(
        self,
        owner: str | None = None,
        repository: RepositoryId | None = None,
        action: Action = "read",
    ) -> HttpClient:
        question = Question(self._config, owner, repository, action)
        return self._http.explaining(partial(explanations.explain, question=question))


def _owned_by(user: UserAnswer) -> Parameters:
    """Search for the owner's repositories."""
    return {"uid": user.id, "exclusive": "true"}


def _of(owner: str, part: str | None = None) -> Parameters:
    """Search for ``owner/name``. Each side is a part of a name, so this also finds repositories of
    owners with longer names."""
    return {"q": f"{owner}/{part or ''}"}


def _size(limit: int | None) -> int:
    return min(limit or MOST_ITEMS_A_PAGE, MOST_ITEMS_A_PAGE)


def _path(repository: RepositoryId) -> str:
    return f"{quote(repository.owner, safe='')}/{quote(repository.slug, safe='')}"


def _no_commit(repository: RepositoryId, commit: str) -> NotFound:
    return NotFound(
        f"The repository {repository} has no commit {commit}.",
        hint="A forced push may have removed it. Deploy the newest commit.",
        repository=str(repository),
        commit=commit,
    )


def _may_be_a_branch(name: str) -> bool:
    """Whether git allows the parts of the name; others would change the path of the address.

    Source: https://git-scm.com/docs/git-check-ref-format
    """
    return all(part and not part.startswith(".") for part in name.split("/"))
