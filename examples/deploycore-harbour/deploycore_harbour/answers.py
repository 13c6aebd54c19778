"""Harbour's responses, and how they map to deploycore's models."""

from typing import Literal

from deploycore.http import AnswerModel
from deploycore.models import Branch, CommitHash, NonEmpty, Owner, Repository

__all__ = ["BranchAnswer", "MeAnswer", "Page", "PageLink", "ProjectAnswer"]


class PersonAnswer(AnswerModel):
    handle: NonEmpty
    full_name: str | None = None


class MeAnswer(AnswerModel):
    user: PersonAnswer


class ProjectAnswer(AnswerModel):
    team: NonEmpty
    handle: NonEmpty
    title: NonEmpty
    visibility: Literal["private", "public"]
    main_branch: NonEmpty | None

    def repository(self, url: str) -> Repository:
        """Convert the response to deploycore's model."""
        return Repository(
            name=self.title,
            slug=self.handle,
            url=f"{url}/{self.team}/{self.handle}",
            owner=Owner(username=self.team),
            default_branch=self.main_branch,
            private=self.visibility == "private",
        )


class BranchAnswer(AnswerModel):
    name: NonEmpty
    tip: CommitHash

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.tip)


class Page(AnswerModel):
    """A page; its items are parsed one by one, so that an invalid one does not lose the others."""

    items: list[object]


class PageLink(AnswerModel):
    more: str | None = None
