"""How a page contains the link to the next one. Sandboxes and faults use this.

Hosts have the link in the ``Link`` header (RFC 8288), like GitHub, GitLab and Gitea, or in a field
of the page, like Bitbucket. Other hosts have a cursor in the page, which the client sends as a
parameter of the next request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from deploycore.testing.messages import Answer, Refusal, Request, json_answer, text_answer

__all__ = ["JsonCursor", "JsonLink", "LinkHeader", "NextLink", "Pages"]

T = TypeVar("T")


class NextLink(Protocol):
    """Where a response has the link to the next page."""

    def page(self, items: list[Any]) -> Any:
        """Return the body of a page with these items, without a link."""

    def linked(self, answer: Answer, url: str | None) -> Answer:
        """Return the response with this link, or without a link."""

    def items(self, answer: Answer) -> list[Any] | None:
        """Return the items of a page; ``None`` if the response is not a page."""

    def emptied(self, answer: Answer) -> Answer:
        """Return the page without its items, but with its link."""


@dataclass(frozen=True)
class LinkHeader:
    """``Link: <url>; rel="next"``. The body of the page is a list."""

    def page(self, items: list[Any]) -> Any:
        return items

    def linked(self, answer: Answer, url: str | None) -> Answer:
        headers = {name: value for name, value in answer.headers.items() if name != "Link"}
        if url is not None:
            headers["Link"] = f'<{url}>; rel="next"'
        return replace(answer, headers=headers)

    def items(self, answer: Answer) -> list[Any] | None:
        body = answer.json()
        return body if isinstance(body, list) else None

    def emptied(self, answer: Answer) -> Answer:
        return replace(answer, body=b"[]")


@dataclass(frozen=True)
class JsonLink:
    """The page is an object with a list and a link.

    Attributes:
        link: The field with the link.
        values: The field with the items.
    """

    link: str = "next"
    values: str = "values"

    def page(self, items: list[Any]) -> Any:
        return {self.values: items}

    def linked(self, answer: Answer, url: str | None) -> Answer:
        body = {name: value for name, value in answer.json().items() if name != self.link}
        if url is not None:
            body[self.link] = url
        return replace(answer, body=json.dumps(body).encode())

    def items(self, answer: Answer) -> list[Any] | None:
        body = answer.json()
        found = body.get(self.values) if isinstance(body, dict) else None
        return found if isinstance(found, list) else None

    def emptied(self, answer: Answer) -> Answer:
        return replace(answer, body=json.dumps({**answer.json(), self.values: []}).encode())


@dataclass(frozen=True)
class JsonCursor:
    """The page is an object with a list and a cursor.

    In :class:`Pages`, ``number`` must be the same as ``parameter``. A fault that changes the link
    puts an address in place of the cursor.

    Attributes:
        cursor: The field with the cursor. The last page does not have it.
        values: The field with the items.
        parameter: The query parameter in which the client sends the cursor.
    """

    cursor: str = "next_cursor"
    values: str = "values"
    parameter: str = "cursor"

    def page(self, items: list[Any]) -> Any:
        return {self.values: items}

    def linked(self, answer: Answer, url: str | None) -> Answer:
        return JsonLink(self.cursor, self.values).linked(answer, url and self._cursor(url))

    def items(self, answer: Answer) -> list[Any] | None:
        return JsonLink(self.cursor, self.values).items(answer)

    def emptied(self, answer: Answer) -> Answer:
        return JsonLink(self.cursor, self.values).emptied(answer)

    def _cursor(self, url: str) -> str:
        """Return the cursor in a link to a page. A text that is not such a link is returned
        unchanged."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return url
        if not (parts.scheme and parts.netloc):
            return url
        # A link without the parameter leads to the first page.
        return parse_qs(parts.query).get(self.parameter, ["1"])[0]


@dataclass(frozen=True)
class Pages:
    """Divides a listing into numbered pages.

    Attributes:
        next_link: Where the link to the next page is.
        number: The name of the query parameter for the page's number, which starts at 1.
        size: The name of the query parameter for the number of items.
        size_default: The default number of items.
        size_most: The maximum number of items.
    """

    next_link: NextLink
    number: str = "page"
    size: str = "per_page"
    size_default: int = 30
    size_most: int = 100

    def answer(self, request: Request, rows: Sequence[T], render: Callable[[T], Any]) -> Answer:
        """Return the page that a request asks for.

        Args:
            request: The request.
            rows: The whole listing.
            render: Returns the JSON of a row. It is called only for the rows of the page.
        """
        size = min(self._asked(request, self.size, self.size_default), self.size_most)
        number = self._asked(request, self.number, 1)
        shown = [render(row) for row in rows[(number - 1) * size : number * size]]
        answer = json_answer(self.next_link.page(shown))
        more = number * size < len(rows)
        link = request.link(**{self.number: str(number + 1)}) if more else None
        return self.next_link.linked(answer, link)

    def _asked(self, request: Request, name: str, default: int) -> int:
        text = request.query.get(name, str(default))
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise Refusal(text_answer(f"Invalid {name}", 400))
        return int(text)
