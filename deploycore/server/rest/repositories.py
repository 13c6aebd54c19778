"""Operations on what a provider's credentials can read: owners, repositories, branches, tags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.listings import Kind, Page, Wanted
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View
from deploycore.store import ProviderRecord

__all__ = ["OPERATIONS"]

_PROVIDER = f"{PREFIX}/providers/{{provider}}"
_HOST_FAILS = (502, 504)

_ModelT = TypeVar("_ModelT", bound=BaseModel)


class ListingQuery(Given):
    """The items to return.

    Attributes:
        search: Return only items whose names contain this text; case is ignored.
        after: Number of items to skip. Use the path in ``next``.
        refresh: Whether to request the list from the git host again. By default, a list is cached
            for a few minutes.
    """

    search: Annotated[str, Field(max_length=200)] = ""
    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    refresh: bool = False


class RepositoryQuery(ListingQuery):
    """The repositories to return.

    Attributes:
        owner: The owner of the repositories (default: the provider's own).
        details: Whether to return everything that the git host lists of each repository.
    """

    owner: Annotated[str, Field(max_length=1024)] = ""
    details: bool = False


class RefQuery(ListingQuery):
    """The branches or tags to return.

    Attributes:
        repository: ``owner/slug``, or an address of the repository.
    """

    repository: Annotated[str, Field(min_length=1, max_length=2048)]


class OwnerView(View):
    """An owner of repositories.

    Attributes:
        owner: The owner's name in the path of a repository.
        name: The name to show to people; ``None`` if there is none.
    """

    owner: str
    name: str | None


class OwnerNameView(View):
    """The owner of a repository.

    Attributes:
        username: The owner in the address of the repository.
        display_name: The name to show to people; ``None`` if there is none.
    """

    username: str
    display_name: str | None


class CloneLinkView(View):
    """A URL to clone a repository from.

    Attributes:
        name: The protocol, such as ``https``.
        href: The URL.
    """

    name: str
    href: str


class RepositoryDetailsView(View):
    """Everything that a git host lists of a repository.

    Attributes:
        name: The name to show to people.
        slug: The name in addresses.
        url: The address of its page.
        owner: The owner.
        default_branch: The default branch; ``None`` if it is empty.
        private: Whether only members can read it.
        clone_links: The URLs to clone it from.
        host_id: The git host's identifier; ``None`` if it has none.
        archived: Whether it is archived; ``None`` if it is not known.
        empty: Whether it has no commits; ``None`` if it is not known.
        size: Its size in bytes; ``None`` if it is not known.
        topics: Its topics (labels).
        updated_at: When it was last changed.
        commit_url: The address of a commit's page, with ``{commit}`` in place of the full hash.
    """

    name: str
    slug: str
    url: str
    owner: OwnerNameView
    default_branch: str | None
    private: bool
    clone_links: Sequence[CloneLinkView]
    host_id: str | None
    archived: bool | None
    empty: bool | None
    size: int | None
    topics: Sequence[str]
    updated_at: datetime | None
    commit_url: str | None


class RepositoryView(View):
    """A repository.

    Attributes:
        repository: The repository, as the declaration of an application names it.
        name: The name to show to people.
        default_branch: The default branch; ``None`` if it is not known.
        private: Whether only members can read it.
        archived: Whether it is archived; ``None`` if it is not known.
        empty: Whether it has no commits; ``None`` if it is not known.
        url: The address of its page at the git host.
        updated_at: When it was last changed.
        details: Everything that the git host lists of it, if the query has ``details``.
    """

    repository: str
    name: str
    default_branch: str | None
    private: bool
    archived: bool | None
    empty: bool | None
    url: str | None
    updated_at: datetime | None
    details: RepositoryDetailsView | None


class RefView(View):
    """A branch or a tag.

    Attributes:
        name: The name of the branch or tag.
        commit: The full hash of the commit that it points to.
    """

    name: str
    commit: str


class OwnerPage(View):
    """A page of owners."""

    items: Sequence[OwnerView]
    next: str | None


class RepositoryPage(View):
    """A page of repositories.

    Attributes:
        truncated: Whether the git host has more repositories than this list can have. Search for
            the others.
        hint: What to do if the credentials cannot read any repository; otherwise empty.
    """

    items: Sequence[RepositoryView]
    next: str | None
    truncated: bool
    hint: str


class RefPage(View):
    """A page of branches or tags."""

    items: Sequence[RefView]
    next: str | None


def list_owners(api: Api, call: Call) -> Response:
    """List the owners whose repositories a provider's credentials may be able to list."""
    query: ListingQuery = call.query
    page = _page(api, _provider(api, call), Wanted("owners", search=query.search), query)
    return answer(OwnerPage(items=_views(OwnerView, page), next=_next(call, "owners", page)))


def list_repositories(api: Api, call: Call) -> Response:
    """List the repositories that a provider's credentials can read.

    The server requests one page at a time from the git host, and caches it for a few minutes. A
    page may have fewer items than the limit. It is the last page if "next" is null.
    """
    query: RepositoryQuery = call.query
    wanted = Wanted("repositories", query.owner, query.search, has_details=query.details)
    page = _page(api, _provider(api, call), wanted, query)
    return answer(
        RepositoryPage(
            items=[_repository(*each) for each in page.items],
            next=_next(call, "repositories", page),
            truncated=page.is_cut,
            hint=page.hint,
        )
    )


def list_branches(api: Api, call: Call) -> Response:
    """List the branches of a repository."""
    return _refs(api, call, "branches")


def list_tags(api: Api, call: Call) -> Response:
    """List the tags of a repository."""
    return _refs(api, call, "tags")


def _refs(api: Api, call: Call, kind: Kind) -> Response:
    query: RefQuery = call.query
    record = _provider(api, call)
    repository = api.installation.read_repository(record.name, query.repository)
    page = _page(api, record, Wanted(kind, str(repository), query.search), query)
    return answer(RefPage(items=_views(RefView, page), next=_next(call, kind, page)))


def _provider(api: Api, call: Call) -> ProviderRecord:
    """Return the provider of a path.

    Raises:
        Refusal: The provider does not exist (404).
    """
    try:
        return api.installation.store.get_provider(call.path["provider"])
    except ConfigurationError as error:
        raise missing(error) from None


def _page(api: Api, record: ProviderRecord, wanted: Wanted, query: ListingQuery) -> Page:
    return api.listings.page(
        record, wanted, after=query.after, limit=query.limit, refresh=query.refresh
    )


def _repository(*fields: Any) -> RepositoryView:
    *values, details = fields
    read = RepositoryDetailsView.model_validate_json
    names = tuple(RepositoryView.model_fields)
    known = dict(zip(names, (*values, details and read(details)), strict=True))
    return RepositoryView(**known)


def _views(model: type[_ModelT], page: Page) -> list[_ModelT]:
    names = tuple(model.model_fields)
    return [model(**dict(zip(names, each, strict=True))) for each in page.items]


def _next(call: Call, kind: Kind, page: Page) -> str | None:
    if page.following is None:
        return None
    given = call.query.model_dump(exclude_defaults=True, exclude={"refresh"})
    query = urlencode(given | {"after": page.following})
    provider = quote(call.path["provider"], safe="")
    return f"{PREFIX}/providers/{provider}/{kind}?{query}"


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        f"{_PROVIDER}/owners",
        "admin",  # only admins can create applications, and need the names for that
        list_owners,
        {200: OwnerPage},
        query=ListingQuery,
        refusals=_HOST_FAILS,
    ),
    Operation(
        "GET",
        f"{_PROVIDER}/repositories",
        "admin",
        list_repositories,
        {200: RepositoryPage},
        query=RepositoryQuery,
        refusals=_HOST_FAILS,
    ),
    Operation(
        "GET",
        f"{_PROVIDER}/branches",
        "admin",
        list_branches,
        {200: RefPage},
        query=RefQuery,
        refusals=_HOST_FAILS,
    ),
    Operation(
        "GET",
        f"{_PROVIDER}/tags",
        "admin",
        list_tags,
        {200: RefPage},
        query=RefQuery,
        refusals=_HOST_FAILS,
    ),
)
