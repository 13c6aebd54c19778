"""Configuration of a Bitbucket Cloud workspace, with one of six ways to sign in.

Bitbucket has several kinds of credentials that look alike, but need different usernames for REST
and git. Each kind is a class here, which has both. The values are checked before the first request,
because Bitbucket's own errors rarely say which value is wrong.
"""

import re
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http import BasicAuth, BearerAuth, HttpAuth, HttpClient
from deploycore.http.grants import client_credentials, refresh_token
from deploycore.models import GitCredential, RepositoryId
from deploycore.refs_only import RefsOnlyConfig
from deploycore.tokens import AuthorizationCode, RenewableAuth
from deploycore_bitbucket.ssh import published

__all__ = [
    "API_TOKEN_PAGE",
    "AccessTokenConfig",
    "AnyConfig",
    "ApiTokenConfig",
    "AppPasswordConfig",
    "BitbucketConfig",
    "DeployKeyConfig",
    "Mode",
    "OAuthClientConfig",
    "OAuthUserConfig",
]

Mode = Literal["app-password", "api-token", "access-token", "oauth-client", "oauth-user"]

API_TOKEN_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"  # noqa: S105

MOST_PREFETCH_PAGES = 16  # the number of connections that deploycore's HttpClient keeps open

TOKEN_USERNAME = "x-token-auth"  # noqa: S105 - what git sends before access tokens
REDIRECT_PORT = 8912  # the port of the callback URL of a client for oauth-user

# Atlassian marks its secrets by kind. A known prefix is recognized but not required: older
# secrets have none.
_MODE_OF_PREFIX: dict[str, tuple[Mode, str]] = {
    "ATBB": ("app-password", "an app password"),
    "ATATT": ("api-token", "an API token"),
    "ATCTT": ("access-token", "an access token of a repository, project or workspace"),
}


def _secret_of_mode(mode: Mode) -> AfterValidator:
    def check(secret: SecretStr) -> SecretStr:
        for prefix, (right_mode, what) in _MODE_OF_PREFIX.items():
            if secret.get_secret_value().startswith(prefix) and right_mode != mode:
                raise ValueError(f"this is {what} ({prefix}…), which belongs to mode {right_mode}")
        return secret

    return AfterValidator(check)


def _plain(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("it is empty")
    if re.search(r"[\s\x00-\x1f\x7f:]", text):
        raise ValueError("it contains white space, a colon or control characters")
    return text


def _username(text: str) -> str:
    if "@" in text:
        raise ValueError(
            "this is an email address, but app passwords need the Bitbucket username, which is "
            "shown at https://bitbucket.org/account/settings/ (mode api-token needs the email "
            "address)"
        )
    return _plain(text)


def _email(text: str) -> str:
    text = _plain(text)
    if not re.fullmatch(r"[^@]+@[^@]+", text):
        raise ValueError(
            "API tokens need the email address of the Atlassian account, not a username"
        )
    return text


def _workspace(text: str) -> str:
    """A slug, or a UUID in curly braces, which the API accepts instead."""
    text = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9._~-]+|\{[0-9A-Fa-f-]+\}", text) or set(text) == {"."}:
        raise ValueError(
            "this is not a workspace slug; use the slug in the workspace's address, "
            "bitbucket.org/<workspace>"
        )
    return text


Workspace = Annotated[str, AfterValidator(_workspace)]


def _repository(text: str) -> str:
    """Parse a repository as in its address; the workspace may be left out."""
    text = text.strip()
    parts = text.split("/")
    if len(parts) > 2 or not all(re.fullmatch(r"[A-Za-z0-9._~{}-]+", part) for part in parts):
        raise ValueError(
            "this is not a repository; use WORKSPACE/SLUG as in its address,"
            " bitbucket.org/<workspace>/<slug>"
        )
    return text


class _OfServer(ProviderConfig):
    """The field that all modes have in common."""

    git_url: HttpsAddress = Field(
        default="https://bitbucket.org", description="address from which repositories are cloned"
    )


class _BitbucketMode(_OfServer):
    """The fields that all modes with the API have in common."""

    api_url: HttpsAddress = Field(
        default="https://api.bitbucket.org/2.0", description="address of the REST API"
    )
    prefetch_pages: int = Field(
        default=MOST_PREFETCH_PAGES,
        ge=0,
        le=MOST_PREFETCH_PAGES,
        description="number of pages of a long listing to fetch at once; 0 or 1 fetches one by one",
    )

    @property
    def api_base_url(self) -> str:
        return self.api_url

    @property
    @abstractmethod
    def default_workspace(self) -> str:
        """The slug of the default workspace of listings."""


class AppPasswordConfig(_BitbucketMode):
    """An app password. Bitbucket accepted these until 2026-07-28; compatible servers may still
    accept them.

    Attributes:
        workspace: ``None`` for the personal workspace, whose slug is the username.
    """

    MODE_SUMMARY: ClassVar[str] = (
        "bitbucket.org has not accepted app passwords since 2026-07-28. Use this only for a"
        " compatible server that still does."
    )

    mode: Literal["app-password"] = Field(description="how to sign in")
    username: Annotated[str, AfterValidator(_username)] = Field(
        description="Bitbucket username (not the email address)"
    )
    app_password: Annotated[TokenStr, _secret_of_mode("app-password")] = Field(
        description="app password (ended on bitbucket.org on 2026-07-28: use an API token)"
    )
    workspace: Workspace | None = Field(
        default=None, description="workspace slug, as in bitbucket.org/<workspace>"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BasicAuth(self.username, self.app_password)

    @property
    def default_workspace(self) -> str:
        return self.workspace or self.username

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=self.username, password=self.app_password)


