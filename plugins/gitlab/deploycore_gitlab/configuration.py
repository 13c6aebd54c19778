"""Configuration of GitLab: its address, the owner of projects, and one of four ways to sign in.

GitLab has a dozen kinds of tokens with different prefixes, and its API responds with ``401
Unauthorized`` to kinds that it does not accept. So a known prefix in the wrong place is rejected
before the first request. No prefix is required, because administrators can change or extend
prefixes.
"""

import re
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from deploycore.configuration import (
    ClientIdStr,
    ClientSecretStr,
    HttpsAddress,
    ProviderConfig,
    ScopesStr,
    TokenStr,
    UsernameStr,
)
from deploycore.http import BearerAuth, HeaderAuth, HttpAuth, HttpClient
from deploycore.http.grants import refresh_token
from deploycore.models import GitCredential
from deploycore.refs_only import RefsOnlyConfig
from deploycore.tokens import AuthorizationCode, RenewableAuth
from pydantic import AfterValidator, Field, SecretStr

from deploycore_gitlab.ssh import published

__all__ = [
    "API_SCOPE",
    "GIT_SCOPE",
    "GIT_USERNAME",
    "AccessTokenConfig",
    "AnyConfig",
    "DeployKeyConfig",
    "DeployTokenConfig",
    "GitLabConfig",
    "Mode",
    "OAuthConfig",
    "OAuthTokenConfig",
]

Mode = Literal["access-token", "oauth-token", "deploy-token", "oauth"]

API_SCOPE = "read_api"
"""The scope that the REST API requires.
https://docs.gitlab.com/security/tokens/access_token_scopes/"""
GIT_SCOPE = "read_repository"
"""The scope that git requires."""
GIT_USERNAME = "oauth2"
"""The username for git. OAuth tokens require this one; access tokens work with any username.

Source: https://docs.gitlab.com/api/oauth2/#access-git-over-https-with-access-token
"""

_ACCESS_TOKEN = "an access token (glpat-…)"  # noqa: S105
_DEPLOY_TOKEN = "a deploy token (gldt-…)"  # noqa: S105
_ELSEWHERE = "which gives access neither to GitLab's API nor to its repositories"

# https://docs.gitlab.com/security/tokens/#token-prefixes
_KINDS = {
    "glpat-": _ACCESS_TOKEN,
    "gldt-": _DEPLOY_TOKEN,
    "gloas-": f"the secret of an OAuth application (gloas-…), {_ELSEWHERE}",
    "glcbt-": f"a token of a CI/CD job (glcbt-…), {_ELSEWHERE} once the job is over",
    "glrt-": f"a token of a runner (glrt-…), {_ELSEWHERE}",
    "glptt-": f"a token to trigger pipelines (glptt-…), {_ELSEWHERE}",
    "glft-": f"a feed token (glft-…), {_ELSEWHERE}",
    "glimt-": f"a token for incoming mail (glimt-…), {_ELSEWHERE}",
    "glagent-": f"a token of a Kubernetes agent (glagent-…), {_ELSEWHERE}",
    "glsoat-": f"a token for SCIM (glsoat-…), {_ELSEWHERE}",
}

_GOES_TO = {
    (_ACCESS_TOKEN, "oauth"): ": use mode access-token",
    (_ACCESS_TOKEN, "deploy"): ": use the field token",
    (_DEPLOY_TOKEN, "access"): (
        ", which GitLab accepts only for git, not for its API: use mode deploy-token and its field "
        "deploy_token"
    ),
    (_DEPLOY_TOKEN, "oauth"): ", which GitLab accepts only for git: use mode deploy-token",
}


def _of_kind(place: Literal["access", "oauth", "deploy"]) -> AfterValidator:
    wanted = {"access": _ACCESS_TOKEN, "deploy": _DEPLOY_TOKEN}.get(place)

    def check(secret: SecretStr) -> SecretStr:
        value = secret.get_secret_value()
        for prefix, kind in _KINDS.items():
            if value.startswith(prefix) and kind != wanted:
                raise ValueError(f"this is {kind}{_GOES_TO.get((kind, place), '')}")
        return secret

    return AfterValidator(check)


def _root_address(text: str) -> str:
    if re.search(r"/api(/v\d+)?$", text):
        raise ValueError("use the address without /api/v4, as a browser shows it")
    return text


def _namespace(text: str) -> str:
    text = text.strip().strip("/")
    if (
        not text
        or re.search(r"[\s\x00-\x1f\x7f:?#%\\]|//", text)
        or {".", ".."} & set(text.split("/"))
    ):
        raise ValueError(
            "this is not the path of a group or user; use the path in its address:"
            " gitlab.com/<namespace>"
        )
    return text


class _OfServer(ProviderConfig):
    """The field that all modes have in common."""

    url: Annotated[HttpsAddress, AfterValidator(_root_address)] = Field(
        default="https://gitlab.com",
        description="address of GitLab, with its path if it has one, as in example.com/gitlab",
    )


