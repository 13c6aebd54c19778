"""Acme's responses, and how they map to deploycore's models.

Each model has only the fields that are needed. ``parse_answer`` rejects other responses.
"""

from deploycore.http import AnswerModel
from deploycore.models import Branch, CloneLink, CommitHash, NonEmpty, Owner, Repository

__all__ = ["BranchAnswer", "RepositoryAnswer", "UserAnswer"]


# EDIT 5: the host's JSON
class UserAnswer(AnswerModel):
    login: NonEmpty
    name: str | None = None


class OwnerAnswer(AnswerModel):
    login: NonEmpty


class RepositoryAnswer(AnswerModel):
    slug: NonEmpty
    name: NonEmpty
    owner: OwnerAnswer
    private: bool
    default_branch: NonEmpty | None
    web_url: NonEmpty
    clone_url: NonEmpty

    def repository(self) -> Repository:
        """Convert the response to deploycore's model."""
        return Repository(
            name=self.name,
            slug=self.slug,
            url=self.web_url,
            owner=Owner(username=self.owner.login),
            default_branch=self.default_branch,
            private=self.private,
            clone_links=(CloneLink(name="https", href=self.clone_url),),
        )


class BranchAnswer(AnswerModel):
    name: NonEmpty
    commit: CommitHash

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.commit)
