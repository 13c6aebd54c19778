"""Any git server without an API: the contract's hooks, answered by git alone.

Refs are asked for through the core's git reader, as ``git ls-remote`` does it. What git does not
tell, such as the date of a branch's last commit, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploycore.errors import NotFound
from deploycore.events import Delivered, WebhookDelivery
from deploycore.git_reader import GitReader, GitSource
from deploycore.hookspecs import hookimpl
from deploycore.http import HttpClient
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneLink,
    CloneUrl,
    Owner,
    Repository,
    RepositoryId,
    RepositoryQuery,
    SshAddress,
    Tag,
    TagQuery,
)
from pydantic import SecretStr

from deploycore_git import webhooks
from deploycore_git.configuration import AnonymousConfig, AnyConfig, GitConfig, SshConfig
from deploycore_git.explanations import (
    explain_git_refusal,
    explained,
    no_key_over_https,
    unknown_owner,
)

__all__ = ["PlainGitProvider"]

HEADS = "refs/heads/"
TAGS = "refs/tags/"


class PlainGitProvider:
    """One configured git server.

    Args:
        config: Where it is, how to sign in, and which repositories it has.
        http: Not used: there is no API.
        git: Asks the server for refs.
    """

    API_VERSION = 1
    Config = GitConfig
    NO_REPOSITORIES_HINT = "Name the repositories in the provider's field repositories."

    def __init__(self, config: AnyConfig, http: HttpClient, git: GitReader) -> None:
        self._config = config
        self._git = git

    @hookimpl
    def authenticate(self) -> Account:
        """``HEAD`` of the first configured repository: git has no other way to sign in."""
        self._default_branch(self._config.repository_ids[0])
        return Account(username=self._config.account)

    @hookimpl
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """The configured repositories. The server is asked for the ``HEAD`` of each when the caller
        reaches it. Those that are not found are reported after the others.
        """
        owned = [
            each
            for each in self._config.repository_ids
            if query.owner is None or each.owner == query.owner
        ]
        if query.owner is not None and not owned:
            raise unknown_owner(self._config, query.owner)
        part = (query.name_contains or "").casefold()
        return self._described(each for each in owned if part in each.slug.casefold())

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """The refs that begin with ``refs/heads/``, or with the whole name of one branch."""
        for name, commit in self._refs(repository, HEADS, query.name):
            yield Branch(name=name, commit=commit)

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """The refs that begin with ``refs/tags/``, or with the whole name of one tag."""
        for name, commit in self._refs(repository, TAGS, query.name):
            yield Tag(name=name, commit=commit)

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Join the url and the path. Over SSH without a key, the core says that there is none."""
        config = self._config
        credential = None if isinstance(config, SshConfig) else config.git_credential
        return CloneUrl(url=self._url(repository), credential=credential)

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Join the url and the path; such a server publishes no host keys."""
        if not isinstance(self._config, SshConfig):
            raise no_key_over_https(self._config)
        return SshAddress(url=self._url(repository))

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured way to sign in."""
        return explain_git_refusal(self._config, status)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Deploycore-Signature``."""
        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """A push, as the README documents it."""
        return webhooks.delivered(delivery)

    def _url(self, repository: RepositoryId) -> str:
        return f"{self._config.url}/{self._config.path_of(repository)}"

    def _source(self, repository: RepositoryId) -> GitSource:
        """Where to ask; over SSH, the core adds the key."""
        if isinstance(self._config, SshConfig):
            return SshAddress(url=self._url(repository))
        return self.clone_url(repository)

    def _default_branch(self, repository: RepositoryId) -> str | None:
        with explained(self._config, repository):
            return self._git.default_branch(self._source(repository))

    def _refs(
        self, repository: RepositoryId, prefix: str, name: str | None
    ) -> Iterator[tuple[str, str]]:
        """Short names and commits; only those of one name, if it is given."""
        with explained(self._config, repository):
            for ref in self._git.refs(self._source(repository), prefix=prefix + (name or "")):
                short = ref.name.removeprefix(prefix)
                if name is None or short == name:
                    yield short, ref.commit

    def _described(self, repositories: Iterable[RepositoryId]) -> Iterator[Repository]:
        missing: NotFound | None = None
        for each in repositories:
            try:
                branch = self._default_branch(each)
            except NotFound as error:
                missing = missing or error
                continue
            yield self._repository(each, branch)
        if missing is not None:
            raise missing

    def _repository(self, repository: RepositoryId, branch: str | None) -> Repository:
        url, is_ssh = self._url(repository), isinstance(self._config, SshConfig)
        return Repository(
            name=repository.slug,
            slug=repository.slug,
            url=url,
            owner=Owner(username=repository.owner),
            default_branch=branch or self._config.default_branch,
            private=not isinstance(self._config, AnonymousConfig),
            clone_links=(CloneLink(name="ssh" if is_ssh else "https", href=url),),
        )
