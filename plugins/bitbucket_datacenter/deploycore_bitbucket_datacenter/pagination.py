"""Pages of listings: where the next one starts is what the server says, and nothing else.

The server caps ``limit``, and may leave out items after it has counted them, so neither the number
of items nor ``start`` and ``limit`` tell where the next page is: ``nextPageStart`` alone does.

Source: https://developer.atlassian.com/server/bitbucket/how-tos/paged-apis/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, HttpClient, parse_answer
from pydantic import Field

__all__ = ["MOST_ITEMS_A_PAGE", "Parameters", "pages", "size_of"]

MOST_ITEMS_A_PAGE = 500
"""What is asked for. The server's own limits are 1,000 by default, for most listings."""

Parameters = Mapping[str, str | int]


class _Page(AnswerModel):
    """A page. By the API's description every field may be missing; no server omits ``values``, and
    an answer without them must not count as an empty listing.

    Attributes:
        next: ``None`` on the last page.
    """

    values: list[object]
    is_last: Annotated[bool | None, Field(alias="isLastPage")] = None
    next: Annotated[int | None, Field(alias="nextPageStart", ge=0)] = None


def pages(
    http: HttpClient, path: str, what: str, params: Parameters | None = None
) -> Iterator[list[object]]:
    """The items of each page of a listing, in the server's order, page by page.

    Args:
        what: What a page is, for messages: ``a page of branches``.
        params: The query, without ``start``.

    Raises:
        UnexpectedAnswer: A page is none, or is not the last one and does not say where the next
            one starts.
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
    """How many items a page is asked to have, if so many are wanted."""
    return min(limit or MOST_ITEMS_A_PAGE, MOST_ITEMS_A_PAGE)
