"""Responses of Bitbucket Data Center, and how they map to deploycore's models.

The names of the fields come from the schemas ``RestProject``, ``RestRepository``, ``RestBranch``,
``RestTag``, ``RestPullRequest`` and ``RestMinimalRef`` of Atlassian's API description, which
requires none of these fields.

Source: https://developer.atlassian.com/server/bitbucket/rest/
"""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from deploycore.http import AnswerModel, OrNone
from deploycore.models import (
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
from pydantic import Field

__all__ = [
    "BranchAnswer",
    "DefaultBranchAnswer",
    "PageAnswer",
    "ProjectAnswer",
    "PullRequestAnswer",
    "RepositoryAnswer",
    "TagAnswer",
    "VersionAnswer",
    "clone_address",
    "page_of",
    "short_name",
]

STATES: Mapping[str, PullRequestState] = {
    "OPEN": "open",
    "MERGED": "merged",
    "DECLINED": "declined",
}


class VersionAnswer(AnswerModel):
    """What a server says of itself."""

    version: str = ""


class PageAnswer(AnswerModel):
    """A page of a listing, of which only one is asked for."""

    values: list[object]


class ProjectAnswer(AnswerModel):
    """A project. The project with a person's own repositories has a key that starts with ``~``."""

    key: NonEmpty
    name: str = ""
    public: bool = False

    def owner(self) -> Owner:
        """Convert the response to deploycore's model."""
        return Owner(username=self.key, display_name=self.name or None)


class _Link(AnswerModel):
    href: str = ""
    name: str = ""


class _Links(AnswerModel):
    clone: Annotated[list[_Link] | None, OrNone] = None


class RepositoryAnswer(AnswerModel):
    """A repository.

    Attributes:
        id: The identifier, which does not change when the repository is renamed or moved.
        default_branch: The default branch, which not all versions send.
        public: Whether it can be read without signing in. The repositories of a public project can
            also be read.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    name: str = ""
    slug: NonEmpty
    project: ProjectAnswer
    public: bool = False
    archived: Annotated[bool | None, OrNone] = None
    default_branch: Annotated[str | None, Field(alias="defaultBranch"), OrNone] = None
    links: Annotated[_Links | None, OrNone] = None

    @property
    def repository_id(self) -> RepositoryId:
        return RepositoryId(owner=self.project.key, slug=self.slug)

    def repository(self, url: str) -> Repository:
        """Convert the response to deploycore's model.

        Args:
            url: The base URL of the server.
        """
        page = page_of(url, self.repository_id)
        return Repository(
            name=self.name or self.slug,
            slug=self.slug,
            url=f"{page}/browse",
            commit_url=f"{page}/commits/{{commit}}",
            owner=self.project.owner(),
            default_branch=short_name(self.default_branch or "") or None,
            private=not (self.public or self.project.public),
            clone_links=tuple(self._clone_links()) or self._derived(url),
            host_id=None if self.id is None else str(self.id),
            archived=self.archived,
        )

    def _clone_links(self) -> list[CloneLink]:
        """Return the links in the response. A link for HTTP may contain the caller's username."""
        links = (self.links and self.links.clone) or []
        names = {"http": "https"}
        return [
            CloneLink(name=names.get(link.name, link.name), href=_without_user(link.href))
            for link in links
            if link.href and link.name
        ]

    def _derived(self, url: str) -> tuple[CloneLink, ...]:
        return (CloneLink(name="https", href=clone_address(url, self.repository_id)),)


class DefaultBranchAnswer(AnswerModel):
    """The response of ``…/default-branch``. It is 404 if the branch does not exist yet."""

    id: str = ""
    display_id: Annotated[str, Field(alias="displayId")] = ""

    @property
    def name(self) -> str | None:
        return self.display_id or short_name(self.id) or None


class _RefAnswer(AnswerModel):
    """A branch or a tag; for an annotated tag, ``latestCommit`` is its commit."""

    id: NonEmpty
    commit: Annotated[CommitHash, Field(alias="latestCommit")]

    @property
    def name(self) -> str:
        return short_name(self.id)


class BranchAnswer(_RefAnswer):
    """One of ``…/branches``."""

    def branch(self) -> Branch:
        """Convert the response to deploycore's model."""
        return Branch(name=self.name, commit=self.commit)


class TagAnswer(_RefAnswer):
    """One of ``…/tags``."""

    def tag(self) -> Tag:
        """Convert the response to deploycore's model."""
        return Tag(name=self.name, commit=self.commit)


class PullRequestRefAnswer(AnswerModel):
    """The source or destination of a pull request.

    Attributes:
        repository: The repository; missing if the fork was deleted.
    """

    id: NonEmpty
    commit: Annotated[
        str | None, Field(alias="latestCommit", pattern=r"^[0-9a-f]{7,64}$"), OrNone
    ] = None
    repository: Annotated[RepositoryAnswer | None, OrNone] = None

    @property
    def name(self) -> str:
        return short_name(self.id)

    @property
    def repository_id(self) -> RepositoryId | None:
        return None if self.repository is None else self.repository.repository_id


class PullRequestAnswer(AnswerModel):
    """An item of ``…/pull-requests``, one pull request by its number, or the one in a webhook
    delivery."""

    id: Annotated[int, Field(ge=1, lt=2**63)]
    state: Literal["OPEN", "MERGED", "DECLINED"]
    title: str = ""
    source: Annotated[PullRequestRefAnswer, Field(alias="fromRef")]
    target: Annotated[PullRequestRefAnswer, Field(alias="toRef")]

    def pull_request(self) -> PullRequest:
        """Convert the response to deploycore's model."""
        return PullRequest(
            number=self.id,
            state=STATES[self.state],
            title=self.title,
            source=self.source.repository_id,
            source_branch=self.source.name,
            target_branch=self.target.name,
            commit=self.source.commit,
        )


def short_name(ref: str) -> str:
    """The name of a branch or tag without ``refs/heads/`` or ``refs/tags/``."""
    for prefix in ("refs/heads/", "refs/tags/"):
        if ref.startswith(prefix):
            return ref.removeprefix(prefix)
    return ref


def page_of(url: str, repository: RepositoryId) -> str:
    """The page of a repository, for people."""
    project, _, slug = repository.path.partition("/")
    if project.startswith("~"):
        return f"{url}/users/{project[1:]}/repos/{slug}"
    return f"{url}/projects/{project}/repos/{slug}"


def clone_address(url: str, repository: RepositoryId) -> str:
    """Return the clone URL of a repository as the server's pages show it: with the project key in
    lower case."""
    lowered = RepositoryId(owner=repository.owner.lower(), slug=repository.slug)
    return f"{url}/scm/{lowered.path}.git"


def _without_user(href: str) -> str:
    """A link without the username that the server puts into links for HTTP."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return href
    if parts.scheme not in ("http", "https"):
        return href
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
