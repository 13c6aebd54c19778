"""Read long listings faster than page by page, by predicting links and verifying them.

Bitbucket documents the ``next`` link of a page as opaque, and asks clients not to build links. But
a workspace of 5,000 repositories takes 50 requests, one after another. Collections whose first page
has ``size`` and ``page`` allow random access. So links of later pages are predicted from the
server's own ``next``, in which only the page's number changes, and a limited number of pages is
fetched at once. A predicted page is used only if the ``next`` of the previous page is exactly the
predicted link. So the result is the same as without prediction. A wrong prediction costs a few
requests, but never causes a wrong or repeated page: all predicted pages are discarded, and the
links are followed one by one.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from deploycore.errors import RateLimited, UnexpectedAnswer
from deploycore.http import parse_items

__all__ = ["MOST_ITEMS_A_PAGE", "PAGE_FIELDS", "Page", "PageSource", "items", "pages"]

MOST_ITEMS_A_PAGE = 100
PAGE_FIELDS = ("next", "size", "page", "pagelen")

T = TypeVar("T")
U = TypeVar("U")


class PageSource(Protocol):
    """The part of deploycore's ``HttpClient`` that this module uses."""

    def get_json(self, url: str, *, params: Mapping[str, str | int] | None = None) -> Any: ...

    def pages(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        next_url: Callable[[Any], str | None],
    ) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Page:
    """One page of a listing.

    Attributes:
        next: The link to the page after it; ``None`` on the last one.
        size, page, pagelen: The number of all items, the number of this page from 1, and the number
            of items in a page; ``None`` if the server does not send them.
    """

    values: list[object]
    next: str | None = None
    size: int | None = None
    page: int | None = None
    pagelen: int | None = None

    @classmethod
    def read(cls, answer: object) -> Page:
        """Read a decoded response; only ``values`` and ``next`` have to be valid.

        A page without ``values`` has none: by the API description, no field of a page is required.

        Raises:
            UnexpectedAnswer: It is not a page.
        """
        if not isinstance(answer, dict):
            raise _not_a_page("it is no object")
        values = answer.get("values")
        if values is not None and not isinstance(values, list):
            raise _not_a_page("its values are not a list")
        link = answer.get("next") or None
        if link is not None and not isinstance(link, str):
            raise _not_a_page("its next is not a link")
        return cls(
            values=values or [],
            next=link,
            size=_count(answer.get("size")),
            page=_count(answer.get("page")),
            pagelen=_count(answer.get("pagelen")),
        )


def pages(
    http: PageSource,
    url: str,
    *,
    params: Mapping[str, str | int],
    prefetch: int,
    wanted: int | None = None,
) -> Generator[Page, None, None]:
    """Yield the pages of a listing in the server's order, lazily.

    No request is sent before the first page is needed, and no page is fetched in advance before a
    second page is needed.

    Args:
        url: The listing's path.
        params: Its query, for the first request; later ones use the server's links.
        prefetch: The number of pages to request at once; 0 or 1 turns prediction off.
        wanted: The maximum number of items that the caller needs. No page beyond them is fetched in
            advance.

    Raises:
        ProviderError: As the HTTP client raises them. The error of a predicted page is raised only
            when that page is reached.
    """
    page = Page.read(http.get_json(url, params=params))
    yield page
    link = page.next
    if prefetch > 1:
        with closing(_read_ahead(http, predicted_links(page, wanted=wanted), prefetch)) as ahead:
            for predicted, fetched in ahead:
                if predicted != link:
                    break
                try:
                    page = fetched.result()
                except RateLimited:
                    break  # too many requests at once: continue one by one, with the client's waits
                yield page
                link = page.next
    if link is not None:
        yield from map(Page.read, http.pages(link, next_url=lambda answer: Page.read(answer).next))


def predicted_links(page: Page, *, wanted: int | None = None) -> Iterator[str]:
    """Predict the links of the next pages, starting with the server's own ``next``.

    There are none unless the page has ``size``, ``page`` and ``pagelen``, and its ``next`` has the
    following page's number in exactly one ``page`` parameter. The last link is that of the last
    page, by ``size`` or ``wanted``.
    """
    if page.next is None or page.size is None or page.page is None or not page.pagelen:
        return
    numbers = list(re.finditer(r"(?<=[?&]page=)[0-9]+(?=&|\Z)", page.next))
    if len(numbers) != 1 or numbers[0].group() != str(page.page + 1):
        return
    before, after = page.next[: numbers[0].start()], page.next[numbers[0].end() :]
    most = page.size if wanted is None else min(page.size, wanted)
    last = -(-most // page.pagelen)
    for number in range(page.page + 1, last + 1):
        yield f"{before}{number}{after}"


def items(
    source: Generator[Page, None, None],
    expected: type[U],
    read: Callable[[U], T],
    *,
    what: str,
) -> Generator[T, None, None]:
    """Yield the items of pages; invalid items are skipped and counted.

    Args:
        expected: The model of an item.
        read: Converts an item to the result.
        what: The name of a page for messages, such as ``a page of branches``.
    """
    with closing(source):
        for page in source:
            yield from parse_items(expected, page.values, what=what, read=read)


def _read_ahead(
    http: PageSource, links: Iterator[str], at_once: int
) -> Generator[tuple[str, Future[Page]], None, None]:
    """Yield each link with the running request for its page. Closing this discards the rest and
    ends its threads."""

    def fetch(link: str) -> Page:
        return Page.read(http.get_json(link))

    threads = ThreadPoolExecutor(at_once, thread_name_prefix="bitbucket-pages")
    try:
        ahead = deque((link, threads.submit(fetch, link)) for link in islice(links, at_once))
        while ahead:
            current = ahead.popleft()
            # One more than the number of threads, so that no thread waits for the reader.
            ahead.extend((link, threads.submit(fetch, link)) for link in islice(links, 1))
            yield current
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _not_a_page(why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"Bitbucket answered a listing with something that is not a page: {why}.",
        hint="Check the provider's api_url. If it is right, try again later.",
    )
