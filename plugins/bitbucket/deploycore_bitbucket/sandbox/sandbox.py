"""The sandbox itself: a Bitbucket Cloud on loopback, put together from its parts.

A test makes one, fills it and talks to it over real sockets::

    with Sandbox() as sandbox:
        ada = sandbox.add_user("ada")
        sandbox.add_workspace("acme", members=[ada])
        sandbox.commit("acme", "shop", "main", {"README.md": b"Shop"}, "Start")
        token = sandbox.add_api_token(ada)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pydantic import SecretStr

from deploycore.errors import ConfigurationError
from deploycore.sandbox import SandboxConnection
from deploycore.testing.faults import rate_limited
from deploycore.testing.git_http import SmartHttp
from deploycore.testing.host import LoggedRequest as AnyLoggedRequest
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Answer, Request
from deploycore.testing.pull_requests import PullRequest
from deploycore.testing.repositories import File, GitRepositories, branch_ref
from deploycore.testing.webhooks import Delivery, DeliveryRules, ShownStatus, Webhooks
from deploycore_bitbucket.sandbox.authentication import AppPasswords, caller
from deploycore_bitbucket.sandbox.notifier import RULES, Notifier, sign
from deploycore_bitbucket.sandbox.pages import Pagination
from deploycore_bitbucket.sandbox.rest import RestApi
from deploycore_bitbucket.sandbox.smart_http import GitAccess
from deploycore_bitbucket.sandbox.state import (
    Credential,
    Mode,
    Repository,
    State,
    User,
    Workspace,
    new_secret,
)

__all__ = ["Exchange", "LoggedRequest", "Sandbox"]

API_TOKEN_SCOPES = (
    "read:user:bitbucket",
    "read:workspace:bitbucket",
    "read:repository:bitbucket",
    "write:repository:bitbucket",
    "read:pullrequest:bitbucket",
    "write:pullrequest:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
)
OLD_SCOPES = ("account", "repository:write", "pullrequest:write", "webhook")
ACCESS_TOKEN_SCOPES = ("repository:write", "pullrequest:write", "webhook")

DEFAULT_SCOPES: Mapping[Mode, tuple[str, ...]] = {
    "app-password": OLD_SCOPES,
    "api-token": API_TOKEN_SCOPES,
    "access-token": ACCESS_TOKEN_SCOPES,
}

_TITLES: dict[Mode, str] = {
    "app-password": "App password",
    "api-token": "API token",
    "access-token": "Access token",
}


@dataclass(frozen=True)
class LoggedRequest(AnyLoggedRequest):
    """A request that the sandbox got, without any secret.

    Attributes:
        mode: Of the credential, ``None`` for none or an unknown one.
        username: As sent, if it is the name of somebody.
    """

    mode: Mode | None = None
    username: str | None = None


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, for whoever checks them.

    Attributes:
        request: Its ``Authorization`` header holds the scheme alone.
        surface: ``rest`` or ``git``.
    """

    request: Request
    answer: Answer
    surface: str


