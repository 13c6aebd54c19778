"""People, workspaces and repositories of the sandbox, and the repositories that each person may
read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deploycore.errors import NotFound
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.repositories import File, branch_ref
from deploycore.testing.sandbox import Repository
from deploycore_bitbucket.sandbox.rows import Credential, User, Workspace, repository_uuid

__all__ = ["Content"]


class Content(PullRequestSandbox):
    """Users, workspaces and repositories. They can be added before or after the start."""

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self._users: dict[str, User] = {}
        self._workspaces: dict[str, Workspace] = {}
        self._readers: dict[tuple[str, str], frozenset[str]] = {}

    # People and workspaces

    def add_user(
        self, username: str, email: str | None = None, display_name: str | None = None
    ) -> User:
        """Add a person. The default email address is ``username@example.com``."""
        email = email or f"{username}@example.com"
        user = User(username, email, display_name or username.title())
        self._users[username] = user
        return user

    def add_workspace(
        self, slug: str, name: str | None = None, *, members: Iterable[User] = ()
    ) -> Workspace:
        """Add an owner of repositories.

        Args:
            members: Its administrators. Add other members with ``add_member``.
        """
        administrators = {user.username: True for user in members}
        workspace = Workspace(slug, name or slug.title(), administrators)
        self._workspaces[slug] = workspace
        self.add_owner(slug)
        return workspace

    def remove_workspace(self, slug: str) -> None:
        """Remove a workspace with all repositories, if there is one."""
        self._workspaces.pop(slug, None)
        self.remove_owner(slug)

    def add_member(self, workspace: str, user: User, *, administrator: bool = False) -> None:
        """Let a person read the repositories of a workspace.

        Raises:
            NotFound: The workspace does not exist.
        """
        known = self.workspace(workspace)
        members = {**known.members, user.username: administrator}
        self._workspaces[known.slug] = replace(known, members=members)

    def workspace(self, identifier: str) -> Workspace:
        """Return the workspace with a slug, or with a UUID in braces.

        Raises:
            NotFound: There is none.
        """
        for workspace in list(self._workspaces.values()):
            if identifier in (workspace.slug, workspace.uuid):
                return workspace
        raise NotFound(f"The sandbox has no workspace {identifier!r}.")

    def workspaces_of(self, user: User) -> list[Workspace]:
        """The workspaces that a person is a member of."""
        known = list(self._workspaces.values())
        return [workspace for workspace in known if user.username in workspace.members]

    def somebody(self, repository: Repository) -> User | None:
        """The author of events and pull requests: the first member of the workspace."""
        members = self.workspace(repository.owner).members
        return self._users[next(iter(members))] if members else None

    # Repositories

    def add_repository(
        self,
        owner: str,
        slug: str,
        *,
        name: str = "",
        private: bool = True,
        default_branch: str = "main",
        readers: Iterable[User] | None = None,
        files: Mapping[str, File] | None = None,
    ) -> Repository:
        """Add a repository.

        Args:
            readers: Who may read it; by default all members of the workspace.
            files: The files of a first commit; by default the repository is empty.

        Raises:
            NotFound: The workspace does not exist.
        """
        owner = self.workspace(owner).slug
        row = super().add_repository(
            owner, slug, name=name, private=private, default_branch=default_branch
        )
        if readers is not None:
            self._readers[owner, slug] = frozenset(user.username for user in readers)
        if files is not None:
            self.publish(owner, slug, default_branch, files, "Initial commit")
        return row

    def listed_repositories(
        self, workspace: str, count: int, *, prefix: str = "repository"
    ) -> None:
        """Add many empty private repositories with numbered names.

        Raises:
            NotFound: The workspace does not exist.
        """
        digits = len(str(count))
        for number in range(1, count + 1):
            slug = f"{prefix}-{number:0{digits}}"
            self.add_repository(workspace, slug, name=slug.replace("-", " "))

    def commit(
        self, workspace: str, slug: str, branch: str, files: Mapping[str, File], message: str
    ) -> str:
        """Commit like ``publish``, but without creating a repository if git does not allow the
        branch's name.

        Raises:
            NotFound: The workspace does not exist.
            ConfigurationError: Git does not allow the name of the branch.
        """
        branch_ref(branch)
        return self.publish(workspace, slug, branch, files, message)

    def readable(self, row: Repository) -> bool:
        """Return true: ``may_read`` decides by the credential."""
        return True

    def may_read(self, credential: Credential | None, row: Repository) -> bool:
        """Whether a caller, ``None`` for an anonymous one, may read a repository."""
        if not row.private:
            return True
        if credential is None:
            return False
        if credential.user is None:
            mine = credential.username == row.owner
            return mine and credential.repository in (None, row.slug)
        readers = self._readers.get((row.owner, row.slug))
        if readers is not None:
            return credential.username in readers
        return credential.username in self._workspaces[row.owner].members

    def by_identifier(self, workspace: str, identifier: str) -> Repository | None:
        """Return the repository with a slug, or with a UUID in braces."""
        if identifier.startswith("{"):
            rows = self.owned(workspace)
            return next((row for row in rows if repository_uuid(row) == identifier), None)
        return self.find(workspace, identifier)
