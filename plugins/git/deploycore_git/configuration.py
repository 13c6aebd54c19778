"""Configuration of a git server: its address, its repositories, and how git signs in.

There is no API, so the repositories to list are configured. This plugin has no field for an SSH
key, because the core has ``ssh_private_key``, ``ssh_agent`` and ``ssh_host_keys`` for every kind.
"""

import re
from collections import Counter
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from deploycore.configuration import (
    HttpsAddress,
    PasswordStr,
    ProviderConfig,
    TokenStr,
    UsernameStr,
)
from deploycore.http import BasicAuth, BearerAuth, HttpAuth
from deploycore.models import CloneUrl, GitCredential, RepositoryId, SshAddress
from pydantic import AfterValidator, Field, ValidationError

__all__ = [
    "AnonymousConfig",
    "AnyConfig",
    "BasicConfig",
    "BearerConfig",
    "GitConfig",
    "HttpConfig",
    "SshConfig",
]

TOKEN_USERNAME = "token"
"""The username for clients that send a bearer token as a password."""


GIT = ".git"
"""The suffix that many servers have in paths. It is not part of a repository's name."""

NO_OWNER = "_"
"""The owner in the name of a repository whose path has one segment: ``_/site``."""


def _repositories(text: str) -> str:
    """Return the paths without repetitions, separated by spaces."""
    paths = dict.fromkeys(each.strip("/") for each in re.split(r"[\s,]+", text) if each.strip("/"))
    if not paths:
        raise ValueError("it is empty; name at least one repository")
    for path in paths:
        if not path.isprintable() or re.search(r"[?#\\:]", path):
            raise ValueError(f"{path!r} is not a path below the url; leave the url out of it")
        segments = path.split("/")
        if not {"", ".", ".."}.isdisjoint(segments):
            raise ValueError(f"{path!r} is not a path below the url, such as acme/shop.git")
        if segments[-1] == GIT:
            raise ValueError(f"{path!r} ends with a directory {GIT}; leave it out, git finds it")
    names = Counter(map(_named, paths))
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise ValueError(f"two paths have the name {str(twice)!r}; keep one of them")
    return " ".join(paths)


def _named(path: str) -> RepositoryId:
    name = path.removesuffix(GIT)
    return RepositoryId.parse(name if "/" in name else f"{NO_OWNER}/{name}")


def _branch(text: str) -> str:
    text = text.strip().removeprefix("refs/heads/")
    if not text or re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|^/|/$", text):
        raise ValueError("git does not allow a branch of this name")
    return text


def _ssh_address(text: str) -> str:
    text = text.strip().rstrip("/")
    fault = "it is not an ssh URL, such as ssh://git@git.example.com:22/srv/git"
    if not text.startswith("ssh://"):
        raise ValueError(fault)
    try:
        address = SshAddress(url=text)
        parts = urlsplit(text)
        _ = parts.port
    except ValidationError:
        raise ValueError("it must be an ssh URL without a password, query or fragment") from None
    except ValueError:
        raise ValueError(fault) from None
    if re.search(r"[\s\\]", text):
        raise ValueError("it must not have white space or backslashes")
    return address.url


class _GitMode(ProviderConfig):
    """The fields that all modes have in common."""

    url: str
    repositories: Annotated[str, AfterValidator(_repositories)] = Field(
        description="paths of the repositories below the url, with spaces or commas between, as in"
        " 'acme/shop.git acme/web.git'"
    )
    default_branch: Annotated[str, AfterValidator(_branch)] | None = Field(
        None, description="default branch of repositories whose server does not name one"
    )

    @property
    def repository_ids(self) -> tuple[RepositoryId, ...]:
        """The configured repositories, in the order of the configuration."""
        return tuple(map(_named, self.repositories.split()))

    def path_of(self, repository: RepositoryId) -> str:
        """Return a repository's path below the URL, percent-encoded: the configured path, with or
        without ``.git`` at its end. For a repository that is not configured, it is the name without
        ``_/``."""
        configured = self.repositories.split()
        name, path = str(repository), repository.path
        if repository.owner == NO_OWNER and {name, f"{name}{GIT}"}.isdisjoint(configured):
            name, path = repository.slug, path.removeprefix(f"{NO_OWNER}/")
        return f"{path}{GIT}" if f"{name}{GIT}" in configured else path

    def page_of(self, repository: RepositoryId) -> str:
        """Return the clone URL of a repository, because a server without an API has no pages."""
        return f"{self.url}/{self.path_of(repository)}"


