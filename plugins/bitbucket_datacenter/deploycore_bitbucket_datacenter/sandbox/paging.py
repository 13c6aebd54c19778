"""Pages in the form of Bitbucket Data Center: with the number of the first item, not with links."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.paging import Pages

__all__ = ["NextPageStart", "page"]

T = TypeVar("T")


@dataclass(frozen=True)
class NextPageStart:
    """``nextPageStart`` and ``isLastPage``. A link from a fault takes the place of the number.

    Attributes:
        parameter: The query parameter in which a client sends the number.
    """

    parameter: str = "start"

    def page(self, items: list[Any]) -> Any:
        return {"size": len(items), "values": items, "isLastPage": True}

    def linked(self, answer: Answer, url: str | None) -> Answer:
        body = {name: value for name, value in answer.json().items() if name != "nextPageStart"}
        body["isLastPage"] = url is None
        if url is not None:
            body["nextPageStart"] = self._start(url)
        return replace(answer, body=json.dumps(body).encode())

    def items(self, answer: Answer) -> list[Any] | None:
        body = answer.json()
        found = body.get("values") if isinstance(body, dict) else None
        return found if isinstance(found, list) else None

    def emptied(self, answer: Answer) -> Answer:
        body = {**answer.json(), "values": [], "size": 0}
        return replace(answer, body=json.dumps(body).encode())

    def _start(self, url: str) -> int | str:
        """Return the number in a link. A text that is not such a link is returned unchanged."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return url
        if not (parts.scheme and parts.netloc):
            return url
        found = parse_qs(parts.query).get(self.parameter, ["0"])[0]
        return int(found) if found.isdecimal() else found


def page(
    request: Request,
    rows: Sequence[T],
    render: Callable[[T], Any],
    *,
    sizes: Pages,
    refuse: Callable[[int, str], Refusal],
) -> Answer:
    """Return the page of a listing that a request asks for.

    Args:
        sizes: The default and the maximum number of items in a page.
        refuse: Returns an error response in the API's form.
    """

    def number(name: str, default: int) -> int:
        text = request.query.get(name, str(default))
        if not (text.isascii() and text.isdecimal()):
            raise refuse(400, f"The parameter {name} has an invalid value.")
        return int(text)

    start = number("start", 0)
    limit = max(1, min(number("limit", sizes.size_default), sizes.size_most))
    shown = rows[start : start + limit]
    is_last = start + limit >= len(rows)
    body: dict[str, Any] = {
        "size": len(shown),
        "limit": limit,
        "isLastPage": is_last,
        "values": [render(row) for row in shown],
        "start": start,
    }
    return json_answer(body if is_last else {**body, "nextPageStart": start + limit})
