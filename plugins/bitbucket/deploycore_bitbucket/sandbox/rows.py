"""People, workspaces and credentials of the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import SecretStr

from deploycore.sandbox import secret_source
from deploycore.testing import rows

__all__ = ["Credential", "Mode", "User", "Workspace", "new_secret", "repository_uuid"]

Mode = Literal["app-password", "api-token", "access-token", "oauth-client", "oauth-user"]
OAUTH_MODES = ("oauth-client", "oauth-user")
GIT_USERNAMES = {
    "api-token": "x-bitbucket-api-token-auth",
    "access-token": "x-token-auth",
    "oauth-client": "x-token-auth",
    "oauth-user": "x-token-auth",
}
PREFIXES = {"app-password": "ATBB", "api-token": "ATATT", "access-token": "ATCTT"}
SECRET_CHARACTERS = {"app-password": 24, "api-token": 140, "access-token": 140}


@dataclass(frozen=True)
class User:
    """A person."""

    username: str
    email: str
    display_name: str

    @property
    def uuid(self) -> str:
        """Bitbucket's identifier, in braces."""
        return _uuid("user", self.username)


@dataclass(frozen=True)
class Workspace:
    """An owner of repositories.

    Attributes:
        members: Usernames, each with whether that user is an administrator of the workspace.
    """

    slug: str
    name: str
    members: dict[str, bool] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        """Bitbucket's identifier, in braces."""
        return _uuid("workspace", self.slug)


@dataclass(frozen=True)
class Credential(rows.Credential):
    """A secret, and its permissions.

    Its ``username`` is the slug of the workspace for access tokens, and for tokens that OAuth
    clients obtain for themselves: they belong to no person.
    Its scopes are of the new style for API tokens, and otherwise of the old style.

    Attributes:
        user: The person; ``None`` if the credentials do not belong to a person.
        repository: The slug of the only repository that an access token is for; ``None`` for
            all repositories of the workspace.
        may_list: Whether it may list the repositories of the workspace. Some access tokens of
            repositories may not.
    """

    user: User | None = None
    repository: str | None = None
    may_list: bool = True

    @property
    def git_username(self) -> str:
        """The username for git."""
        return GIT_USERNAMES.get(self.mode, self.username)


def repository_uuid(row: rows.Repository) -> str:
    """Bitbucket's identifier of a repository, in braces."""
    return _uuid("repository", row.full_name)


def new_secret(mode: str) -> SecretStr:
    """Return a random secret in Bitbucket's form: prefix, length, and ``=``, ``-``, ``_``."""
    source, length = secret_source(), SECRET_CHARACTERS[mode]
    if mode == "app-password":
        return SecretStr(PREFIXES[mode] + source.token_hex(length // 2))
    checksum = source.token_hex(4).upper()
    return SecretStr(f"{PREFIXES[mode]}3xFfGF0-_{source.token_urlsafe(length)}={checksum}")


@lru_cache(maxsize=4096)
def _uuid(kind: str, name: str) -> str:
    return "{" + str(uuid5(NAMESPACE_URL, f"{kind}/{name}")) + "}"
