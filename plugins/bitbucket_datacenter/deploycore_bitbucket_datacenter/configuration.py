"""Configuration of Bitbucket Data Center: a personal token, an access token, or a password.

There is no default host, so the address is required. A token is sent as Bearer, to git too: project
and repository tokens work only in this way, and since version 10, Basic authentication is off by
default. The values are checked before the first request, because the server's errors do not say
which value is wrong.

Source: https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html
"""

import re
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote, urlsplit

from deploycore.configuration import (
    HttpsAddress,
    PasswordStr,
    ProviderConfig,
    TokenStr,
    UsernameStr,
    refuse_prefixes,
)
from deploycore.http import BasicAuth, BearerAuth, HttpAuth
from deploycore.models import GitCredential, RepositoryId
from deploycore.refs_only import RefsOnlyConfig
from pydantic import AfterValidator, Field, SecretStr, model_validator

from deploycore_bitbucket_datacenter.addresses import SSH_PORT

__all__ = [
    "REPOSITORY_ADMIN",
    "REPOSITORY_READ",
    "AccessTokenConfig",
    "AnyConfig",
    "DeployKeyConfig",
    "BitbucketDataCenterConfig",
    "PasswordConfig",
    "PersonalTokenConfig",
]

REPOSITORY_READ = "Repository read"
REPOSITORY_ADMIN = "Repository admin"

GIT_USERNAME = "x-token-auth"
"""A placeholder for the username. It is not sent, because Bearer has only the token."""

# Tokens of Data Center start with BBDC- in recent versions and have no prefix in older ones. These
# are other secrets that users enter by mistake.
_OTHER_SECRETS = {
    "ATBB": "an app password of Bitbucket Cloud",
    "ATATT": "a token of Atlassian's cloud",
    "ATCTT": "a token of Bitbucket Cloud",
    "ghp_": "a token of GitHub",
    "github_pat_": "a token of GitHub",
    "glpat-": "a token of GitLab",
}

_BELOW_THE_BASE = re.compile(r"/(rest|scm|projects|users|repos|plugins)(/|$)")


def _address(url: str) -> str:
    host = urlsplit(url).hostname or ""
    if host == "bitbucket.org" or host.endswith(".bitbucket.org"):
        raise ValueError("this is Bitbucket Cloud, which has a kind of its own: bitbucket")
    if _BELOW_THE_BASE.search(urlsplit(url).path):
        raise ValueError(
            "use the base URL, with its context path if it has one, such as"
            " https://git.example.com/bitbucket, without /rest, /scm or /projects"
        )
    return url


def _project(text: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"~?[\w.-]+", text) or set(text) <= {"~", "."}:
        raise ValueError(
            "this is not a project key; use the key in the project's address, <url>/projects/<KEY>,"
            " or ~<user> for personal repositories"
        )
    return text


def _repository(text: str) -> str:
    text = text.strip()
    parts = text.split("/")
    are_names = all(
        re.fullmatch(r"~?[\w.-]+", part) and not set(part) <= {"~", "."} for part in parts
    )
    if len(parts) > 2 or not are_names:
        raise ValueError(
            "this is not a repository; use PROJECT/SLUG as in its address,"
            " <url>/projects/<PROJECT>/repos/<SLUG>"
        )
    return text


def _token(secret: SecretStr) -> SecretStr:
    return refuse_prefixes(secret, _OTHER_SECRETS, host="Bitbucket Data Center")


Project = Annotated[str, AfterValidator(_project)]


class _OfServer(ProviderConfig):
    """The field that all modes have in common."""

    url: Annotated[HttpsAddress, AfterValidator(_address)] = Field(
        description="base URL of the server, with its context path, as in"
        " https://git.example.com/bitbucket"
    )


class _Mode(_OfServer):
    """The fields that all modes with the API have in common."""

    project: Project | None = Field(
        default=None,
        description="project key, as in <url>/projects/<KEY>, or ~USER for personal repositories"
        " (default: all repositories that the credentials can read)",
    )

    @property
    def api_base_url(self) -> str:
        return f"{self.url}/rest"

    @property
    def tokens_page(self) -> str:
        """The page on which users create tokens."""
        return f"{self.url}/plugins/servlet/access-tokens/manage"


