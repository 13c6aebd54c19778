"""Responses of Bitbucket Cloud, and how they map to deploycore's models.

The models have only the fields that ``*_FIELDS`` requests. Bitbucket's API description requires
only the field ``type``. If an item lacks a field that deploycore needs, it is an
``IncompleteItem``, which listings skip. Every other field has a default.
"""

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, IncompleteItem, OrNone
from deploycore.models import (
    Account,
    Branch,
    CloneLink,
    NonEmpty,
    Owner,
    PullRequest,
    PullRequestState,
    Repository,
    RepositoryId,
    Tag,
)

__all__ = [
    "BRANCH_FIELDS",
    "PULL_REQUEST_FIELDS",
    "REPOSITORY_FIELDS",
    "USER_FIELDS",
    "WORKSPACE_FIELDS",
    "BranchAnswer",
    "PullRequestAnswer",
    "RepositoryAnswer",
    "TagAnswer",
    "UserAnswer",
    "WorkspaceAccessAnswer",
]

# ``full_name`` has owner and slug, and is the only one of the three that Bitbucket's API
# description requires.
REPOSITORY_FIELDS = (
    "full_name",
    "name",
    "is_private",
    "mainbranch.name",
    "workspace.name",
    "links.html.href",
    "links.clone",
    "uuid",
    "size",
    "updated_on",
)
BRANCH_FIELDS = ("name", "target.hash")
PULL_REQUEST_FIELDS = (
    "id",
    "state",
    "title",
    "source.branch.name",
    "source.commit.hash",
    "source.repository.full_name",
    "destination.branch.name",
)
WORKSPACE_FIELDS = ("workspace.slug",)
USER_FIELDS = ("type", "username", "nickname", "display_name", "account_id", "uuid")

_USER_OF_URL = re.compile(r"(?<=://)[^/?#]*@")
_UUID = re.compile(r"\{[0-9A-Fa-f-]{1,64}\}")
_HINT = (
    "Try again. If it happens again, Bitbucket has changed its API: upgrade deploycore-bitbucket."
)


class _Named(AnswerModel):
    name: str = ""


class _Link(AnswerModel):
    href: str = ""


class _CloneLink(AnswerModel):
    """A link. Both fields are optional in the schema ``link`` of the API description."""

    href: str = ""
    name: str = ""

    def clone_link(self) -> CloneLink:
        """Name the link by its scheme if it has no name, and remove the caller's username."""
        is_https = self.href.lower().startswith(("https://", "http://"))
        href = _USER_OF_URL.sub("", self.href, count=1) if is_https else self.href
        return CloneLink(name=self.name or ("https" if is_https else "ssh"), href=href)


class _Links(AnswerModel):
    html: _Link = _Link()
    clone: list[_CloneLink | None] = Field(default_factory=list)


class RepositoryAnswer(AnswerModel):
    """A value of ``GET /repositories/{workspace}``.

    Attributes:
        uuid: The identifier, which does not change when the repository is renamed or transferred.
        mainbranch: ``null`` while the repository is empty.
        size: In bytes.
    """

    full_name: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None
    name: str = ""
    is_private: bool = True
    mainbranch: _Named = _Named()
    workspace: _Named = _Named()
    links: _Links = _Links()
    uuid: str = ""
    size: Annotated[int | None, Field(ge=0), OrNone] = None
    updated_on: Annotated[AwareDatetime | None, Field(strict=False), OrNone] = None

    def repository(self, git_url: str) -> Repository:
        """Convert the response to deploycore's model.

        Args:
            git_url: The address of the repositories' pages, for answers without that link.

        Raises:
            IncompleteItem: It has no full name.
        """
        if self.full_name is None:
            raise _incomplete("a repository", "full_name")
        owner, _, slug = self.full_name.partition("/")
        links = (link.clone_link() for link in self.links.clone if link and link.href)
        url = self.links.html.href or f"{git_url}/{self.full_name}"
        return Repository(
            name=self.name or slug,
            slug=slug,
            url=url,
            commit_url=f"{url.rstrip('/')}/commits/{{commit}}",
            owner=Owner(username=owner, display_name=self.workspace.name or None),
            default_branch=self.mainbranch.name or None,
            private=self.is_private,
            clone_links=tuple(links),
            host_id=self.uuid if _UUID.fullmatch(self.uuid) else None,
            empty=self._is_empty,
            size=self.size,
            updated_at=self.updated_on,
        )

    @property
    def _is_empty(self) -> bool | None:
        """Whether the repository is empty; ``None`` if the response has no ``mainbranch``."""
        if self.mainbranch.name:
            return False
        return True if "mainbranch" in self.model_fields_set else None