class _GitLabMode(_OfServer):
    """The fields that all modes with the API have in common.

    Attributes:
        namespace: The group or user; ``None`` for all projects that the account is a member of.
    """

    namespace: Annotated[str, AfterValidator(_namespace)] | None = Field(
        default=None,
        description="full path of the group (group/subgroup), or the username, whose projects to"
        " list (default: all projects that the account is a member of)",
    )
    include_subgroups: bool = Field(
        default=True, description="whether to include the projects of subgroups"
    )

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/api/v4"

    @property
    @abstractmethod
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the token for the API needs."""


class AccessTokenConfig(_GitLabMode):
    """A personal, project or group access token. Tokens of projects and groups belong to bots.

    Source: https://docs.gitlab.com/user/profile/personal_access_tokens/
    """

    MODE_SUMMARY: ClassVar[str] = (
        "A personal, project or group access token. Choose this if you are not sure."
    )

    mode: Literal["access-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, _of_kind("access")] = Field(
        description=f"personal, group or project access token with {API_SCOPE} and {GIT_SCOPE}, or"
        " with api, which webhooks and statuses require"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return HeaderAuth("PRIVATE-TOKEN", self.token)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=GIT_USERNAME, password=self.token)

    @property
    def scopes(self) -> tuple[str, ...]:
        return (API_SCOPE, GIT_SCOPE)


class OAuthTokenConfig(_GitLabMode):
    """An OAuth 2.0 token of a user, provided by another program: it expires after two hours.

    Source: https://docs.gitlab.com/api/oauth2/
    """

    MODE_LABEL: ClassVar[str] = "OAuth token of another program"
    MODE_SUMMARY: ClassVar[str] = "Another program gets the token, which expires after two hours."

    mode: Literal["oauth-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, _of_kind("oauth")] = Field(
        description=f"OAuth 2.0 token with {API_SCOPE} and {GIT_SCOPE} (they end after two hours)"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=GIT_USERNAME, password=self.token)

    @property
    def scopes(self) -> tuple[str, ...]:
        return (API_SCOPE, GIT_SCOPE)


class DeployTokenConfig(_GitLabMode):
    """A deploy token for git, and an access token for the API that needs no access to code.

    The REST API accepts deploy tokens only for packages, so they cannot list projects.

    Source: https://docs.gitlab.com/user/project/deploy_tokens/
    """

    MODE_SUMMARY: ClassVar[str] = (
        "A deploy token to clone with, and an access token for the API that needs no access to"
        " code."
    )

    mode: Literal["deploy-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, _of_kind("access")] = Field(
        description=f"access token for the API, with {API_SCOPE} alone, or with api, which webhooks"
        " and statuses require"
    )
    deploy_token_username: UsernameStr = Field(
        description="the deploy token's username, such as gitlab+deploy-token-1"
    )
    deploy_token: Annotated[TokenStr, _of_kind("deploy")] = Field(
        description=f"deploy token for git, with {GIT_SCOPE}"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return HeaderAuth("PRIVATE-TOKEN", self.token)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=self.deploy_token_username, password=self.deploy_token)

    @property
    def scopes(self) -> tuple[str, ...]:
        return (API_SCOPE,)


class OAuthConfig(_GitLabMode):
    """An OAuth application for which a person signs in; deploycore renews the token.

    Sources: https://docs.gitlab.com/api/oauth2/#authorization-code-with-proof-key-for-code-exchange-pkce,
    https://docs.gitlab.com/integration/oauth_provider/

    Attributes:
        client_secret: The secret of the application; ``None`` if the application is not
            confidential.
    """

    MODE_LABEL: ClassVar[str] = "Sign-in with OAuth"
    MODE_SUMMARY: ClassVar[str] = (
        "You sign in at GitLab in your browser. This needs an OAuth application there."
    )

    mode: Literal["oauth"] = Field(description="how to sign in")
    client_id: ClientIdStr = Field(
        description="application ID of the OAuth application, whose redirect URI is"
        " http://127.0.0.1/callback"
    )
    client_secret: ClientSecretStr | None = Field(
        default=None, description="secret of the OAuth application, if it is confidential"
    )
    oauth_scopes: ScopesStr = Field(
        default=f"{API_SCOPE} {GIT_SCOPE}",
        description="scopes to ask for, with spaces between; webhooks and statuses require api",
    )

    @property
    def api_auth(self) -> RenewableAuth:
        obtain = refresh_token("token", self.client_id, self.client_secret, provider=self.name)
        return RenewableAuth(obtain, server=self.authorization_server, is_stored=True)

    @property
    def authorization_server(self) -> str:
        """The base URL of the endpoints for OAuth."""
        return f"{self.url}/oauth"

    @property
    def sign_in(self) -> AuthorizationCode:
        """The sign-in with a browser, which is redirected to any port of this machine. GitLab
        allows that."""
        return AuthorizationCode(
            authorize_url=f"{self.authorization_server}/authorize",
            token_path="token",  # noqa: S106
            client_id=self.client_id,
            client_secret=self.client_secret,
            scope=self.oauth_scopes,
            server=self.authorization_server,
        )

    def git_credential_with(self, http: HttpClient) -> GitCredential:
        """Return the credential for git: the same access token as for API requests."""
        return http.token().git_credential(GIT_USERNAME)

    @property
    def scopes(self) -> tuple[str, ...]:
        return (API_SCOPE, GIT_SCOPE)


class DeployKeyConfig(RefsOnlyConfig, _OfServer):
    """An SSH key of some projects, without the API."""

    MODE_SUMMARY: ClassVar[str] = "An SSH key that can only read the projects that you name."

    HAS_NESTED_OWNERS = True

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        return self.url

    @property
    def published_host_keys(self) -> tuple[str, ...]:
        return published()


AnyConfig = AccessTokenConfig | OAuthTokenConfig | DeployTokenConfig | OAuthConfig
GitLabConfig = Annotated[AnyConfig | DeployKeyConfig, Field(discriminator="mode")]
