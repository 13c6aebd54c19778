"""Lantern's responses, and how they map to deploycore's models."""

from typing import Annotated

from deploycore.http import AnswerModel
from deploycore.models import Branch, CommitHash, GitCredential, NonEmpty, Owner, Repository
from pydantic import AwareDatetime, Field, SecretStr

__all__ = ["BranchAnswer", "GitAnswer", "MeAnswer", "Page", "ProjectAnswer"]


class MeAnswer(AnswerModel):
    client: NonEmpty


class ProjectAnswer(AnswerModel):
    team: NonEmpty
    handle: NonEmpty
    title: NonEmpty
    private: bool
    main_branch: NonEmpty | None

    def repository(self, url: str) -> Repository:
        """Convert the response to deploycore's model."""
        return Repository(
            name=self.title,
            slug=self.handle,
            url=f"{url}/{self.team}/{self.handle}",
            owner=Owner(username=self.team),
            default_branch=self.main_branch,
            private=self.private,
        )


class BranchAnswer(AnswerModel):
    name: NonEmpty
    tip: CommitHash

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.tip)


class GitAnswer(AnswerModel):
    username: NonEmpty
    password: SecretStr
    expires_at: Annotated[AwareDatetime, Field(strict=False)]

    def credential(self) -> GitCredential:
        """Convert the response to deploycore's model."""
        return GitCredential(**self.model_dump())


class Page(AnswerModel):
    """A page; its items are parsed one by one, so that an invalid one does not lose the others."""

    items: list[object]
    cursor: str | None = None