class _Target(AnswerModel):
    hash: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{7,40}|[0-9a-f]{64})$")] | None = None


class BranchAnswer(AnswerModel):
    """A value of ``GET /repositories/{workspace}/{repo_slug}/refs/branches``."""

    name: NonEmpty | None = None
    target: _Target = _Target()

    def branch(self) -> Branch:
        """Convert the response to deploycore's model.

        Raises:
            IncompleteItem: It has no name or no commit, or a shortened hash, which the API
                description allows.
        """
        if self.name is None:
            raise _incomplete("a branch", "name")
        commit = self.target.hash
        if commit is None or len(commit) < 40:
            raise _incomplete(f"the branch {self.name}", "target.hash")
        return Branch(name=self.name, commit=commit)


class TagAnswer(BranchAnswer):
    """A value of ``GET /repositories/{workspace}/{repo_slug}/refs/tags``.

    The target is the commit, even for an annotated tag.
    """

    def tag(self) -> Tag:
        """Convert the response to deploycore's model.

        Raises:
            IncompleteItem: As for a branch.
        """
        if self.name is None:
            raise _incomplete("a tag", "name")
        commit = self.target.hash
        if commit is None or len(commit) < 40:
            raise _incomplete(f"the tag {self.name}", "target.hash")
        return Tag(name=self.name, commit=commit)


_STATES: dict[str, PullRequestState] = {
    "OPEN": "open",
    "MERGED": "merged",
    "DECLINED": "declined",
    "SUPERSEDED": "declined",
}


class _SourceRepository(AnswerModel):
    full_name: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None


class _End(AnswerModel):
    """The source or destination of a pull request. ``repository`` is null after a fork was
    deleted."""

    branch: _Named = _Named()
    commit: _Target = _Target()
    repository: _SourceRepository = _SourceRepository()


class PullRequestAnswer(AnswerModel):
    """A value of ``GET /repositories/{workspace}/{repo_slug}/pullrequests``, or one by its ``id``.

    Hashes of commits have 12 characters.
    """

    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    state: Literal["OPEN", "MERGED", "DECLINED", "SUPERSEDED"] | None = None
    title: str = ""
    source: _End = _End()
    destination: _End = _End()

    def pull_request(self) -> PullRequest:
        """Convert the response to deploycore's model.

        Raises:
            IncompleteItem: It has no number, state or branch.
        """
        if self.id is None or self.state is None:
            raise _incomplete("a pull request", "id" if self.id is None else "state")
        branches = self.source.branch.name, self.destination.branch.name
        if not all(branches):
            raise _incomplete(f"the pull request {self.id}", "branch.name")
        owner, _, slug = (self.source.repository.full_name or "").partition("/")
        return PullRequest(
            number=self.id,
            state=_STATES[self.state],
            title=self.title,
            source=RepositoryId(owner=owner, slug=slug) if slug else None,
            source_branch=branches[0],
            target_branch=branches[1],
            commit=self.source.commit.hash,
        )


class _WorkspaceBase(AnswerModel):
    slug: str = ""


class WorkspaceAccessAnswer(AnswerModel):
    """A value of ``GET /user/workspaces``, which has no name for people."""

    workspace: _WorkspaceBase = _WorkspaceBase()

    def owner(self) -> Owner:
        """Convert the response to deploycore's model.

        Raises:
            IncompleteItem: It has no slug.
        """
        if not self.workspace.slug:
            raise _incomplete("a workspace", "workspace.slug")
        return Owner(username=self.workspace.slug)


class UserAnswer(AnswerModel):
    """``GET /user``.

    Bitbucket sends ``username`` for your own account. Its API description says that the answer
    is an ``account``, which has neither that nor a nickname.
    """

    type: str = ""
    username: str = ""
    nickname: str = ""
    display_name: str = ""
    account_id: str = ""
    uuid: str = ""

    def account(self) -> Account | None:
        """Convert the response to deploycore's model; ``None`` for an account without a name.

        Raises:
            UnexpectedAnswer: It has none of an account's fields.
        """
        if not self.model_fields_set:
            raise UnexpectedAnswer(
                "Bitbucket described the user without any field of an account.",
                hint=_HINT,
                field="type",
            )
        names = (self.username, self.nickname, self.display_name, self.account_id, self.uuid)
        username = next(filter(None, names), None)
        if username is None:
            return None
        return Account(username=username, display_name=self.display_name or None)


def _incomplete(of: str, field: str) -> IncompleteItem:
    return IncompleteItem(
        f"Bitbucket described {of} without a field that deploycore needs: {field}.",
        hint=_HINT,
        field=field,
    )
