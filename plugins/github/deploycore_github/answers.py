"""GitHub's responses, and how they map to deploycore's models.

Source: https://docs.github.com/en/rest (the response schemas of each endpoint)
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AwareDatetime, Field

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

__all__ = [
    "BranchAnswer",
    "InstallationAnswer",
    "InstallationRepositoriesAnswer",
    "InstallationTokenAnswer",
    "OwnerAnswer",
    "PullRequestAnswer",
    "RepositoryAnswer",
    "UserAnswer",
    "token_details",
]


class UserAnswer(AnswerModel):
    """``GET /user``."""

    login: NonEmpty
    name: str | None = None

    def account(self) -> Account:
        """Convert the response to deploycore's model."""
        return Account(username=self.login, display_name=self.name)


def token_details(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of an ``Account`` from the headers of a response.

    GitHub sends scopes only for classic tokens, and an expiry only for tokens that expire.

    Source: https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/token-expiration-and-revocation
    """
    scopes = tuple(filter(None, map(str.strip, headers.get("X-OAuth-Scopes", "").split(","))))
    told = headers.get("GitHub-Authentication-Token-Expiration", "").replace(" UTC", " +0000")
    expires_at = None
    with suppress(ValueError):
        expires_at = datetime.strptime(told, "%Y-%m-%d %H:%M:%S %z")
    return {"scopes": scopes, "expires_at": expires_at}


class OwnerAnswer(AnswerModel):
    """A user or an organization within another response."""

    login: NonEmpty


class RepositoryAnswer(AnswerModel):
    """One repository. ``private`` is also true for internal repositories.

    Attributes:
        id: The identifier, which does not change when the repository is renamed or transferred.
        size: In kibibytes.
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
    archived: Annotated[bool | None, OrNone] = None
    size: Annotated[int | None, Field(ge=0), OrNone] = None
    topics: Annotated[list[str] | None, OrNone] = None
    pushed_at: Annotated[AwareDatetime | None, Field(strict=False), OrNone] = None
    updated_at: Annotated[AwareDatetime | None, Field(strict=False), OrNone] = None

    def repository(self) -> Repository:
        """Convert the response to deploycore's model. GitHub has only a slug, no display name."""
        links = (("https", self.clone_url), ("ssh", self.ssh_url))
        times = [each for each in (self.pushed_at, self.updated_at) if each is not None]
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
            archived=self.archived,
            size=None if self.size is None else self.size * 1024,
            topics=tuple(self.topics or ()),
            updated_at=max(times, default=None),
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

    def tag(self) -> Tag:
        """Convert one of ``GET /repos/{owner}/{repo}/tags``, which has the same form."""
        return Tag(name=self.name, commit=self.commit.sha)


class _SourceRepository(AnswerModel):
    name: NonEmpty
    owner: OwnerAnswer


class _Head(AnswerModel):
    """The source or destination of a pull request. ``repo`` is null if the fork was deleted."""

    ref: NonEmpty
    sha: CommitHash
    repo: _SourceRepository | None = None


class _Base(AnswerModel):
    ref: NonEmpty


class PullRequestAnswer(AnswerModel):
    """``GET /repos/{owner}/{repo}/pulls``, or one by its number."""

    number: Annotated[int, Field(ge=1, lt=2**63)]
    state: Literal["open", "closed"]
    title: str = ""
    merged_at: str | None = None
    head: _Head
    base: _Base

    def pull_request(self) -> PullRequest:
        """Convert the response to deploycore's model."""
        ended: PullRequestState = "declined" if self.merged_at is None else "merged"
        repository = self.head.repo
        return PullRequest(
            number=self.number,
            state="open" if self.state == "open" else ended,
            title=self.title,
            source=None
            if repository is None
            else RepositoryId(owner=repository.owner.login, slug=repository.name),
            source_branch=self.head.ref,
            target_branch=self.base.ref,
            commit=self.head.sha,
        )


class InstalledAtAnswer(AnswerModel):
    """A user, an organization, or an enterprise, which has a slug instead of a login."""

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
