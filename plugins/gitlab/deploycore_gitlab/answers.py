"""GitLab's responses, and how they map to deploycore's models.

Each model has only the fields that are needed. ``parse_answer`` rejects other responses.

Sources: https://docs.gitlab.com/api/projects/ and https://docs.gitlab.com/api/branches/
"""

from datetime import UTC, date, datetime, time, timedelta
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
from pydantic import AwareDatetime, Field

__all__ = [
    "AccessTokenAnswer",
    "BranchAnswer",
    "MergeRequestAnswer",
    "NamespaceAnswer",
    "OAuthTokenAnswer",
    "ProjectAnswer",
    "UserAnswer",
]


class UserAnswer(AnswerModel):
    """The response of ``GET /user``. For the access token of a project or group, it is the token's
    bot."""

    username: NonEmpty
    name: str | None = None

    def account(self, scopes: list[str], expires_at: datetime | None = None) -> Account:
        """Convert the response to deploycore's model."""
        return Account(
            username=self.username,
            display_name=self.name or None,
            scopes=tuple(scopes),
            expires_at=expires_at,
        )


class AccessTokenAnswer(AnswerModel):
    """``GET /personal_access_tokens/self``."""

    scopes: list[str]
    expires_at: Annotated[date, Field(strict=False)] | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When it expires: at midnight UTC of that date.

        Source: https://docs.gitlab.com/user/profile/personal_access_tokens/
        """
        day = self.expires_at
        return None if day is None else datetime.combine(day, time(), UTC)


class OAuthTokenAnswer(AnswerModel):
    """``GET /oauth/token/info``."""

    scope: list[str]
    expires_in: int | None = None

    def ends_at(self, now: datetime) -> datetime | None:
        """When it expires."""
        seconds = self.expires_in
        return None if seconds is None else now + timedelta(seconds=seconds)


class NamespaceAnswer(AnswerModel):
    """A group or a user, as the owner of a project or in ``GET /namespaces``."""

    full_path: NonEmpty
    name: str | None = None

    def owner(self) -> Owner:
        """Convert the response to deploycore's model."""
        return Owner(username=self.full_path, display_name=self.name or None)


class ProjectAnswer(AnswerModel):
    """One project.

    Attributes:
        id: The identifier, which does not change when the project is renamed or transferred.
        default_branch: The default branch; missing if the caller cannot see the code. It has a name
            even if nothing has been pushed yet.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: NonEmpty
    path: NonEmpty
    namespace: NamespaceAnswer
    default_branch: str | None = None
    visibility: NonEmpty
    empty_repo: bool | None = None
    web_url: NonEmpty
    http_url_to_repo: str | None = None
    ssh_url_to_repo: str | None = None
    archived: Annotated[bool | None, OrNone] = None
    topics: Annotated[list[str] | None, OrNone] = None
    last_activity_at: Annotated[AwareDatetime | None, Field(strict=False), OrNone] = None

    def repository(self) -> Repository:
        """Convert the response to deploycore's model; ``internal`` counts as private."""
        links = (("https", self.http_url_to_repo), ("ssh", self.ssh_url_to_repo))
        return Repository(
            name=self.name,
            slug=self.path,
            url=self.web_url,
            commit_url=f"{self.web_url}/-/commit/{{commit}}",
            owner=self.namespace.owner(),
            default_branch=None if self.empty_repo else self.default_branch or None,
            private=self.visibility != "public",
            clone_links=tuple(CloneLink(name=name, href=href) for name, href in links if href),
            host_id=None if self.id is None else str(self.id),
            archived=self.archived,
            empty=self.empty_repo,
            topics=tuple(self.topics or ()),
            updated_at=self.last_activity_at,
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

    def tag(self) -> Tag:
        """Convert one of ``GET /projects/:id/repository/tags``, whose ``commit`` is a commit even
        for an annotated tag."""
        return Tag(name=self.name, commit=self.commit.id)


_STATES: dict[str, PullRequestState] = {
    "opened": "open",
    "locked": "open",  # while it is being merged
    "merged": "merged",
    "closed": "declined",
}


class MergeRequestAnswer(AnswerModel):
    """``GET /projects/:id/merge_requests``, or one by its ``iid``.

    Attributes:
        source_project_id: The number of the source project; null if the fork was deleted. The
            response does not have the path of a fork.
    """

    iid: Annotated[int, Field(ge=1, lt=2**63)]
    state: Literal["opened", "closed", "locked", "merged"]
    title: str = ""
    sha: CommitHash | None = None
    source_branch: NonEmpty
    target_branch: NonEmpty
    source_project_id: int | None = None
    target_project_id: int | None = None

    def pull_request(self, repository: RepositoryId) -> PullRequest:
        """Convert the response to deploycore's model.

        Args:
            repository: The project that it is for.
        """
        here = self.source_project_id is not None
        here = here and self.source_project_id == self.target_project_id
        return PullRequest(
            number=self.iid,
            state=_STATES[self.state],
            title=self.title,
            source=repository if here else None,
            source_branch=self.source_branch,
            target_branch=self.target_branch,
            commit=self.sha,
        )
