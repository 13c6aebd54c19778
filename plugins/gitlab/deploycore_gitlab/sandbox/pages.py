"""Pages in GitLab's forms: numbered pages, and keyset pages, which continue after the last item.

Sources: https://docs.gitlab.com/api/rest/#pagination; where that is silent, GitLab's own
``lib/gitlab/pagination``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.sandbox import Repository

__all__ = ["branch_pages", "keyset_pages", "numbered_pages"]

T = TypeVar("T")

SIZE_DEFAULT = 20
SIZE_MOST = 100
MOST_COUNTED = 10_000

Render = Callable[[T], Any]


def numbered_pages(
    request: Request, rows: Sequence[T], render: Render[T], *, names: dict[str, str]
) -> Answer:
    """Return the page with the number that a request asks for.

    Args:
        names: The values in the address's path, which GitLab repeats in the query of its links.
    """
    size, number = _size(request), _number(request, "page", 1)
    shown = rows[(number - 1) * size : number * size]
    last = max(1, -(-len(rows) // size))
    following = number + 1 if number < last else None
    return _numbered(
        request, [render(row) for row in shown], names, number, following, len(rows), last
    )


def keyset_pages(
    request: Request, rows: Sequence[Repository], render: Render[Repository]
) -> Answer:
    """Return the page of projects after the project whose number the request names.

    Each page that is not empty has a link. Only an empty page shows the end.
    """
    if request.query.get("order_by") != "id":
        message = "Keyset pagination is not yet available for this type of request"
        raise Refusal(json_answer({"error": message}, 405))
    descending = request.query.get("sort", "desc") == "desc"
    bound = "id_before" if descending else "id_after"
    rows = sorted(rows, key=lambda row: row.number, reverse=descending)
    if bound in request.query:
        seen = _number(request, bound, 0)
        rows = [row for row in rows if row.number != seen and (row.number < seen) is descending]
    shown = rows[: _size(request)]
    answer = json_answer([render(row) for row in shown])
    if not shown:
        return answer
    link = request.link(**{bound: str(shown[-1].number)})
    return with_headers(answer, {"Link": f'<{link}>; rel="next"'})


def branch_pages(
    request: Request,
    rows: Sequence[tuple[str, str]],
    render: Render[tuple[str, str]],
    *,
    names: dict[str, str],
    searched: Sequence[tuple[str, str]] | None,
) -> Answer:
    """Return a page of branches, which GitLab's git server provides; with keyset pagination if the
    request asks for it.

    The first numbered page also comes from the git server. It has all results of a search, and
    links to a second page even if there is none.

    Args:
        rows: All branches.
        searched: The branches that a search finds; ``None`` without a search.
    """
    size = _size(request)
    if request.query.get("pagination") == "keyset":
        token = request.query.get("page_token", "")
        shown = searched if searched is not None else [row for row in rows if row[0] > token][:size]
        answer = json_answer([render(row) for row in shown])
        if len(shown) != size:
            return answer
        link = request.link(page_token=shown[-1][0])
        return with_headers(answer, {"Link": f'<{link}>; rel="next"'})
    if _number(request, "page", 1) > 1:
        return numbered_pages(request, rows if searched is None else searched, render, names=names)
    shown = rows[:size] if searched is None else searched
    total = len(rows)
    return _numbered(request, [render(row) for row in shown], names, 1, 2, total, total // size + 1)


def _numbered(
    request: Request,
    items: list[Any],
    names: dict[str, str],
    number: int,
    following: int | None,
    total: int,
    last: int,
) -> Answer:
    previous = number - 1 if number > 1 else None
    counted = total <= MOST_COUNTED

    def link(relation: str, page: int) -> str:
        query = {**request.query, **names, "page": page, "per_page": _size(request)}
        return (
            f'<{request.origin}{request.path}?{urlencode(sorted(query.items()))}>; rel="{relation}"'
        )

    links = [link("prev", previous)] if previous else []
    links += [link("next", following)] if following else []
    links += [link("first", 1)] + ([link("last", last)] if counted else [])
    headers = {
        "Link": ", ".join(links),
        "X-Next-Page": str(following or ""),
        "X-Page": str(number),
        "X-Per-Page": str(_size(request)),
        "X-Prev-Page": str(previous or ""),
    }
    if counted:
        headers |= {"X-Total": str(total), "X-Total-Pages": str(last)}
    return with_headers(json_answer(items), headers)


def _size(request: Request) -> int:
    return min(_number(request, "per_page", SIZE_DEFAULT), SIZE_MOST)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise Refusal(json_answer({"error": f"{name} is invalid"}, 400))
    if name in ("page", "per_page") and int(text) < 1:
        raise Refusal(json_answer({"error": f"{name} does not have a valid value"}, 400))
    return int(text)
