"""The requests and responses of a loopback host, independent of sockets.

Each part of a host is a function from a request to a response. So a fault can change any response,
and only one place writes to sockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

__all__ = [
    "Answer",
    "Refusal",
    "Request",
    "json_answer",
    "text_answer",
    "with_headers",
]

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"

Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Request:
    """An HTTP request with its decoded body.

    Attributes:
        target: The path and query as they were sent.
        headers: The headers, with names in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path as it was sent, percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query_string(self) -> str:
        return self.target.partition("?")[2]

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments of the path, decoded one by one."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))

    @property
    def query(self) -> dict[str, str]:
        """The decoded query. Of a repeated parameter, it has the last value."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def origin(self) -> str:
        """The origin for links in responses: the one that the client used."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    def link(self, **changes: str) -> str:
        """Return the absolute address of this request with some parameters of its query changed."""
        return f"{self.origin}{self.path}?{urlencode({**self.query, **changes})}"


@dataclass(frozen=True)
class Answer:
    """An HTTP response.

    Attributes:
        body: Bytes, or a function that receives ``write`` and sends the body in chunks.
        delay: Seconds to wait before the first byte.
        cut_after: The number of bytes of the body after which the connection is closed.
        reset: Whether to reset the connection instead of responding.
        exemption: Why the host's published API description does not apply; empty if it does.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Callable[[Write], None] = b""
    delay: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    exemption: str = ""

    def json(self) -> Any:
        """Return the decoded body; ``None`` if it is not JSON."""
        if not isinstance(self.body, bytes) or "json" not in self.headers.get("Content-Type", ""):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Refusal(Exception):
    """An exception that ends the handling of a request with a response."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(body: Any, status: int = 200) -> Answer:
    """Return a JSON response in UTF-8."""
    return Answer(status, {"Content-Type": JSON}, json.dumps(body).encode())


def text_answer(text: str, status: int) -> Answer:
    """Return a plain text response in UTF-8."""
    return Answer(status, {"Content-Type": TEXT}, text.encode())


def with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Return a response with additional headers."""
    return replace(answer, headers={**answer.headers, **headers})
