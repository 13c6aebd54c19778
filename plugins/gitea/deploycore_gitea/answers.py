"""Responses of Gitea and Forgejo, and how they map to deploycore's models.

The names are those of the definitions ``User``, ``Repository``, ``Branch``, ``PayloadCommit``
and ``SearchResults`` in the API's own description, which each server shows at ``/api/swagger``.
"""

from __future__ import annotations

from typing import Annotated

from deploycore.http import AnswerModel
from deploycore.models import Account, Branch, CloneLink, CommitHash, NonEmpty, Owner, Repository
from pydantic import Field

__all__ = ["BranchAnswer", "RepositoryAnswer", "SearchAnswer", "UserAnswer"]


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


class RepositoryAnswer(AnswerModel):
    """A repository, which has one name only.

    Attributes:
        id: Stays when the repository is renamed or transferred.
        default_branch: Also named while there is no branch yet.
        internal: Its owner is hidden from the public, and so it is itself, whatever ``private``
            says.
        ssh_url: Empty where the server has SSH turned off.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: NonEmpty
    owner: OwnerAnswer
    html_url: NonEmpty
    clone_url: str = ""
    ssh_url: str = ""
    private: bool
    internal: bool = False
    empty: bool = False
    default_branch: str = ""

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
