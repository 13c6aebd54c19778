"""What the sandbox knows: users, workspaces, repositories and credentials.

All of it is in memory and behind one lock; what repositories contain is in ``git``. A
repository here is a row, so that a workspace of many thousands costs nothing until somebody
clones one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import SecretStr

from deploycore.errors import ConfigurationError, NotFound
from deploycore.sandbox import secret_source

__all__ = ["Credential", "Mode", "Repository", "State", "User", "Workspace", "new_secret"]

Mode = Literal["app-password", "api-token", "access-token"]
GIT_USERNAMES = {"api-token": "x-bitbucket-api-token-auth", "access-token": "x-token-auth"}

PREFIXES: dict[Mode, str] = {"app-password": "ATBB", "api-token": "ATATT", "access-token": "ATCTT"}
_LENGTHS: dict[Mode, int] = {"app-password": 24, "api-token": 140, "access-token": 140}


@dataclass(frozen=True)
class User:
    """A person."""

    username: str
    email: str
    display_name: str

    @property
    def uuid(self) -> str:
        return _uuid("user", self.username)


@dataclass(frozen=True)
class Workspace:
    """An owner of repositories.

    Attributes:
        members: Usernames, each with whether that user administrates the workspace.
    """

    slug: str
    name: str
    members: dict[str, bool] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        return _uuid("workspace", self.slug)


@dataclass(frozen=True)
class Repository:
    """A repository as a row.

    Attributes:
        readers: The usernames that may see it; ``None`` for all members of the workspace.
    """

    workspace: str
    slug: str
    name: str
    private: bool = True
    description: str = ""
    main_branch: str = "main"
    readers: frozenset[str] | None = None
    created_on: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    @property
    def full_name(self) -> str:
        return f"{self.workspace}/{self.slug}"

    @property
    def default_branch(self) -> str:
        return self.main_branch

    @property
    def uuid(self) -> str:
        return _uuid("repository", self.full_name)


@dataclass(frozen=True)
class Credential:
    """A secret, whose it is, and what it may do.

    Attributes:
        scopes: In the old style for app passwords and access tokens, in the new for API tokens.
        user: ``None`` for access tokens, which belong to no person.
        workspace: What an access token is for; ``None`` for the credentials of a person.
        repository: The slug of the one repository that an access token is for, if it is.
    """

    mode: Mode
    secret: SecretStr
    scopes: tuple[str, ...]
    user: User | None = None
    workspace: str | None = None
    repository: str | None = None
    expired: bool = False

    @property
    def git_username(self) -> str:
        """The username that git servers are shown with this secret."""
        if self.mode == "app-password" and self.user:
            return self.user.username
        return GIT_USERNAMES[self.mode]


class State:
    """All that there is, safe to read and to change from several threads.

    Attributes:
        version: Another number whenever something else may be in a list.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._users: dict[str, User] = {}
        self._workspaces: dict[str, Workspace] = {}
        self._repositories: dict[str, dict[str, Repository]] = {}
        self._credentials: dict[str, Credential] = {}
        self.version = 0

    def add_user(self, user: User) -> None:
        with self.lock:
            self._users[user.username] = user

    def add_workspace(self, workspace: Workspace) -> None:
        with self.lock:
            self._workspaces[workspace.slug] = workspace
            self._repositories.setdefault(workspace.slug, {})

    def remove_workspace(self, slug: str) -> None:
        with self.lock:
            self._workspaces.pop(slug, None)
            self._repositories.pop(slug, None)
            self.version += 1

    def remove_repository(self, workspace: str, slug: str) -> None:
        with self.lock:
            self._repositories.get(workspace, {}).pop(slug, None)
            self.version += 1

    def add_member(self, workspace: str, username: str, *, administrator: bool) -> None:
        with self.lock:
            known = self.workspace(workspace)
            members = {**known.members, self.user(username).username: administrator}
            self._workspaces[known.slug] = replace(known, members=members)
            self.version += 1

    def add_repositories(self, workspace: str, repositories: Iterable[Repository]) -> None:
        with self.lock:
            rows = self._repositories[self.workspace(workspace).slug]
            rows.update((repository.slug, repository) for repository in repositories)
            self.version += 1

    def add_credential(self, credential: Credential) -> Credential:
        """Remember a credential, and give it back.

        Raises:
            ConfigurationError: Another credential has the same secret.
        """
        with self.lock:
            key = credential.secret.get_secret_value()
            if key in self._credentials:
                raise ConfigurationError("Two credentials of the sandbox have the same secret.")
            self._credentials[key] = credential
        return credential

    def user(self, username: str) -> User:
        """The person of a username.

        Raises:
            NotFound: There is none.
        """
        with self.lock:
            if username not in self._users:
                raise NotFound(f"The sandbox has no user {username!r}.")
            return self._users[username]

    def workspace(self, identifier: str) -> Workspace:
        """The workspace of a slug, or of a UUID in braces.

        Raises:
            NotFound: There is none.
        """
        with self.lock:
            for workspace in self._workspaces.values():
                if identifier in (workspace.slug, workspace.uuid):
                    return workspace
        raise NotFound(f"The sandbox has no workspace {identifier!r}.")

    def workspaces_of(self, username: str) -> list[Workspace]:
        with self.lock:
            everything = self._workspaces.values()
            return [workspace for workspace in everything if username in workspace.members]

    def has_workspace(self, slug: str) -> bool:
        with self.lock:
            return slug in self._workspaces

    def repositories(self, workspace: str) -> list[Repository]:
        """In the order in which they were made."""
        with self.lock:
            return list(self._repositories[workspace].values())

    def repository(self, workspace: str, identifier: str) -> Repository | None:
        """The repository of a slug, or of a UUID in braces."""
        with self.lock:
            rows = self._repositories.get(workspace, {})
        if identifier.startswith("{"):
            return next((row for row in rows.values() if row.uuid == identifier), None)
        return rows.get(identifier)

    @property
    def credentials(self) -> Sequence[Credential]:
        with self.lock:
            return list(self._credentials.values())

    def credential(self, secret: str) -> Credential | None:
        with self.lock:
            return self._credentials.get(secret)

    def known_names(self) -> set[str]:
        """Every username and email: what may be logged as a name without being a secret."""
        with self.lock:
            people = list(self._users.values())
        names = {name for user in people for name in (user.username, user.email)}
        return names | set(GIT_USERNAMES.values())

    def may_read(self, credential: Credential | None, repository: Repository) -> bool:
        """Whether a caller, ``None`` for an anonymous one, may see a repository."""
        if not repository.private:
            return True
        if credential is None:
            return False
        if credential.user is None:
            only = credential.repository
            mine = credential.workspace == repository.workspace
            return mine and only in (None, repository.slug)
        username = credential.user.username
        if repository.readers is not None:
            return username in repository.readers
        return username in self._workspaces[repository.workspace].members

    def administrates(self, user: User, workspace: str) -> bool:
        with self.lock:
            return self._workspaces[workspace].members.get(user.username, False)


def new_secret(mode: Mode) -> SecretStr:
    """A random secret that looks like Bitbucket's: prefix, length, and ``=``, ``-``, ``_``."""
    if mode == "app-password":
        return SecretStr(PREFIXES[mode] + secret_source().token_hex(_LENGTHS[mode] // 2))
    source = secret_source()
    checksum = source.token_hex(4).upper()
    return SecretStr(f"{PREFIXES[mode]}3xFfGF0-_{source.token_urlsafe(_LENGTHS[mode])}={checksum}")


@lru_cache(maxsize=4096)
def _uuid(kind: str, name: str) -> str:
    return "{" + str(uuid5(NAMESPACE_URL, f"{kind}/{name}")) + "}"