class Sandbox(LoopbackHost):
    """A Bitbucket Cloud to try things against, on 127.0.0.1. Filling it needs no start.

    Args:
        port: Where to listen; 0 for any free port.
        app_passwords: ``working`` as they did until 2026, or ``removed`` as they are now.
        latency: Seconds that every answer waits.
        rate_budget: How many REST requests are answered before 429; ``None`` for all.
        retry_after: Seconds that 429 tells to wait; ``None`` for not telling, as Bitbucket does.
        pagination: ``iterator`` makes every collection forward-only, with an opaque ``next``.
        webhook_rules: How webhooks are delivered, if not as Bitbucket does.

    Attributes:
        webhooks: Those that are registered, and their deliveries.
        watchers: Called with each exchange of every sandbox of the process, before its answer
            is sent; so tests can hold all of them to a description of the API.
        faults: What goes wrong on purpose.
    """

    watchers: ClassVar[list[Callable[[Exchange], None]]] = []

    def __init__(
        self,
        *,
        port: int = 0,
        app_passwords: AppPasswords = "working",
        latency: float = 0.0,
        rate_budget: int | None = None,
        retry_after: int | None = None,
        pagination: Pagination = "list",
        webhook_rules: DeliveryRules = RULES,
    ) -> None:
        super().__init__(port=port, latency=latency)
        self.rate_budget = rate_budget
        self._retry_after = retry_after
        self._state = State()
        self._git = GitRepositories()
        self.webhooks = Webhooks(webhook_rules, sign)
        notifier = Notifier(self._state, self._git, self.webhooks, lambda: self.url)
        self._pull_requests = notifier.pull_requests
        self._rest = RestApi(
            self._state,
            self._git,
            app_passwords,
            pagination,
            self.webhooks,
            self._pull_requests,
        )
        self._smart_http = SmartHttp(self._git, GitAccess(self._state, app_passwords).permit)

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """A running sandbox with users, repositories and a credential of each mode.

        Raises:
            OSError: The port can't be listened on.
        """
        return cls(port=port).with_demo_content().start()

    def with_demo_content(self) -> Self:
        """Add what the demo has: user ada, workspaces ada and acme, some repositories."""
        from deploycore_bitbucket.sandbox.demo import fill

        fill(self)
        return self

    def start(self) -> Self:
        """Listen and serve.

        Raises:
            OSError: The port can't be listened on.
        """
        try:
            return super().start()
        except OSError:
            self._git.close()
            raise

    def stop(self) -> None:
        """Close all connections and remove the repositories; harmless when done already."""
        self.webhooks.stop()
        super().stop()
        self._git.close()

    @property
    def api_url(self) -> str:
        """What takes the place of ``https://api.bitbucket.org/2.0``."""
        return f"{self.url}/2.0"

    @property
    def git_url(self) -> str:
        """What takes the place of ``https://bitbucket.org``."""
        return self.url

    @property
    def secrets(self) -> Iterable[SecretStr]:
        credentials = [credential.secret for credential in self._state.credentials]
        return [*credentials, *self.webhooks.secrets]

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What was sent to webhooks, or is about to be; ``webhooks.wait()`` for its end."""
        return self.webhooks.deliveries

    @property
    def credentials(self) -> Sequence[Credential]:
        """In the order of adding."""
        return self._state.credentials

    @property
    def connections(self) -> Sequence[SandboxConnection]:
        """One for each credential."""
        return [self.connection(credential) for credential in self._state.credentials]

    def add_user(
        self, username: str, email: str | None = None, display_name: str | None = None
    ) -> User:
        """Add a person; without an email it is ``username@example.com``."""
        user = User(
            username=username,
            email=email or f"{username}@example.com",
            display_name=display_name or username.title(),
        )
        self._state.add_user(user)
        return user

    def add_workspace(
        self, slug: str, name: str | None = None, *, members: Iterable[User] = ()
    ) -> Workspace:
        """Add an owner of repositories.

        Args:
            members: Administrators of it; add others by ``add_member``.
        """
        administrators = {user.username: True for user in members}
        workspace = Workspace(slug=slug, name=name or slug.title(), members=administrators)
        self._state.add_workspace(workspace)
        return workspace

    def remove_workspace(self, slug: str) -> None:
        """Remove an owner with all repositories, if there is one."""
        for row in self._state.repositories(slug) if self._state.has_workspace(slug) else ():
            self.remove_repository(slug, row.slug)
        self._state.remove_workspace(slug)

    def remove_repository(self, workspace: str, slug: str) -> None:
        """Remove a repository and its webhooks, if there is one."""
        self._state.remove_repository(workspace, slug)
        for hook in self.webhooks.of(f"{workspace}/{slug}"):
            self.webhooks.remove(hook.id)

    def branches(self, workspace: str, slug: str) -> Mapping[str, str]:
        """The branches of a repository and the commits that they point to.

        Raises:
            ConfigurationError: There is no such repository.
        """
        return self._git.branches(self._existing(workspace, slug))

    def add_member(self, workspace: str, user: User, *, administrator: bool = False) -> None:
        """Let a person see the repositories of a workspace.

        Raises:
            NotFound: There is no such workspace.
        """
        self._state.add_member(workspace, user.username, administrator=administrator)

    def add_repository(
        self,
        workspace: str,
        slug: str,
        *,
        name: str | None = None,
        private: bool = True,
        description: str = "",
        main_branch: str = "main",
        readers: Iterable[User] | None = None,
        files: Mapping[str | bytes, File] | None = None,
    ) -> Repository:
        """Add a repository.

        Args:
            readers: Who may see it, if not all members of the workspace.
            files: What a first commit to its main branch holds; without any it stays empty.

        Raises:
            NotFound: There is no such workspace.
        """
        allowed = None if readers is None else frozenset(user.username for user in readers)
        repository = Repository(
            workspace=self._state.workspace(workspace).slug,
            slug=slug,
            name=name or slug,
            private=private,
            description=description,
            main_branch=main_branch,
            readers=allowed,
        )
        self._state.add_repositories(workspace, [repository])
        if files is not None:
            self._git.commit(repository, main_branch, files, "Initial commit")
        return repository

    def listed_repositories(
        self, workspace: str, count: int, *, prefix: str = "repository"
    ) -> None:
        """Add many empty private repositories, named and numbered, cheaply.

        Raises:
            NotFound: There is no such workspace.
        """
        digits = len(str(count))
        slugs = (f"{prefix}-{number:0{digits}}" for number in range(1, count + 1))
        rows = (Repository(workspace, slug, name=slug.replace("-", " ")) for slug in slugs)
        self._state.add_repositories(workspace, rows)

    def commit(
        self,
        workspace: str,
        slug: str,
        branch: str,
        files: Mapping[str | bytes, File],
        message: str,
    ) -> str:
        """Commit on top of a branch; the repository and the branch are made if need be.

        Args:
            files: Paths with forward slashes, and what to put there: bytes, an
                ``Executable``, a ``Symlink``, a ``Submodule``, or ``None`` to remove.

        Returns:
            The hash of the new commit.

        Raises:
            NotFound: There is no such workspace.
            ConfigurationError: Git does not allow the name of the branch.
        """
        branch_ref(branch)
        repository = self._state.repository(workspace, slug)
        if repository is None:
            repository = self.add_repository(workspace, slug, main_branch=branch)
        return self._git.commit(repository, branch, files, message)

    def add_branches(self, workspace: str, slug: str, names: Iterable[str], *, at: str) -> None:
        """Point branches to a commit that exists.

        Raises:
            ConfigurationError: There is no such repository, or git does not allow a name.
        """
        self._git.add_branches(self._existing(workspace, slug), dict.fromkeys(names, at))

    def add_tag(self, workspace: str, slug: str, name: str, *, at: str) -> None:
        """Point a tag to a commit that exists; git serves it, REST does not list it here.

        Raises:
            ConfigurationError: There is no such repository, or git does not allow the name.
        """
        self._git.add_tag(self._existing(workspace, slug), name, at)

    def delete_branches(self, workspace: str, slug: str, names: Iterable[str]) -> None:
        """Delete branches in one push; those that are not there are passed over.

        Raises:
            ConfigurationError: There is no such repository.
        """
        self._git.delete_branches(self._existing(workspace, slug), names)

    def delete_tag(self, workspace: str, slug: str, name: str) -> None:
        """Delete a tag, if there is one.

        Raises:
            ConfigurationError: There is no such repository.
        """
        self._git.delete_tag(self._existing(workspace, slug), name)

    def fork(self, workspace: str, slug: str, *, into: str) -> Repository:
        """Copy a repository with its branches into another workspace.

        Raises:
            NotFound: There is no such workspace.
            ConfigurationError: There is no such repository.
        """
        source = self._existing(workspace, slug)
        copied = self.add_repository(into, slug, main_branch=source.main_branch)
        for branch, commit in self._git.branches(source).items():
            self._git.take(copied, branch, commit, source=source)
        return copied

    def open_pull_request(
        self,
        workspace: str,
        slug: str,
        source_branch: str,
        target_branch: str,
        *,
        title: str = "",
        source: Repository | None = None,
    ) -> PullRequest:
        """Open a pull request.

        Args:
            source: Where its commits come from, if not from the same repository.

        Raises:
            NotFound: There is no such branch.
            ConfigurationError: There is no such repository.
        """
        repository = self._existing(workspace, slug)
        return self._pull_requests.open(
            repository, source or repository, source_branch, target_branch, title
        )

    def update_pull_request(self, row: PullRequest, *, title: str) -> PullRequest:
        """Give it another title; new commits on its branch count as an update by themselves."""
        return self._pull_requests.edit(row, title=title)

    def merge_pull_request(self, row: PullRequest) -> PullRequest:
        """Move the target branch to its newest commit, and close it.

        Raises:
            NotFound: One of the repositories is gone.
        """
        return self._pull_requests.merge(row)

    def decline_pull_request(self, row: PullRequest) -> PullRequest:
        """Close it without its commits."""
        return self._pull_requests.close(row)

    def statuses(self, workspace: str, slug: str, commit: str) -> Sequence[ShownStatus]:
        """What is shown about a commit, the oldest first.

        Raises:
            ConfigurationError: There is no such repository.
        """
        return self._rest.statuses(self._existing(workspace, slug), commit)

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, bytes], message: str
    ) -> str:
        """What ``commit`` does, for the core's demo."""
        return self.commit(owner, slug, branch, dict(files.items()), message)

    def add_app_password(
        self,
        user: User,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = OLD_SCOPES,
        expired: bool = False,
    ) -> Credential:
        """Add an app password, with scopes in the old style; without a secret a random one."""
        return self._add("app-password", secret, scopes, user=user, expired=expired)

    def add_api_token(
        self,
        user: User,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = API_TOKEN_SCOPES,
        expired: bool = False,
    ) -> Credential:
        """Add an API token, with scopes in the new style; without a secret a random one."""
        return self._add("api-token", secret, scopes, user=user, expired=expired)

    def add_access_token(
        self,
        workspace: str,
        repository: str | None = None,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = ACCESS_TOKEN_SCOPES,
        expired: bool = False,
    ) -> Credential:
        """Add an access token, with scopes in the old style; without a secret a random one.

        Args:
            repository: The slug of the only repository that it is for; ``None`` for all.

        Raises:
            NotFound: There is no such workspace.
        """
        slug = self._state.workspace(workspace).slug
        return self._add(
            "access-token", secret, scopes, workspace=slug, repository=repository, expired=expired
        )

    def _add(
        self,
        mode: Mode,
        secret: SecretStr | None,
        scopes: Iterable[str],
        *,
        user: User | None = None,
        workspace: str | None = None,
        repository: str | None = None,
        expired: bool,
    ) -> Credential:
        credential = Credential(
            mode=mode,
            secret=secret or new_secret(mode),
            scopes=tuple(scopes),
            user=user,
            workspace=workspace,
            repository=repository,
            expired=expired,
        )
        return self._state.add_credential(credential)

    def _existing(self, workspace: str, slug: str) -> Repository:
        repository = self._state.repository(workspace, slug)
        if repository is None:
            raise ConfigurationError(f"The sandbox has no repository {workspace}/{slug}.")
        return repository

    def connection(self, credential: Credential) -> SandboxConnection:
        """How to connect with a credential, whether the sandbox knows it or not."""
        settings: dict[str, str | SecretStr] = {"mode": credential.mode}
        owner = credential.workspace or ""
        if credential.user is not None:
            # An app password's workspace defaults to the username; a token's is to be named.
            owners = [row.slug for row in self._state.workspaces_of(credential.user.username)]
            by_name = credential.mode == "app-password" or not owners
            owner = credential.user.username if by_name else owners[-1]
        match credential.mode, credential.user:
            case "app-password", User(username=username):
                settings |= {"username": username, "app_password": credential.secret}
            case "api-token", User(email=email):
                settings |= {"email": email, "token": credential.secret, "workspace": owner}
            case _:
                settings |= {"token": credential.secret, "workspace": owner}
        settings |= {"api_url": self.api_url, "git_url": self.git_url}
        return SandboxConnection(_TITLES[credential.mode], settings, owner)

    def answer(self, request: Request) -> Answer:
        """By REST's rules or git's."""
        if _surface(request) == "git":
            return self._smart_http.answer(request)
        if self._over_budget():
            limited = rate_limited(retry_after=self._retry_after)
            return replace(limited.apply(request, Answer(429, {})), exemption="rate limit")
        return self._rest.answer(request)

    def logged(self, request: Request, answer: Answer) -> LoggedRequest:
        """What is kept of an exchange, after the watchers have seen it."""
        for watch in list(self.watchers):
            watch(Exchange(_without_credentials(request), answer, _surface(request)))
        who = caller(self._state, request.headers.get("authorization"))
        known = super().logged(request, answer)
        return LoggedRequest(**vars(known), mode=who.mode, username=who.username)

    def _over_budget(self) -> bool:
        with self._state.lock:
            if self.rate_budget is None:
                return False
            self.rate_budget -= 1
            return self.rate_budget < 0


def _surface(request: Request) -> str:
    return "rest" if request.segments[0] == "2.0" else "git"


def _without_credentials(request: Request) -> Request:
    scheme = request.headers.get("authorization", "").partition(" ")[0]
    return replace(
        request, headers={**request.headers, **({"authorization": scheme} if scheme else {})}
    )