class PersonalTokenConfig(_Mode):
    """The HTTP access token of a user.

    Attributes:
        username: The username; ``None`` to send the token to git as Bearer.
    """

    MODE_SUMMARY: ClassVar[str] = (
        "An HTTP access token of your own account. Choose this if you are not sure."
    )

    mode: Literal["personal-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, AfterValidator(_token)] = Field(
        description=f"HTTP access token of a user, with {REPOSITORY_READ}, made at"
        " <url>/plugins/servlet/access-tokens/manage"
    )
    username: UsernameStr | None = Field(
        default=None,
        description="username, only if git has to send it with the token (default: git sends the"
        " token alone)",
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)

    @property
    def git_credential(self) -> GitCredential:
        if self.username is not None:
            return GitCredential(username=self.username, password=self.token)
        return GitCredential(username=GIT_USERNAME, password=self.token, scheme="bearer")


class AccessTokenConfig(_Mode):
    """The HTTP access token of a project or of a repository. It does not belong to a person."""

    MODE_LABEL: ClassVar[str] = "Project or repository token"
    MODE_SUMMARY: ClassVar[str] = (
        "An HTTP access token of one project or repository, which belongs to no person."
    )

    mode: Literal["access-token"] = Field(description="how to sign in")
    token: Annotated[TokenStr, AfterValidator(_token)] = Field(
        description=f"HTTP access token of a project or repository, with {REPOSITORY_READ}, made in"
        " its settings"
    )
    repository: Annotated[str, AfterValidator(_repository)] | None = Field(
        default=None,
        description="for the token of a repository: that repository, PROJECT/SLUG",
    )

    @model_validator(mode="after")
    def _repository_is_in_project(self) -> Self:
        if self.repository is None:
            return self
        owner = self.repository.rpartition("/")[0]
        if not owner and self.project is None:
            raise ValueError("repository must be PROJECT/SLUG if no project is given")
        if owner and self.project and owner.lower() != self.project.lower():
            raise ValueError(f"repository is not in the project {self.project}")
        return self

    @property
    def repository_id(self) -> RepositoryId | None:
        """The only repository that the token is for; ``None`` if the configuration names none."""
        if self.repository is None:
            return None
        owner, _, slug = self.repository.rpartition("/")
        return RepositoryId(owner=owner or self.project or "", slug=slug)

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=GIT_USERNAME, password=self.token, scheme="bearer")


class PasswordConfig(_Mode):
    """A username, with a password or a personal token, for servers on which Basic authentication is
    on."""

    MODE_LABEL: ClassVar[str] = "Username and password"
    MODE_SUMMARY: ClassVar[str] = "For servers on which basic authentication is on."

    mode: Literal["password"] = Field(description="how to sign in")
    username: UsernameStr = Field(description="username of the account")
    password: PasswordStr = Field(
        description="password or HTTP access token of the account (only where the server has Basic"
        " authentication turned on)"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BasicAuth(self.username, self.password)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=self.username, password=self.password)


class DeployKeyConfig(RefsOnlyConfig, _OfServer):
    """The access key of a repository or project, for SSH and without the API."""

    MODE_LABEL: ClassVar[str] = "Access key (SSH)"

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        return self.url

    @property
    def default_ssh_url(self) -> str:
        """The SSH address, with the default port of Bitbucket's SSH server."""
        return f"{super().default_ssh_url}:{SSH_PORT}"

    def page_of(self, repository: RepositoryId) -> str:
        return f"{self.url}/projects/{quote(repository.owner)}/repos/{quote(repository.slug)}"


AnyConfig = PersonalTokenConfig | AccessTokenConfig | PasswordConfig
BitbucketDataCenterConfig = Annotated[AnyConfig | DeployKeyConfig, Field(discriminator="mode")]
