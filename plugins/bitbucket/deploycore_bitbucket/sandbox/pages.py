"""Paged collections, of the two kinds that Bitbucket has.

List-based collections allow random access, and have ``size``, ``page`` and ``previous``.
Iterator-based collections can only be read forward: their ``next`` has an opaque cursor, and they
have no count.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from deploycore.testing.messages import Request
from deploycore_bitbucket.sandbox.messages import refuse

__all__ = ["Pagination", "page_of"]

T = TypeVar("T")
Pagination = Literal["list", "iterator"]

DEFAULT_PAGELEN = 10
MOST_PAGELEN = 100


def page_of(
    rows: Sequence[T],
    request: Request,
    render: Callable[[T], Any],
    *,
    pagination: Pagination,
    most: int = MOST_PAGELEN,
) -> dict[str, Any]:
    """Return the page that a request asks for.

    Args:
        rows: The whole collection.
        render: Returns the JSON object of a row. It is called only for the rows of the page.
        most: The maximum number of items in a page, whatever the request asks for.

    Raises:
        Refusal: ``pagelen`` or the page is invalid (400).
    """
    pagelen = _number(request, "pagelen", DEFAULT_PAGELEN)
    if not 1 <= pagelen <= MOST_PAGELEN:
        raise refuse(400, "Invalid pagelen")
    pagelen = min(pagelen, most)
    pages = max(1, -(-len(rows) // pagelen))
    if pagination == "iterator":
        page = _page_of_mark(request, pages)
    else:
        page = _number(request, "page", 1)
    if page < 1:
        raise refuse(400, "Invalid page")
    first = (page - 1) * pagelen
    body: dict[str, Any] = {
        "values": [render(row) for row in rows[first : first + pagelen]],
        "pagelen": pagelen,
    }
    if pagination == "iterator":
        return body | ({"next": request.link(ctx=_mark(page + 1))} if page < pages else {})
    body |= {"size": len(rows), "page": page}
    if page < pages:
        body["next"] = request.link(page=str(page + 1))
    if page > 1:
        body["previous"] = request.link(page=str(page - 1))
    return body


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdecimal():
        raise refuse(400, f"Invalid {name}")
    return int(text)


def _mark(page: int) -> str:
    return hashlib.sha1(b"page %d" % page, usedforsecurity=False).hexdigest()


def _page_of_mark(request: Request, pages: int) -> int:
    mark = request.query.get("ctx")
    if mark is None:
        return 1
    known = (page for page in range(2, pages + 1) if _mark(page) == mark)
    return next(known, 0)
