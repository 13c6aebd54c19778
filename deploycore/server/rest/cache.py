"""Operations on the git cache of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field
from starlette.responses import Response

from deploycore.git import CacheEntry
from deploycore.server.api import PREFIX, Api, Call, answer
from deploycore.server.checking import checked
from deploycore.server.problems import Refusal
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, View

__all__ = ["OPERATIONS"]

_CACHE = f"{PREFIX}/cache"


class CacheEntryView(View):
    """A repository in the cache.

    Attributes:
        url: The URL of the repository; empty if the entry is damaged.
        bytes: Its size on disk, in bytes.
        commits: Number of commits in the cache.
        used_at: When it was last used.
    """

    url: str
    bytes: int
    commits: int
    used_at: datetime


class CacheView(View):
    """The cache of the server's machine.

    Attributes:
        items: The repositories, most recently used first.
        bytes: The size of all repositories together, in bytes.
    """

    items: Sequence[CacheEntryView]
    bytes: int


class CacheRemoved(View):
    """The repositories that were removed from the cache.

    Attributes:
        items: The repositories.
    """

    items: Sequence[CacheEntryView]


class CachePruneGiven(Given):
    """How much of the cache to keep.

    Attributes:
        bytes: The maximum size of the cache, in bytes.
    """

    bytes: Annotated[int, Field(ge=0, le=2**53)] = 0


class CacheRemovalQuery(Given):
    """The repository to remove from the cache.

    Attributes:
        url: The URL of the repository, as the list shows it.
    """

    url: Annotated[str, Field(min_length=1, max_length=2048)]


def get_cache(api: Api, call: Call) -> Response:
    """List the repositories in the git cache of the server's machine, with their sizes."""
    items = _views(api.installation.git_cache.entries())
    return answer(CacheView(items=items, bytes=sum(each.bytes for each in items)))


def prune_cache(api: Api, call: Call) -> Response:
    """Remove the least recently used repositories until the cache is small enough.

    The next deployments fetch them again. Repositories that are in use stay.
    """
    given = checked(CachePruneGiven, call.body)
    removed = api.installation.git_cache.prune(given.bytes)
    return answer(CacheRemoved(items=_views(removed)))


def remove_from_cache(api: Api, call: Call) -> Response:
    """Remove a repository from the cache. The next deployment fetches it again."""
    query: CacheRemovalQuery = call.query
    if not api.installation.git_cache.remove(query.url):
        raise Refusal(
            404,
            "not_found",
            f"The cache has no repository {query.url}, or the repository is in use.",
            hint="List the repositories in the cache: deploycore cache list",
        )
    return Response(status_code=204)


def _views(entries: Sequence[CacheEntry]) -> list[CacheEntryView]:
    return [
        CacheEntryView(url=each.url, bytes=each.bytes, commits=each.commits, used_at=each.used_at)
        for each in entries
    ]


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", _CACHE, "admin", get_cache, {200: CacheView}),
    Operation(
        "DELETE",
        _CACHE,
        "admin",
        remove_from_cache,
        {204: None},
        query=CacheRemovalQuery,
        refusals=(404,),
    ),
    Operation(
        "POST",
        f"{_CACHE}/prune",
        "admin",
        prune_cache,
        {200: CacheRemoved},
        body=CachePruneGiven,
    ),
)
