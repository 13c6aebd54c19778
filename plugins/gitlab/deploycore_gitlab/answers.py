"""GitLab's responses, and how they map to deploycore's models.

Each model has just the fields that are needed; ``parse_answer`` refuses what is not like it.

Sources: https://docs.gitlab.com/api/projects/ and https://docs.gitlab.com/api/branches/
"""

from __future__ import annotations

from typing import Annotated

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
from pydantic import Field

__all__ = [
    "AccessTokenAnswer",
    "BranchAnswer",
    "OAuthTokenAnswer",
    "ProjectAnswer",
    "UserAnswer",
]


class UserAnswer(AnswerModel):
    """``GET /user``; for a project's or group's access token, its bot."""

    username: NonEmpty
    name: str | None = None

    def account(self, scopes: list[str]) -> Account:
        """Convert the response to deploycore's model."""
        return Account(username=self.username, display_name=self.name or None, scopes=tuple(scopes))


class AccessTokenAnswer(AnswerModel):
    """``GET /personal_access_tokens/self``."""

    scopes: list[str]


class OAuthTokenAnswer(AnswerModel):
    """``GET /oauth/token/info``."""

    scope: list[str]


class NamespaceAnswer(AnswerModel):
    full_path: NonEmpty
    name: str | None = None


class ProjectAnswer(AnswerModel):
    """One project.

    Attributes:
        id: Stays when the project is renamed or transferred.
        default_branch: Missing for those who may not see the code; a name also where nothing
            has been pushed yet.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: NonEmpty
    path: NonEmpty
    namespace: NamespaceAnswer
    default_branch: str | None = None
    visibility: NonEmpty
    empty_repo: bool = False
    web_url: NonEmpty
    http_url_to_repo: str | None = None
    ssh_url_to_repo: str | None = None

    def repository(self) -> Repository:
        """Convert the response to deploycore's model; ``internal`` counts as private."""
        links = (("https", self.http_url_to_repo), ("ssh", self.ssh_url_to_repo))
        return Repository(
            name=self.name,
            slug=self.path,
            url=self.web_url,
            commit_url=f"{self.web_url}/-/commit/{{commit}}",
            owner=Owner(
                username=self.namespace.full_path, display_name=self.namespace.name or None
            ),
            default_branch=None if self.empty_repo else self.default_branch or None,
            private=self.visibility != "public",
            clone_links=tuple(CloneLink(name=name, href=href) for name, href in links if href),
            host_id=None if self.id is None else str(self.id),
        )


class CommitAnswer(AnswerModel):
    id: CommitHash


class BranchAnswer(AnswerModel):
    """A branch, from a listing or requested by name."""

    name: NonEmpty
    commit: CommitAnswer

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.commit.id)
