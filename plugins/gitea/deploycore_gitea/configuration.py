"""Configuration of Gitea or Forgejo: a token, username and password, or OAuth.

There is no default host, so the address is required. The values are checked before the first
request, because Gitea's errors do not say which value is wrong.
"""

import re
from typing import Annotated, ClassVar, Literal

from deploycore.configuration import (
    ClientIdStr,
    ClientSecretStr,
    HttpsAddress,
    PasswordStr,
    ProviderConfig,
    ScopesStr,
    TokenStr,
    UsernameStr,
    refuse_prefixes,
)
from deploycore.http import BasicAuth, HeaderAuth, HttpAuth, HttpClient
from deploycore.http.grants import refresh_token
from deploycore.models import GitCredential
from deploycore.refs_only import RefsOnlyConfig
from deploycore.tokens import AuthorizationCode, RenewableAuth
from pydantic import AfterValidator, Field, SecretStr

from deploycore_gitea.ssh import published

__all__ = [
    "GIT_USERNAME",
    "READ_REPOSITORY",
    "READ_USER",
    "WRITE_REPOSITORY",
    "AnyConfig",
    "DeployKeyConfig",
    "BasicConfig",
    "GiteaConfig",
    "OAuthConfig",
    "TokenConfig",
]

READ_REPOSITORY = "read:repository"
READ_USER = "read:user"
WRITE_REPOSITORY = "write:repository"

GIT_USERNAME = "token"
"""The username for git with a token. Gitea and Forgejo accept any username with a token as the
password."""

# Tokens of Gitea and Forgejo have no prefix. These are other secrets that users enter by mistake.
_OTHER_SECRETS = {
    "gto_": "the client secret of an OAuth2 application, not an access token",
    "ghp_": "a token of GitHub",
    "github_pat_": "a token of GitHub",
    "glpat-": "a token of GitLab",
    "ATBB": "an app password of Bitbucket",
    "ATATT": "a token of Atlassian",
    "ATCTT": "a token of Bitbucket",
}


def _address(url: str) -> str:
    if "/api/v1" in f"{url}/":
        raise ValueError("use the address without /api/v1, as a browser shows it")
    return url


def _name(text: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"[\w.-]+", text) or set(text) == {"."}:
        raise ValueError(
            "this is not the name of a user or an organization; use the name in the address:"
            " <url>/<owner>"
        )
    return text


def _token(secret: SecretStr) -> SecretStr:
    return refuse_prefixes(secret, _OTHER_SECRETS)


class _OfServer(ProviderConfig):
    """The field that all modes have in common."""

    url: Annotated[HttpsAddress, AfterValidator(_address)] = Field(
        description="address of the server, as in https://codeberg.org or https://example.com/git"
    )


class _GiteaMode(_OfServer):
    """The fields that all modes with the API have in common."""

    owner: Annotated[str, AfterValidator(_name)] = Field(
        description="user or organization whose repositories to list, as in <url>/<owner>"
    )

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api/v1"

    @property
    def tokens_page(self) -> str:
        """The page on which users create tokens."""
        return f"{self.url}/user/settings/applications"


class TokenConfig(_GiteaMode):
    """An access token.

    Source: https://docs.gitea.com/development/api-usage and
    https://forgejo.org/docs/latest/user/api-usage/: both document the scheme ``token``.
    """

    MODE_LABEL: ClassVar[str] = "Access token"
    MODE_SUMMARY: ClassVar[str] = "A token of your account. Choose this if you are not sure."

    mode: Literal["token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, AfterValidator(_token)] = Field(
        description=f"access token with {READ_REPOSITORY} and {READ_USER}, "
        "made at <url>/user/settings/applications"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return HeaderAuth("Authorization", SecretStr(f"token {self.token.get_secret_value()}"))

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=GIT_USERNAME, password=self.token)


class BasicConfig(_GiteaMode):
    """Username and password, for accounts without two-factor authentication."""

    MODE_LABEL: ClassVar[str] = "Username and password"
    MODE_SUMMARY: ClassVar[str] = "For accounts without two-factor authentication."

    mode: Literal["basic"] = Field(description="how to sign in")
    username: UsernameStr = Field(description="username, or email address, of the account")
    password: PasswordStr = Field(
        description="password (not with two-factor authentication: use a token)"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BasicAuth(self.username, self.password)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=self.username, password=self.password)


REDIRECT_PORT = 8912
"""The port of the redirect URI of a confidential client. The redirect URI of a public client may
have any port."""


class OAuthConfig(_GiteaMode):
    """An OAuth2 application for which a person signs in; deploycore renews the token.

    Sources: https://docs.gitea.com/development/oauth2-provider and
    https://forgejo.org/docs/latest/user/oauth2-provider/

    Attributes:
        client_secret: The secret of the client; ``None`` for a public client.
    """

    MODE_LABEL: ClassVar[str] = "Sign-in with OAuth"
    MODE_SUMMARY: ClassVar[str] = (
        "You sign in at the server in your browser. Your account needs an OAuth2 application"
        " for it."
    )

    mode: Literal["oauth"] = Field(description="how to sign in")
    client_id: ClientIdStr = Field(
        description="client ID of the OAuth2 application, made at <url>/user/settings/applications"
        " with the redirect URI http://127.0.0.1/callback"
    )
    client_secret: ClientSecretStr | None = Field(
        default=None,
        description="client secret of the OAuth2 application, if it is a confidential client (whose"
        f" redirect URI is http://127.0.0.1:{REDIRECT_PORT}/callback)",
    )
    oauth_scopes: ScopesStr = Field(
        default=f"{READ_REPOSITORY} {READ_USER}",
        description="scopes to ask for, with spaces between; webhooks and statuses require"
        f" {WRITE_REPOSITORY}",
    )

    @property
    def api_auth(self) -> RenewableAuth:
        obtain = refresh_token(
            "access_token", self.client_id, self.client_secret, provider=self.name
        )
        return RenewableAuth(obtain, server=self.authorization_server, is_stored=True)

    @property
    def authorization_server(self) -> str:
        """The base URL of the endpoints for OAuth."""
        return f"{self.url}/login/oauth"

    @property
    def sign_in(self) -> AuthorizationCode:
        """The sign-in with a browser, which is redirected to this machine."""
        return AuthorizationCode(
            authorize_url=f"{self.authorization_server}/authorize",
            token_path="access_token",  # noqa: S106
            client_id=self.client_id,
            client_secret=self.client_secret,
            scope=self.oauth_scopes,
            server=self.authorization_server,
            redirect_port=None if self.client_secret is None else REDIRECT_PORT,
        )

    def git_credential_with(self, http: HttpClient) -> GitCredential:
        """Return the credential for git: the same access token as for API requests."""
        return http.token().git_credential(GIT_USERNAME)


class DeployKeyConfig(RefsOnlyConfig, _OfServer):
    """An SSH key of some repositories, without the API."""

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        return self.url

    @property
    def published_host_keys(self) -> tuple[str, ...]:
        return published()


AnyConfig = TokenConfig | BasicConfig | OAuthConfig
GiteaConfig = Annotated[AnyConfig | DeployKeyConfig, Field(discriminator="mode")]
