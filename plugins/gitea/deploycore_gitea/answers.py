"""Responses of Gitea and Forgejo, and how they map to deploycore's models.

The names are those of the definitions ``User``, ``Repository``, ``Branch``, ``PayloadCommit`` and
``SearchResults`` in the API description, which each server has at ``/api/swagger``.
"""

from typing import Annotated, Literal

from deploycore.http import AnswerModel, OrNone
from deploycore.models import (
    Account,
    Branch,
    CloneLink,
    CommitHash,
    NonEmpty,
    Owner,
    PullRequest,
    PullRequestState,
    Repository,
    RepositoryId,
    Tag,
)
from pydantic import AliasChoices, AwareDatetime, Field

__all__ = [
    "BranchAnswer",
    "OrganizationAnswer",
    "PullRequestAnswer",
    "RepositoryAnswer",
    "SearchAnswer",
    "TagAnswer",
    "UserAnswer",
]


class OwnerAnswer(AnswerModel):
    """The owner of a repository."""

    login: NonEmpty
    full_name: str = ""


class UserAnswer(OwnerAnswer):
    """A user or an organization."""

    id: int

    def account(self) -> Account:
        """Convert the response to deploycore's model."""
        return Account(username=self.login, display_name=self.full_name or None)


class OrganizationAnswer(AnswerModel):
    """An organization. Older servers send only ``username``."""

    name: NonEmpty = Field(validation_alias=AliasChoices("name", "username"))
    full_name: str = ""

    def owner(self) -> Owner:
        """Convert the response to deploycore's model."""
        return Owner(username=self.name, display_name=self.full_name or None)


class RepositoryAnswer(AnswerModel):
    """A repository. Gitea has only one name for it.

    Attributes:
        id: The identifier, which does not change when the repository is renamed or transferred.
        default_branch: The default branch. It has a name even if there is no branch yet.
        internal: Whether its owner is hidden from the public. Then the repository is hidden too,
            even if ``private`` is false.
        ssh_url: The SSH URL; empty if SSH is turned off.
        size: In kibibytes.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: NonEmpty
    owner: OwnerAnswer
    html_url: NonEmpty
    clone_url: str = ""
    ssh_url: str = ""
    private: bool
    internal: bool = False
    empty: bool | None = None
    default_branch: str = ""
    archived: Annotated[bool | None, OrNone] = None
    size: Annotated[int | None, Field(ge=0), OrNone] = None
    topics: Annotated[list[str] | None, OrNone] = None
    updated_at: Annotated[AwareDatetime | None, Field(strict=False), OrNone] = None

    def repository(self) -> Repository:
        """Convert the response to deploycore's model."""
        links = (("https", self.clone_url), ("ssh", self.ssh_url))
        return Repository(
            name=self.name,
            slug=self.name,
            url=self.html_url,
            commit_url=f"{self.html_url}/commit/{{commit}}",
            owner=Owner(username=self.owner.login, display_name=self.owner.full_name or None),
            default_branch=None if self.empty else self.default_branch or None,
            private=self.private or self.internal,
            clone_links=tuple(CloneLink(name=name, href=href) for name, href in links if href),
            host_id=None if self.id is None else str(self.id),
            archived=self.archived,
            empty=self.empty,
            size=None if self.size is None else self.size * 1024,
            topics=tuple(self.topics or ()),
            updated_at=self.updated_at,
        )


class SearchAnswer(AnswerModel):
    """A page of search results; ``data`` may be null if nothing was found."""

    data: list[object] = []


class CommitAnswer(AnswerModel):
    id: CommitHash


class BranchAnswer(AnswerModel):
    name: NonEmpty
    commit: CommitAnswer

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.commit.id)


class _TaggedCommit(AnswerModel):
    sha: CommitHash


class TagAnswer(AnswerModel):
    """An item of ``GET /repos/{owner}/{repo}/tags``. ``id`` may be the hash of a tag object."""

    name: NonEmpty
    commit: _TaggedCommit

    def tag(self) -> Tag:
        """Convert the response to deploycore's model."""
        return Tag(name=self.name, commit=self.commit.sha)


class _Base(AnswerModel):
    ref: NonEmpty


class _SourceRepository(AnswerModel):
    name: NonEmpty
    owner: OwnerAnswer


class _Head(AnswerModel):
    """The source or destination, as in webhooks. ``label`` is the branch; it is empty for a pull
    request by ``refs/for/…``."""

    label: str = ""
    ref: NonEmpty
    sha: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")] = ""
    repo: _SourceRepository | None = None


class PullRequestAnswer(AnswerModel):
    """``GET /repos/{owner}/{repo}/pulls``, or one by its number."""

    number: Annotated[int, Field(ge=1, lt=2**63)]
    state: Literal["open", "closed"]
    title: str = ""
    merged: bool = False
    head: _Head
    base: _Base

    def pull_request(self) -> PullRequest:
        """Convert the response to deploycore's model."""
        head = self.head
        ended: PullRequestState = "merged" if self.merged else "declined"
        gone = head.ref.startswith("refs/pull/") and head.label
        return PullRequest(
            number=self.number,
            state="open" if self.state == "open" else ended,
            title=self.title,
            source=RepositoryId(owner=head.repo.owner.login, slug=head.repo.name)
            if head.repo and head.label
            else None,
            source_branch=head.label if gone else head.ref,
            target_branch=self.base.ref,
            commit=head.sha or None,
        )
