"""The part of the sandbox without the API: credentials, the rules for git, the log, and the
demo."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import SecretStr

from deploycore.sandbox import SandboxConnection
from deploycore.testing import rows
from deploycore.testing.git_http import text_refusal
from deploycore.testing.host import Exchange
from deploycore.testing.host import LoggedRequest as AnyLoggedRequest
from deploycore.testing.messages import Answer, Request
from deploycore.testing.oauth import AuthorizationServer, OAuthClient, OAuthRules
from deploycore.testing.repositories import Service
from deploycore.testing.sandbox import RIVAL, Repository, credentials_of
from deploycore.testing.scenarios import Access, Arranged, Scenario
from deploycore_bitbucket.sandbox import demo
from deploycore_bitbucket.sandbox.authentication import (
    TO_FETCH,
    TO_PUSH,
    AppPasswords,
    demand_basic,
    demand_git_scope,
    git_credential,
    rest_credential,
)
from deploycore_bitbucket.sandbox.content import Content
from deploycore_bitbucket.sandbox.messages import NO_REPOSITORY
from deploycore_bitbucket.sandbox.rows import GIT_USERNAMES, Credential, User, new_secret

__all__ = [
    "API",
    "DEFAULT_SCOPES",
    "OAUTH",
    "BitbucketHost",
    "Exchange",
    "LoggedRequest",
    "surface",
]

API = "/2.0"
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
    "admin:repository:bitbucket",
    "write:ssh-key:bitbucket",
    "delete:ssh-key:bitbucket",
)
OLD_SCOPES = (
    "account",
    "repository:write",
    "repository:admin",
    "pullrequest:write",
    "webhook",
)
ACCESS_TOKEN_SCOPES = ("repository:write", "pullrequest:write", "webhook")

DEFAULT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "app-password": OLD_SCOPES,
    "api-token": API_TOKEN_SCOPES,
    "access-token": ACCESS_TOKEN_SCOPES,
    "oauth-client": OLD_SCOPES,
}
OAUTH = "/site/oauth2"
OAUTH_RULES = OAuthRules(
    lifetime=7200, grace=600, token_length=2600, scope_field="scope", ports_matter=True
)
"""Bitbucket's rules: refresh tokens change, and used ones are accepted for ten minutes."""
CALLBACK = "http://127.0.0.1:8912/callback"
LEAST_SCOPES = {"api-token": "read:repository:bitbucket"}
OTHER_SCOPES = {"api-token": "read:pullrequest:bitbucket"}
ACCESS = {False: Access.FULL, True: Access.EXPIRED}


@dataclass(frozen=True)
class LoggedRequest(AnyLoggedRequest):
    """A request that the sandbox received, without secrets.

    Attributes:
        mode: The mode of the credential; ``None`` without one, or with an unknown one.
        username: The username in the request, if a user has this name.
    """

    mode: str | None = None
    username: str | None = None


