"""Accounts, owners, repositories, branches, tags and pull requests, as hosts list them."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from deploycore.models.base import CommitHash, HostId, Model, NonEmpty
from deploycore.models.repository_id import RepositoryId

__all__ = [
    "Account",
    "Branch",
    "CloneLink",
    "Owner",
    "PullRequest",
    "PullRequestState",
    "Repository",
    "Tag",
]


class Account(Model):
    """The account that credentials belong to.

    Attributes:
        username: The login, or the slug of a workspace if the token does not belong to a person.
        display_name: The name to show to people.
        scopes: The scopes of the credentials, in the host's words; empty if the host does not
            report them.
        expires_at: When the credentials expire; ``None`` if they do not, or if the host does not
            report it.
    """

    username: NonEmpty
    display_name: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at: AwareDatetime | None = None


class Owner(Model):
    """The owner of a repository.

    Attributes:
        username: The owner in the repository's address, such as the slug of a workspace, a login,
            or the path of a nested group with slashes.
        display_name: The name to show to people.
    """

    username: NonEmpty
    display_name: str | None = None


class CloneLink(Model):
    """A URL to clone a repository from, as the host lists it.

    Attributes:
        name: The protocol: ``https`` or ``ssh``.
        href: The URL.
    """

    name: NonEmpty
    href: NonEmpty


class Repository(Model):
    """A repository as a provider lists it.

    Attributes:
        name: The name to show to people.
        slug: The name in addresses.
        url: The address of the repository's page.
        owner: The owner.
        default_branch: The name of the default branch; ``None`` if the repository is empty.
        private: Whether the repository is hidden from the public.
        clone_links: The URLs to clone from. They must not contain a secret.
        host_id: The host's identifier of the repository. It stays the same when the repository is
            renamed or transferred, and no other repository of the host ever gets it. ``None`` if
            the host has no such identifier.
        archived: Whether the repository is archived, so that nobody can push to it; ``None`` if
            the host does not report it.
        empty: Whether the repository has no commits; ``None`` if the host does not report it.
        size: The size in bytes; ``None`` if the host does not report it.
        topics: The topics (labels) of the repository.
        updated_at: The time of the last push or other change.
        commit_url: The address of a commit's page, with ``{commit}`` in place of the full hash;
            ``None`` if the host has no such pages.
    """

    name: NonEmpty
    slug: NonEmpty
    url: NonEmpty
    owner: Owner
    default_branch: str | None = None
    private: bool = True
    clone_links: tuple[CloneLink, ...] = ()
    host_id: HostId | None = None
    archived: bool | None = None
    empty: bool | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    topics: tuple[str, ...] = ()
    updated_at: AwareDatetime | None = None
    commit_url: Annotated[str, Field(pattern=r"\{commit\}")] | None = None

    @property
    def id(self) -> RepositoryId:
        """The identifier that other hooks take as an argument."""
        return RepositoryId(owner=self.owner.username, slug=self.slug)

    def url_of_commit(self, commit: str) -> str | None:
        """Return the address of a commit's page; ``None`` if ``commit_url`` is not set."""
        return None if self.commit_url is None else self.commit_url.replace("{commit}", commit)


class Branch(Model):
    """A branch and the commit it points to.

    Attributes:
        name: The name, without ``refs/heads/``.
        commit: The full hash of the commit.
    """

    name: NonEmpty
    commit: CommitHash


class Tag(Model):
    """A tag and the commit it points to.

    Attributes:
        name: The name, without ``refs/tags/``.
        commit: The full hash of the commit. For an annotated tag, this is not the hash of the tag
            object.
    """

    name: NonEmpty
    commit: CommitHash


PullRequestState = Literal["open", "merged", "declined"]
"""The state of a pull request. ``declined`` means that it was closed without a merge."""


class PullRequest(Model):
    """A pull request as a provider lists it.

    Fields with the same names as in :class:`~deploycore.events.PullRequestEvent` have the same
    meaning.

    Attributes:
        number: The host's number of the pull request in the repository; at most 2**63 - 1.
        state: The current state.
        title: The title.
        source: The repository that the commits come from. For a fork, it is another repository.
            ``None`` if the fork was deleted, or if the host does not report it.
        source_branch: The branch in that repository.
        target_branch: The branch to merge into.
        commit: The hash of the newest commit, or only its first digits if the host reports no
            more.
    """

    number: Annotated[int, Field(ge=1, lt=2**63)]
    state: PullRequestState
    title: str = ""
    source: RepositoryId | None = None
    source_branch: NonEmpty
    target_branch: NonEmpty
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None
