"""Requests and answers as the parts of a loopback host see them, free of sockets.

Every part is a function from a request to an answer, so that faults can change any answer, and
so that one place alone writes to sockets.
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
    """One HTTP request, its body read and decoded.

    Attributes:
        target: Path and query as they were sent.
        headers: With names in lower case.
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
        """The path's parts between slashes, decoded one by one."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))

    @property
    def query(self) -> dict[str, str]:
        """Decoded; of a repeated parameter the last value."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def origin(self) -> str:
        """What links in answers start with: where the client says that it found us."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    def link(self, **changes: str) -> str:
        """This request's absolute address with some parameters of its query changed."""
        return f"{self.origin}{self.path}?{urlencode({**self.query, **changes})}"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        body: Bytes, or a function that is handed a ``write`` and sends as it goes (chunked).
        delay: Seconds to wait before the first byte.
        cut_after: Close the connection after this many bytes of the body.
        reset: Reset the connection instead of answering.
        exemption: Why the host's published description does not apply, empty if it does.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Callable[[Write], None] = b""
    delay: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    exemption: str = ""

    def json(self) -> Any:
        """The decoded body; ``None`` where it is not JSON."""
        if not isinstance(self.body, bytes) or "json" not in self.headers.get("Content-Type", ""):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Refusal(Exception):
    """Ends the handling of a request with an answer, from however deep."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(body: Any, status: int = 200) -> Answer:
    """JSON in UTF-8."""
    return Answer(status, {"Content-Type": JSON}, json.dumps(body).encode())


def text_answer(text: str, status: int) -> Answer:
    """Plain text in UTF-8."""
    return Answer(status, {"Content-Type": TEXT}, text.encode())


def with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """The answer with further headers."""
    return replace(answer, headers={**answer.headers, **headers})