class BitbucketHost(Content):
    """The part of the sandbox without the API.

    Args:
        app_passwords: ``working``, as until 2026, or ``removed``, as now.

    Attributes:
        oauth: The authorization server.
    """

    MODES = {  # noqa: RUF012 - as the base class has it
        "app-password": "App password",
        "api-token": "API token",
        "access-token": "Access token",
        "oauth-client": "OAuth client",
    }
    OWNER = "acme"

    watchers: ClassVar[list[Callable[[Exchange], None]]] = []

    def __init__(
        self, *, port: int = 0, latency: float = 0.0, app_passwords: AppPasswords = "working"
    ) -> None:
        self.oauth = AuthorizationServer(OAUTH_RULES)
        self._oauth_clients: dict[SecretStr, OAuthClient] = {}
        super().__init__(port=port, latency=latency)
        self._app_passwords = app_passwords

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """A running sandbox with users, repositories and a credential of each mode.

        Raises:
            OSError: The port is in use.
        """
        return cls(port=port).with_demo_content().start()

    def with_demo_content(self) -> Self:
        """Add user ada, the workspaces ada and acme, and a credential of each mode."""
        ada = self.add_user("ada", "ada@example.com", "Ada Lovelace")
        self.add_workspace("ada", "Ada Lovelace", members=[ada])
        self.add_workspace("acme", "Acme Corporation", members=[ada])
        notes = {"README.md": b"# Notes\n"}
        self.add_repository("ada", "notes", name="Notes", private=False, files=notes)
        self.add_repository("ada", "empty", name="Nothing here yet")
        self.add_repository("acme", "shop", name="Shop")
        commit = self.publish("acme", "shop", "main", demo.SHOP, "Open the shop")
        self.add_branches("acme", "shop", demo.BRANCHES, at=commit)
        self.add_repository("acme", "website", name="Website", files=demo.WEBSITE)
        self.add_app_password(ada)
        self.add_api_token(ada)
        self.add_access_token("acme")
        self.add_credential("oauth-client")
        return self

    @property
    def api_url(self) -> str:
        """The address that replaces ``https://api.bitbucket.org/2.0``."""
        return f"{self.url}{API}"

    @property
    def git_url(self) -> str:
        """The address that replaces ``https://bitbucket.org``."""
        return self.url

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create the content of a scenario in workspace acme, of which ada is a member."""
        self._readers.clear()
        self._add_people()
        self.add_workspace(RIVAL)
        return super().arrange(scenario)

    # Credentials

    def settings(self, credential: rows.Credential) -> Mapping[str, str | SecretStr]:
        given: dict[str, str | SecretStr] = {"mode": credential.mode}
        if credential.mode == "app-password":
            given |= {"username": credential.username, "app_password": credential.secret}
        elif credential.mode == "oauth-client":
            client = self._oauth_clients[credential.secret]
            given |= {"client_id": client.client_id, "client_secret": credential.secret}
            given["workspace"] = credential.username
        else:
            given["token"] = credential.secret
            given["workspace"] = self._workspace_for(credential)
        if credential.mode == "api-token":
            given["email"] = self._users[credential.username].email
        return {**given, "api_url": self.api_url, "git_url": self.git_url}

    def connection(self, credential: rows.Credential) -> SandboxConnection:
        title = self.MODES[credential.mode]
        settings = self.settings(credential)
        return SandboxConnection(title, settings, self._workspace_for(credential))

    def connect(self, mode: str, access: Access) -> SandboxConnection:
        """Create credentials for workspace acme, and return how to configure the provider with
        them."""
        found = super().connect(mode, access)
        return SandboxConnection(
            found.title, {**found.settings, "workspace": self.OWNER}, self.OWNER
        )

    def granted(self, mode: str, access: Access) -> Collection[str]:
        if access is Access.LEAST:
            return (LEAST_SCOPES.get(mode, "repository"),)
        if access is Access.UNSCOPED:
            return (OTHER_SCOPES.get(mode, "webhook"),)
        return DEFAULT_SCOPES[mode]

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        """Add credentials of ada, or an access token or an OAuth client of workspace acme."""
        ada = self._add_people()
        if mode == "oauth-client":
            return self._add_oauth_client(access, scopes)
        user = None if mode == "access-token" else ada
        return self._add(
            mode,
            new_secret(mode),
            self.granted(mode, access) if scopes is None else scopes,
            username=self.OWNER if user is None else user.username,
            user=user,
            access=access,
        )

    def add_app_password(
        self,
        user: User,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = OLD_SCOPES,
        expired: bool = False,
    ) -> Credential:
        """Add an app password, with scopes of the old style. By default its secret is random."""
        return self._add(
            "app-password",
            secret,
            scopes,
            username=user.username,
            user=user,
            access=ACCESS[expired],
        )

    def add_api_token(
        self,
        user: User,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = API_TOKEN_SCOPES,
        expired: bool = False,
    ) -> Credential:
        """Add an API token, with scopes of the new style. By default its secret is random."""
        return self._add(
            "api-token", secret, scopes, username=user.username, user=user, access=ACCESS[expired]
        )

    def add_access_token(
        self,
        workspace: str,
        repository: str | None = None,
        secret: SecretStr | None = None,
        *,
        scopes: Iterable[str] = ACCESS_TOKEN_SCOPES,
        expired: bool = False,
        may_list: bool = True,
    ) -> Credential:
        """Add an access token, with scopes of the old style. By default its secret is random.

        Args:
            repository: The slug of the only repository that it is for; by default all.
            may_list: Whether it may list the repositories of the workspace.

        Raises:
            NotFound: The workspace does not exist.
        """
        slug = self.workspace(workspace).slug
        return self._add(
            "access-token",
            secret,
            scopes,
            username=slug,
            repository=repository,
            access=ACCESS[expired],
            may_list=may_list,
        )

    @property
    def credentials(self) -> Sequence[Credential]:
        return [row for row in super().credentials if isinstance(row, Credential)]

    def credential_of(self, secret: str) -> Credential | None:
        grant = self.oauth.granted(secret)
        if grant is not None:
            return Credential(
                mode="oauth-client" if grant.is_own else "oauth-user",
                access=Access.FULL,
                username=grant.account,
                secret=SecretStr(secret),
                scopes=frozenset(grant.scopes),
                user=None if grant.is_own else self._users[grant.account],
            )
        found = super().credential_of(secret)
        if isinstance(found, Credential) and found.mode != "oauth-client":
            return found
        return None  # the secret of a client is valid only at the token endpoint

    @property
    def secrets(self) -> Iterable[SecretStr]:
        return [*super().secrets, *self.oauth.secrets]

    def add_sign_in(self, scopes: Collection[str] = OLD_SCOPES) -> Mapping[str, str | SecretStr]:
        """Register an OAuth client for mode ``oauth-user``.

        The account that signs in is ``oauth.account``.

        Returns:
            The fields of the provider's ``Config``, without ``name``.
        """
        client = self.oauth.add_client(redirect_uri=CALLBACK, scopes=scopes)
        assert client.secret is not None  # noqa: S101 - it is not a public client
        return {
            "mode": "oauth-user",
            "client_id": client.client_id,
            "client_secret": client.secret,
            "workspace": self.OWNER,
            "api_url": self.api_url,
            "git_url": self.git_url,
        }

    def _add_oauth_client(self, access: Access, scopes: Collection[str] | None) -> Credential:
        scopes = self.granted("oauth-client", access) if scopes is None else scopes
        client = self.oauth.add_client(account=self.OWNER, scopes=scopes)
        assert client.secret is not None  # noqa: S101 - it is not a public client
        self._oauth_clients[client.secret] = client
        if access in (Access.WRONG, Access.EXPIRED):
            self.oauth.remove_client(client)
        return self._add("oauth-client", client.secret, scopes, username=self.OWNER, access=access)

    def rest_caller(self, request: Request) -> Credential | None:
        """The credential of a REST request; ``None`` for an anonymous one.

        Raises:
            Refusal: 401, the credentials are wrong.
        """
        if "authorization" not in request.headers:
            return None
        username, secret = _sent(request)
        found = self.credential_of(secret)
        return rest_credential(found, username, app_passwords=self._app_passwords)

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """Source: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/"""
        credential = None
        if "authorization" in request.headers:
            username, secret = _sent(request)
            found = self.credential_of(secret)
            credential = git_credential(found, username, secret, app_passwords=self._app_passwords)
        workspace, _, slug = name.partition("/")
        row = self.by_identifier(workspace, slug) if workspace in self._workspaces else None
        if row is None:
            raise text_refusal(404, NO_REPOSITORY)
        pushes = service == "git-receive-pack"
        if credential is None and (row.private or pushes):
            raise demand_basic()
        if not self.may_read(credential, row):
            raise text_refusal(404, NO_REPOSITORY)
        if credential is not None:
            demand_git_scope(credential, TO_PUSH if pushes else TO_FETCH)
        return row

    # The log

    def logged(self, request: Request, answer: Answer) -> LoggedRequest:
        """Log an exchange, with the user who sent it."""
        username, secret = _sent(request)
        credential = self.credential_of(secret)
        known = super().logged(request, answer)
        return LoggedRequest(
            **vars(known),
            mode=credential.mode if credential else None,
            username=username if username in self._known_names() else None,
        )

    def _known_names(self) -> set[str]:
        people = list(self._users.values())
        names = {name for user in people for name in (user.username, user.email)}
        return names | set(GIT_USERNAMES.values())

    def _add_people(self) -> User:
        ada = self._users.get("ada") or self.add_user("ada", display_name="Ada Lovelace")
        if self.OWNER not in self._workspaces:
            self.add_workspace(self.OWNER, members=[ada])
        return ada

    def _workspace_for(self, credential: rows.Credential) -> str:
        """Return the default workspace: for an app password, that of the username; a token has
        none."""
        user = self._users.get(credential.username)
        if credential.mode != "api-token" or user is None:
            return credential.username
        known = self.workspaces_of(user)
        return known[-1].slug if known else user.username

    def _add(
        self,
        mode: str,
        secret: SecretStr | None,
        scopes: Iterable[str],
        *,
        username: str,
        user: User | None = None,
        repository: str | None = None,
        access: Access,
        may_list: bool = True,
    ) -> Credential:
        credential = Credential(
            mode=mode,
            access=access,
            username=username,
            secret=secret or new_secret(mode),
            scopes=frozenset(scopes),
            user=user,
            repository=repository,
            may_list=may_list,
        )
        self.store_credential(credential)
        return credential


def surface(request: Request) -> str:
    """Return whether a request is for the API (``rest``), a token (``oauth``) or git (``git``)."""
    if request.path.startswith(f"{OAUTH}/"):
        return "oauth"
    return "rest" if request.segments[0] == API.strip("/") else "git"


def _sent(request: Request) -> tuple[str | None, str]:
    """Return the username and the secret of a request. The username is ``None`` only for Bearer."""
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    username, secret = credentials_of(request)
    if scheme == "bearer":
        return None, secret
    return (username or "", secret) if scheme == "basic" else ("", "")
