"""GitHub's responses, and how they map to deploycore's models.

Source: https://docs.github.com/en/rest (the response schemas of each endpoint)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasChoices, AwareDatetime, Field

from deploycore.http import AnswerModel
from deploycore.models import (
    Account,
    Branch,
    CloneLink,
    CommitHash,
    NonEmpty,
    Owner,
    Repository,
)

__all__ = [
    "BranchAnswer",
    "InstallationAnswer",
    "InstallationRepositoriesAnswer",
    "InstallationTokenAnswer",
    "RepositoryAnswer",
    "UserAnswer",
]


class UserAnswer(AnswerModel):
    """``GET /user``."""

    login: NonEmpty
    name: str | None = None

    def account(self) -> Account:
        """Convert the response to deploycore's model."""
        return Account(username=self.login, display_name=self.name)


class OwnerAnswer(AnswerModel):
    """A user or an organization within another response."""

    login: NonEmpty


class RepositoryAnswer(AnswerModel):
    """One repository. ``private`` is true for internal ones as well.

    Attributes:
        id: Stays when the repository is renamed or transferred.
        default_branch, clone_url, ssh_url: Optional in the schema ``minimal-repository``, which
            the listings of organizations and users have.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: NonEmpty
    owner: OwnerAnswer
    html_url: NonEmpty
    private: bool
    default_branch: str | None = None
    clone_url: str | None = None
    ssh_url: str | None = None

    def repository(self) -> Repository:
        """Convert the response to deploycore's model. GitHub has only a slug, no display name."""
        links = (("https", self.clone_url), ("ssh", self.ssh_url))
        return Repository(
            name=self.name,
            slug=self.name,
            url=self.html_url,
            commit_url=f"{self.html_url}/commit/{{commit}}",
            owner=Owner(username=self.owner.login),
            default_branch=self.default_branch or None,
            private=self.private,
            clone_links=tuple(CloneLink(name=name, href=href) for name, href in links if href),
            host_id=None if self.id is None else str(self.id),
        )


class InstallationRepositoriesAnswer(AnswerModel):
    """A page of ``GET /installation/repositories``, the only listing that is not a plain list."""

    repositories: list[object]


class CommitAnswer(AnswerModel):
    sha: CommitHash


class BranchAnswer(AnswerModel):
    name: NonEmpty
    commit: CommitAnswer

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.commit.sha)


class InstalledAtAnswer(AnswerModel):
    """A user, an organisation, or an enterprise, which has a slug and no login."""

    login: NonEmpty = Field(validation_alias=AliasChoices("login", "slug"))


class InstallationAnswer(AnswerModel):
    """``GET /app/installations/{installation_id}``; by its schema, ``account`` may be null."""

    account: InstalledAtAnswer | None = None
    permissions: Mapping[str, str]
    suspended_at: str | None = None

    def as_account(self) -> Account:
        """Convert the response to deploycore's model: the account of the installation."""
        scopes = tuple(f"{name}={level}" for name, level in sorted(self.permissions.items()))
        username = self.account.login if self.account else "installation"
        return Account(username=username, scopes=scopes)


class InstallationTokenAnswer(AnswerModel):
    """``POST /app/installations/{installation_id}/access_tokens``."""

    token: NonEmpty
    expires_at: Annotated[AwareDatetime, Field(strict=False)]
