"""Configuration of GitHub: a token, an installation of a GitHub App, or the device flow.

Values are checked before the first request if GitHub's own error would not say which value is
wrong. GitHub's tokens have a prefix for each kind. Known prefixes are recognized but not required.

Sources:
https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
https://docs.github.com/en/enterprise-server@latest/rest/enterprise-admin
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, Field, SecretStr

from deploycore.configuration import HttpsAddress, ProviderConfig, TokenStr
from deploycore.http import BearerAuth, HttpAuth
from deploycore.http.grants import refresh_token
from deploycore.refs_only import RefsOnlyConfig
from deploycore.tokens import DeviceFlow, RenewableAuth
from deploycore_github.app_auth import AppAuth
from deploycore_github.ssh import published

__all__ = [
    "AnyConfig",
    "AppConfig",
    "DeployKeyConfig",
    "DeviceConfig",
    "GitHubConfig",
    "TokenConfig",
    "TokenKind",
]

GITHUB = "https://github.com"


@dataclass(frozen=True)
class TokenKind:
    """A kind of token, by its prefix.

    Attributes:
        title: Its name in messages.
        page: The page where it is created and changed, below the address of GitHub; empty if a
            program creates it.
    """

    title: str
    page: str = ""


FINE_GRAINED = TokenKind("fine-grained personal access token", "settings/personal-access-tokens")
CLASSIC = TokenKind("classic personal access token", "settings/tokens")
OAUTH = TokenKind("OAuth token")
INSTALLATION = TokenKind("installation token")
UNMARKED = TokenKind("token", "settings/personal-access-tokens")

_KINDS = {
    "github_pat_": FINE_GRAINED,
    "ghp_": CLASSIC,
    "gho_": OAUTH,
    "ghu_": TokenKind("user access token of a GitHub App"),
    "ghs_": INSTALLATION,
}
_NO_TOKENS = {
    "ghr_": "this is a refresh token (ghr_…), which cannot be used for requests",
    "eyJ": "this is a JSON web token; for a GitHub App use mode app, with its private key",
}


def _server(url: str) -> str:
    parts = urlsplit(url)
    if parts.path:
        raise ValueError(f"use the address of GitHub without a path, such as {GITHUB}")
    host = parts.hostname or ""
    if host == "www.github.com":
        return GITHUB
    if host == "api.github.com" or (host.startswith("api.") and host.endswith(".ghe.com")):
        pages = url.replace("api.", "", 1)
        raise ValueError(
            f"this is the address of the API; use the address of the web pages: {pages}"
        )
    return url


def _token(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    for prefix, fault in _NO_TOKENS.items():
        if value.startswith(prefix):
            raise ValueError(fault)
    return secret


def _login(text: str) -> str:
    text = text.strip()
    # Managed users have an underscore: ada_company.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        raise ValueError(
            "this is not the login of a user or organization; use the name in the address, "
            "github.com/<owner>"
        )
    return text


def _app_id(text: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError("this is neither an app ID (a number) nor a client ID (Iv…)")
    return text


def _installation_id(text: str) -> str:
    text = text.strip()
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(
            "this is not a number; find it in the address of the installation's page: "
            "…/settings/installations/<number>"
        )
    return text


def _private_key(secret: SecretStr) -> SecretStr:
    # Environment variables often have line ends as a backslash and n.
    key = SecretStr(secret.get_secret_value().strip().replace("\\n", "\n") + "\n")
    if not _is_rsa_key(key):
        raise ValueError(
            "this is not a complete RSA private key in PEM format; use the file that you "
            "downloaded from the app's page"
        )
    return key


@lru_cache(maxsize=16)
def _is_rsa_key(pem: SecretStr) -> bool:
    """Whether a key is valid. The result is cached, because the check takes a twentieth of a
    second, and a process reads the same key again for each deployment."""
    try:
        key = load_pem_private_key(pem.get_secret_value().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, RSAPrivateKey)


Login = Annotated[str, AfterValidator(_login)]


class _OfServer(ProviderConfig):
    """The field that all modes have in common."""

    url: Annotated[HttpsAddress, AfterValidator(_server)] = Field(
        default=GITHUB,
        description="address of GitHub: https://github.com, or your own server",
    )


class _GitHubMode(_OfServer):
    """The fields that all modes with the API have in common."""

    @property
    def api_base_url(self) -> str:
        """The address of the API. For GitHub's own servers, ``api.`` is added in front; for others,
        ``/api/v3`` at the end.

        Sources: https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api
        and https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency/network-details-for-ghecom
        """
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if host == "github.com" or host.endswith(".ghe.com"):
            return f"{parts.scheme}://api.{parts.netloc}"
        return f"{self.url}/api/v3"


class TokenConfig(_GitHubMode):
    """A token of any kind, created by a person or a program.

    Attributes:
        owner: The owner; ``None`` for all repositories that the token can access.
    """

    MODE_LABEL: ClassVar[str] = "Access token"
    MODE_SUMMARY: ClassVar[str] = (
        "A personal access token, classic or fine-grained. Choose this if you are not sure."
    )

    mode: Literal["token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, AfterValidator(_token)] = Field(
        description="personal access token: fine-grained with Contents: Read-only, or classic "
        "with the scope repo"
    )
    owner: Login | None = Field(
        default=None,
        description="owner of the repositories to list, as in github.com/<owner> (default: all)",
    )

    @property
    def kind(self) -> TokenKind:
        """The kind of the token, by its prefix."""
        value = self.token.get_secret_value()
        return next((kind for prefix, kind in _KINDS.items() if value.startswith(prefix)), UNMARKED)

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)


class AppConfig(_GitHubMode):
    """One installation of a GitHub App, which acts for itself and not for a person.

    ``api_auth`` is the authorization of the app itself. It is only for requests about the
    installation, and for obtaining a token.
    """

    MODE_LABEL: ClassVar[str] = "GitHub App"
    MODE_SUMMARY: ClassVar[str] = (
        "An installed GitHub App, which acts for itself and not for a person."
    )

    mode: Literal["app"] = Field(description="how to sign in")
    app_id: Annotated[str, AfterValidator(_app_id)] = Field(
        description="app ID or client ID, as on the app's page"
    )
    installation_id: Annotated[str, AfterValidator(_installation_id)] = Field(
        description="number at the end of the installation's address, …/settings/installations/N"
    )
    private_key: Annotated[SecretStr, AfterValidator(_private_key)] = Field(
        description="private key of the app: the PEM file from the app's page"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return AppAuth(self.app_id, self.private_key)

    @property
    def installation_page(self) -> str:
        """The page for the repositories and permissions of the installation."""
        return f"{self.url}/settings/installations/{self.installation_id}"


class DeviceConfig(_GitHubMode):
    """An OAuth App or GitHub App for which a person signs in with the device flow.

    Tokens of a GitHub App expire after eight hours, unless the app's owner has turned that off.
    They are renewed without a client secret. Tokens of an OAuth App do not expire.

    Sources:
    https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#device-flow
    https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
    """

    MODE_LABEL: ClassVar[str] = "Sign-in with a code"
    MODE_SUMMARY: ClassVar[str] = (
        "You enter a code at GitHub in your browser. This needs an OAuth App or a GitHub App"
        " with device flow."
    )

    mode: Literal["oauth-device"] = Field(description="how to sign in")
    client_id: Annotated[str, AfterValidator(_app_id)] = Field(
        description="client ID of the app, as on its page, where the device flow is enabled"
    )
    oauth_scopes: str = Field(
        default="repo",
        description="scopes to ask for, with spaces between; GitHub Apps have permissions instead",
    )
    owner: Login | None = Field(
        default=None,
        description="owner of the repositories to list, as in github.com/<owner> (default: all)",
    )

    @property
    def kind(self) -> TokenKind:
        """The kind of the token."""
        return OAUTH

    @property
    def api_auth(self) -> RenewableAuth:
        obtain = refresh_token(_TOKEN_PATH, self.client_id, None, provider=self.name)
        return RenewableAuth(obtain, server=self.url, is_stored=True)

    @property
    def sign_in(self) -> DeviceFlow:
        """The sign-in with a code that the person enters at GitHub."""
        return DeviceFlow(
            device_path="login/device/code",
            token_path=_TOKEN_PATH,
            client_id=self.client_id,
            scope=self.oauth_scopes,
            server=self.url,
        )


_TOKEN_PATH = "login/oauth/access_token"  # noqa: S105


class DeployKeyConfig(RefsOnlyConfig, _OfServer):
    """The deploy key of a repository, without the API."""

    MODE_SUMMARY: ClassVar[str] = "An SSH key that can only read the repository that has it."

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        return self.url

    @property
    def published_host_keys(self) -> tuple[str, ...]:
        return published()


AnyConfig = TokenConfig | AppConfig | DeviceConfig
GitHubConfig = Annotated[AnyConfig | DeployKeyConfig, Field(discriminator="mode")]