class HttpConfig(_GitMode):
    """The fields of all modes over HTTPS."""

    url: HttpsAddress = Field(
        description="address that comes before the repositories' paths, such as"
        " https://git.example.com/git"
    )

    @property
    def api_base_url(self) -> str:
        return self.url

    @property
    def api_auth(self) -> HttpAuth | None:
        return None

    @property
    def git_credential(self) -> GitCredential | None:
        """The credential for the git server."""
        return None

    @property
    def account(self) -> str:
        """The owner of these credentials, as far as the configuration shows."""
        return "anonymous"

    def source_of(self, repository: RepositoryId) -> CloneUrl:
        """Return the address from which git reads the refs of a repository."""
        return CloneUrl(url=self.page_of(repository), credential=self.git_credential)


class AnonymousConfig(HttpConfig):
    """Public repositories, without credentials."""

    MODE_LABEL: ClassVar[str] = "No sign-in"
    MODE_SUMMARY: ClassVar[str] = "Public repositories over HTTPS."

    mode: Literal["anonymous"] = Field(description="how to sign in")


class BasicConfig(HttpConfig):
    """Username and password, or a token in place of the password."""

    MODE_LABEL: ClassVar[str] = "Username and password"
    MODE_SUMMARY: ClassVar[str] = "Over HTTPS. Many servers accept a token as the password."

    mode: Literal["basic"] = Field(description="how to sign in")
    username: UsernameStr = Field(description="username for git")
    password: PasswordStr = Field(
        description="password, or a token that the server accepts as the password"
    )

    @property
    def api_auth(self) -> HttpAuth:
        return BasicAuth(self.username, self.password)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=self.username, password=self.password)

    @property
    def account(self) -> str:
        return self.username


class BearerConfig(HttpConfig):
    """A token that is sent as ``Authorization: Bearer``."""

    MODE_LABEL: ClassVar[str] = "Bearer token"
    MODE_SUMMARY: ClassVar[str] = (
        "Over HTTPS, for servers that expect the token in the header `Authorization: Bearer`."
    )

    mode: Literal["bearer"] = Field(description="how to sign in")
    token: TokenStr = Field(description="token that the server accepts as a bearer token")

    @property
    def api_auth(self) -> HttpAuth:
        return BearerAuth(self.token)

    @property
    def git_credential(self) -> GitCredential:
        return GitCredential(username=TOKEN_USERNAME, password=self.token, scheme="bearer")

    @property
    def account(self) -> str:
        return TOKEN_USERNAME


class SshConfig(_GitMode):
    """A key, such as a deploy key, over SSH."""

    NEEDS_SSH_KEY: ClassVar[bool] = True
    MODE_LABEL: ClassVar[str] = "SSH key"
    MODE_SUMMARY: ClassVar[str] = (
        "Over SSH, with a key that the server lets in, such as a deploy key."
    )

    mode: Literal["ssh"] = Field(description="how to sign in")
    url: Annotated[str, AfterValidator(_ssh_address)] = Field(
        description="the SSH address that comes before the repositories' paths, such as"
        " ssh://git@git.example.com/srv"
    )

    @property
    def api_base_url(self) -> str:
        """The host's address. No request is sent to it over HTTPS."""
        host = urlsplit(self.url).hostname or ""
        return f"https://[{host}]" if ":" in host else f"https://{host}"

    @property
    def api_auth(self) -> HttpAuth | None:
        return None

    @property
    def account(self) -> str:
        return urlsplit(self.url).username or "git"

    def source_of(self, repository: RepositoryId) -> SshAddress:
        """Return the SSH address; the core adds the key. The server does not publish its host
        keys."""
        return SshAddress(url=self.page_of(repository))


AnyConfig = AnonymousConfig | BasicConfig | BearerConfig | SshConfig
GitConfig = Annotated[AnyConfig, Field(discriminator="mode")]