class ApiTokenConfig(_BitbucketMode):
    """An API token of an Atlassian account. REST needs the email address, git a fixed username.

    Source: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
    """

    MODE_SUMMARY: ClassVar[str] = (
        "A token of your Atlassian account. Choose this if you are not sure."
    )

    mode: Literal["api-token"] = Field(description="how to sign in")
    email: Annotated[str, AfterValidator(_email)] = Field(
        description="email address of the Atlassian account"
    )
    token: Annotated[TokenStr, _secret_of_mode("api-token")] = Field(
        description=f"API token with read:repository:bitbucket, made at {API_TOKEN_PAGE}"
    )
    workspace: Workspace = Field(description="workspace slug, as in bitbucket.org/<workspace>")

    @property
    def api_auth(self) -> HttpAuth:
        return BasicAuth(self.email, self.token)

    @property
    def default_workspace(self) -> str:
        return self.workspace

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username="x-bitbucket-api-token-auth", password=self.token)


class AccessTokenConfig(_BitbucketMode):
    """An access token of a repository, project or workspace: it does not belong to a person.

    Source: https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/
    """

    MODE_SUMMARY: ClassVar[str] = (
        "A token of one repository, project or workspace, which belongs to no person."
    )

    mode: Literal["access-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, _secret_of_mode("access-token")] = Field(
        description="access token of a repository, project or workspace, with Repositories: Read"
    )
    workspace: Workspace = Field(description="workspace slug, as in bitbucket.org/<workspace>")
    repository: Annotated[str, AfterValidator(_repository)] | None = Field(
        default=None,
        description="for the access token of a repository: that repository, WORKSPACE/SLUG",
    )

    @model_validator(mode="after")
    def _repository_is_in_workspace(self) -> Self:
        owner = (self.repository or "").rpartition("/")[0]
        if owner and owner.lower() != self.workspace.lower() and "{" not in self.workspace:
            raise ValueError(f"repository is not in the workspace {self.workspace}")
        return self

    @property
    def repository_id(self) -> RepositoryId | None:
        """The only repository that the token is for; ``None`` if the configuration names none."""
        if self.repository is None:
            return None
        owner, _, slug = self.repository.rpartition("/")
        return RepositoryId(owner=owner or self.workspace, slug=slug)

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)

    @property
    def default_workspace(self) -> str:
        return self.workspace

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=TOKEN_USERNAME, password=self.token)


class _OAuthMode(_BitbucketMode):
    """The fields that both ways with an OAuth client have in common.

    Secrets of clients have had several lengths, and access tokens can be longer than 2,500
    characters, so no length is required. Source:
    https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/
    """

    client_id: Annotated[str, AfterValidator(_plain)] = Field(
        description="ID of the OAuth client, from the workspace's settings, OAuth clients"
    )
    client_secret: TokenStr = Field(description="secret of the OAuth client")
    workspace: Workspace = Field(description="workspace slug, as in bitbucket.org/<workspace>")

    @property
    def default_workspace(self) -> str:
        return self.workspace

    @property
    def authorization_server(self) -> str:
        """The base URL of the endpoints for OAuth."""
        return f"{self.git_url}/site/oauth2"

    def git_credential_with(self, http: HttpClient) -> GitCredential:
        """Return the credential for git: the same access token as for API requests."""
        return http.token().git_credential(TOKEN_USERNAME)


class OAuthClientConfig(_OAuthMode):
    """An OAuth client that acts for itself, in its workspace: no person signs in."""

    MODE_LABEL: ClassVar[str] = "OAuth client of a workspace"
    MODE_SUMMARY: ClassVar[str] = "deploycore signs in as the workspace, and no person has to."

    mode: Literal["oauth-client"] = Field(description="how to sign in")

    @property
    def api_auth(self) -> RenewableAuth:
        obtain = client_credentials(
            "access_token", self.client_id, self.client_secret, provider=self.name
        )
        return RenewableAuth(obtain, server=self.authorization_server)


class OAuthUserConfig(_OAuthMode):
    """An OAuth client for which a person signs in. Refresh tokens change at each use, and a used
    one is rejected minutes later, so they are stored."""

    MODE_LABEL: ClassVar[str] = "Sign-in with OAuth"
    MODE_SUMMARY: ClassVar[str] = (
        "You sign in at Bitbucket in your browser. Your workspace needs an OAuth client for it."
    )

    mode: Literal["oauth-user"] = Field(description="how to sign in")

    @property
    def api_auth(self) -> RenewableAuth:
        obtain = refresh_token(
            "access_token", self.client_id, self.client_secret, provider=self.name
        )
        return RenewableAuth(obtain, server=self.authorization_server, is_stored=True)

    @property
    def sign_in(self) -> AuthorizationCode:
        """The sign-in with a browser, which is redirected to the registered callback URL of the
        client."""
        return AuthorizationCode(
            authorize_url=f"{self.authorization_server}/authorize",
            token_path="access_token",  # noqa: S106
            client_id=self.client_id,
            client_secret=self.client_secret,
            server=self.authorization_server,
            redirect_port=REDIRECT_PORT,
        )


class DeployKeyConfig(RefsOnlyConfig, _OfServer):
    """The access key of a repository or project, for SSH and without the API."""

    MODE_LABEL: ClassVar[str] = "Access key (SSH)"

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        return self.git_url

    @property
    def published_host_keys(self) -> tuple[str, ...]:
        return published()


AnyConfig = (
    ApiTokenConfig | AccessTokenConfig | OAuthClientConfig | OAuthUserConfig | AppPasswordConfig
)
BitbucketConfig = Annotated[AnyConfig | DeployKeyConfig, Field(discriminator="mode")]
