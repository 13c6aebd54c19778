"""The filters of listings."""

from typing import Annotated

from pydantic import Field

from deploycore.models.base import Limit, Model, NonEmpty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.models.listed import Branch, Owner, PullRequest, Repository, Tag

__all__ = ["BranchQuery", "OwnerQuery", "PullRequestQuery", "RepositoryQuery", "TagQuery"]


def _is_wanted(name: str, query: "BranchQuery | TagQuery") -> bool:
    """Whether the name of a ref matches the filters."""
    if query.name is not None and name != query.name:
        return False
    return _contains(name, query.name_contains)


def _contains(name: str, part: str | None) -> bool:
    return part is None or part.casefold() in name.casefold()


class RepositoryQuery(Model):
    """The filters of ``list_repos``. New fields will have defaults.

    Attributes:
        owner: List the repositories of this owner (default: the configured owner).
        name_contains: List only repositories whose name contains this text. Case is ignored.
        limit: The maximum number of repositories (default: all).
    """

    owner: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, repository: "Repository") -> bool:
        """Whether a repository matches the filters. The owner is not compared."""
        return _contains(repository.name, self.name_contains)


class BranchQuery(Model):
    """The filters of ``list_branches``. New fields will have defaults.

    Attributes:
        name: List only the branch with exactly this name.
        name_contains: List only branches whose name contains this text. Case is ignored.
        limit: The maximum number of branches (default: all).
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, branch: "Branch") -> bool:
        """Whether a branch matches the filters."""
        return _is_wanted(branch.name, self)


class OwnerQuery(Model):
    """The filters of ``list_owners``. New fields will have defaults.

    Attributes:
        name_contains: List only owners whose username or display name contains this text. Case is
            ignored.
        limit: The maximum number of owners (default: all).
    """

    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, owner: "Owner") -> bool:
        """Whether an owner matches the filters."""
        return any(
            _contains(name, self.name_contains)
            for name in (owner.username, owner.display_name or "")
        )


class TagQuery(Model):
    """The filters of ``list_tags``. New fields will have defaults.

    Attributes:
        name: List only the tag with exactly this name.
        name_contains: List only tags whose name contains this text. Case is ignored.
        limit: The maximum number of tags (default: all).
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, tag: "Tag") -> bool:
        """Whether a tag matches the filters."""
        return _is_wanted(tag.name, self)


class PullRequestQuery(Model):
    """The filters of ``list_pull_requests``. New fields will have defaults.

    Attributes:
        number: List only the pull request with this number, in any state (default: all open pull
            requests).
        limit: The maximum number of pull requests (default: all).
    """

    number: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Limit | None = None

    def wants(self, pull_request: "PullRequest") -> bool:
        """Whether a pull request matches the filters."""
        if self.number is not None:
            return pull_request.number == self.number
        return pull_request.state == "open"
