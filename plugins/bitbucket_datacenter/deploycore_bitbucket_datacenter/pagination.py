"""Pages of listings. Only the server says where the next page starts.

The server limits ``limit``, and may leave out items after it has counted them. So the start of the
next page cannot be computed from the number of items, ``start`` and ``limit``: only
``nextPageStart`` has it.

Source: https://developer.atlassian.com/server/bitbucket/how-tos/paged-apis/
"""

from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, HttpClient, parse_answer
from pydantic import Field

__all__ = ["MOST_ITEMS_A_PAGE", "Parameters", "pages", "size_of"]

MOST_ITEMS_A_PAGE = 500
"""The requested page size. The server's own limit is 1,000 for most listings by default."""

Parameters = Mapping[str, str | int]


class _Page(AnswerModel):
    """A page. In the API description, every field is optional. But no server omits ``values``, and
    a response without them must not count as an empty listing.

    Attributes:
        next: The start of the next page; ``None`` on the last page.
    """

    values: list[object]
    is_last: Annotated[bool | None, Field(alias="isLastPage")] = None
    next: Annotated[int | None, Field(alias="nextPageStart", ge=0)] = None


def pages(
    http: HttpClient, path: str, what: str, params: Parameters | None = None
) -> Iterator[list[object]]:
    """Yield the items of a listing in the server's order, page by page.

    Args:
        what: The name of a page for messages, such as ``a page of branches``.
        params: The query, without ``start``.

    Raises:
        UnexpectedAnswer: A response is not a page, or is not the last page and does not say where
            the next one starts.
        ProviderError: As the HTTP client raises them.
    """
    query = {"limit": MOST_ITEMS_A_PAGE, **(params or {})}
    address = f"{path}?{urlencode(query, quote_via=quote)}"

    def next_url(answer: object) -> str | None:
        page = parse_answer(_Page, answer, what=what)
        if page.is_last or (page.is_last is None and page.next is None):
            return None
        if page.next is None:
            raise UnexpectedAnswer(
                f"Bitbucket sent {what} that is not the last one and does not say where the next"
                " one starts.",
                hint="Try again. If the error remains, report it to the server's administrator.",
                field="nextPageStart",
            )
        return f"{address}&start={page.next}"

    for answer in http.pages(address, next_url=next_url):
        yield parse_answer(_Page, answer, what=what).values


def size_of(limit: int | None) -> int:
    """Return the page size to request, from the number of items that are needed."""
    return min(limit or MOST_ITEMS_A_PAGE, MOST_ITEMS_A_PAGE)
