"""Responses of Bitbucket Cloud, and how they map to deploycore's models.

The models have only the fields that ``*_FIELDS`` requests. Bitbucket's API description promises
no field but ``type``: an item without a field that deploycore needs is an ``IncompleteItem``,
which listings skip; every other field has a default.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, IncompleteItem
from deploycore.models import Account, Branch, CloneLink, NonEmpty, Owner, Repository

__all__ = [
    "BRANCH_FIELDS",
    "REPOSITORY_FIELDS",
    "USER_FIELDS",
    "BranchAnswer",
    "RepositoryAnswer",
    "UserAnswer",
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
)
BRANCH_FIELDS = ("name", "target.hash")
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
    """By the schema ``link`` of the API description, both fields are optional."""

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
        uuid: Stays when the repository is renamed or transferred.
    """

    full_name: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] | None = None
    name: str = ""
    is_private: bool = True
    mainbranch: _Named = _Named()
    workspace: _Named = _Named()
    links: _Links = _Links()
    uuid: str = ""

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
        )


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
