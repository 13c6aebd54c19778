"""Faults that change the responses to chosen requests.

A fault is a rule for which requests it affects, and a change to their responses.

::

    host.faults.add(Fault(answer(503), path="/api/repositories/*", times=2))
    host.faults.add(Fault(latency(0.1), path="/api/*"))
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from deploycore.testing.messages import JSON, TEXT, Answer, Request, json_answer
from deploycore.testing.paging import NextLink

__all__ = [
    "Change",
    "Fault",
    "Faults",
    "answer",
    "change_of_json",
    "connection_cut",
    "connection_reset",
    "echoing",
    "empty_page",
    "endless_pages",
    "html",
    "latency",
    "later",
    "looping_next",
    "malformed_json",
    "next_elsewhere",
    "next_link",
    "rate_limited",
    "redirect",
    "truncated_json",
    "wrong_types",
]


@dataclass(frozen=True)
class Change:
    """The change that a fault makes to a response."""

    name: str
    apply: Callable[[Request, Answer], Answer]


@dataclass(frozen=True)
class Fault:
    """A change, and the requests that it applies to.

    Attributes:
        path: A pattern with ``*`` for the path as it was sent, such as ``/api/*`` or
            ``*/git-upload-pack``.
        query: A pattern for the query string.
        times: The number of matching requests that it applies to; ``None`` for all.
        signing_in: Whether it applies only to the requests of ``Faults.sign_in_path``. Otherwise,
            it applies only to other requests.
    """

    change: Change
    path: str = "*"
    method: str = "*"
    query: str = "*"
    times: int | None = None
    signing_in: bool = False

    def matches(self, request: Request) -> bool:
        return (
            fnmatchcase(request.path, self.path)
            and fnmatchcase(request.query_string, self.query)
            and fnmatchcase(request.method, self.method)
        )


class Faults:
    """The active faults. All faults that match a request are applied, in the order in which they
    were added.

    Attributes:
        sign_in_path: A pattern for the paths of requests with which a client obtains a token that
            expires, such as ``*/access_tokens``; empty if there are none.
    """

    def __init__(self) -> None:
        self.sign_in_path = ""
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Add a fault, which applies from the next request on."""
        with self._lock:
            self._armed.append(_Armed(fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def is_sign_in(self, path: str) -> bool:
        """Whether a request for this path obtains a token; see ``sign_in_path``."""
        return bool(self.sign_in_path) and fnmatchcase(path, self.sign_in_path)

    def apply(self, request: Request, found: Answer) -> Answer:
        """Return the response to a request, changed by a fault if one applies."""
        for fault in self._claim(request):
            changed = fault.change.apply(request, found)
            # A fault that only delays a response or cuts a connection does not change its content.
            if changed.body is not found.body or changed.status != found.status:
                changed = replace(changed, exemption=f"injected fault: {fault.change.name}")
            found = changed
        return found

    def _claim(self, request: Request) -> list[Fault]:
        signs_in = self.is_sign_in(request.path)
        with self._lock:
            hits = [
                armed
                for armed in self._armed
                if armed.left != 0
                and armed.fault.signing_in is signs_in
                and armed.fault.matches(request)
            ]
            for armed in hits:
                armed.left = None if armed.left is None else armed.left - 1
            return [armed.fault for armed in hits]


@dataclass
class _Armed:
    """A fault, and how many more requests it applies to."""

    fault: Fault
    left: int | None


def latency(seconds: float) -> Change:
    """Wait before responding."""
    return Change("latency", lambda _, found: replace(found, delay=found.delay + seconds))


def answer(
    status: int,
    body: bytes | str = b"",
    *,
    content_type: str = TEXT,
    headers: Mapping[str, str] | None = None,
) -> Change:
    """Send another response."""
    content = body.encode() if isinstance(body, str) else body
    given = Answer(status, {"Content-Type": content_type, **(headers or {})}, content)
    return Change(f"answer {status}", lambda _, found: replace(given, delay=found.delay))


def rate_limited(*, retry_after: int | None = None) -> Change:
    """Send status 429, with ``Retry-After`` if it is given.

    Args:
        retry_after: Seconds to wait.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return answer(429, "Rate limit for this resource has been exceeded", headers=headers)


def connection_cut(*, after: int = 0) -> Change:
    """Close the connection after a number of bytes of the body, although a longer one was
    announced."""
    return Change("connection cut", lambda _, found: replace(found, cut_after=after))


def connection_reset() -> Change:
    """Reset the connection (TCP RST) instead of responding."""
    return Change("connection reset", lambda _, found: replace(found, reset=True))


def malformed_json() -> Change:
    return answer(200, b'{"values": [,]}', content_type=JSON)


def truncated_json() -> Change:
    """Send only the first half of the body, with the right length for it."""

    def halve(_: Request, found: Answer) -> Answer:
        body = found.body if isinstance(found.body, bytes) else b""
        return replace(found, body=body[: len(body) // 2])

    return Change("truncated JSON", halve)


def html() -> Change:
    """Send an HTML page with status 200, like proxies and login pages."""
    return answer(200, "<!DOCTYPE html><title>Log in</title>", content_type="text/html")


def wrong_types() -> Change:
    """Replace every string by a number and every number by a string, so that the JSON is valid but
    wrong."""
    return change_of_json("wrong types", _swap_types)


def endless_pages(links: NextLink) -> Change:
    """Always add a next page, with a new link each time and the items of the last page."""
    last: list[Answer] = []
    parameter = getattr(links, "parameter", "page")

    def prolong(request: Request, found: Answer) -> Answer:
        items = links.items(found)
        if items is None:
            return found
        last[:] = [found] if items or not last else last
        following = str(int(request.query.get(parameter, 1)) + 1)
        return links.linked(last[0], request.link(**{parameter: following}))

    return Change("endless pages", prolong)


def looping_next(links: NextLink) -> Change:
    """Link each page to itself as the next page."""
    return next_link("looping next", links, lambda request: request.link())


def next_elsewhere(links: NextLink, origin: str) -> Change:
    """Link to a next page on another host.

    Args:
        origin: The origin of that host, such as ``http://127.0.0.1:8081``.
    """

    def astray(request: Request) -> str:
        return origin + request.link(page="2").removeprefix(request.origin)

    return next_link("next to another host", links, astray)


def next_link(name: str, links: NextLink, make: Callable[[Request], str]) -> Change:
    """Link each page to the address that ``make`` returns for its request."""

    def apply(request: Request, found: Answer) -> Answer:
        return found if links.items(found) is None else links.linked(found, make(request))

    return Change(name, apply)


def empty_page(links: NextLink) -> Change:
    """Remove the items of a page, but keep the link to the next one."""

    def empty(_: Request, found: Answer) -> Answer:
        return found if links.items(found) is None else links.emptied(found)

    return Change("empty page", empty)


def later(change: Change, *, after: int) -> Change:
    """Apply a change only after a number of responses that it would affect."""
    spared = iter(range(after))

    def apply(request: Request, found: Answer) -> Answer:
        return found if next(spared, None) is not None else change.apply(request, found)

    return Change(f"{change.name}, later", apply)


def echoing(status: int) -> Change:
    """Send the request back, including its headers, as JSON with this status."""

    def echo(request: Request, found: Answer) -> Answer:
        said = {"message": f"you sent {request.method} {request.target} {dict(request.headers)}"}
        return replace(json_answer(said, status), delay=found.delay)

    return Change(f"echo with status {status}", echo)


def redirect(location: str, status: int = 302) -> Change:
    """Redirect to another address."""
    return answer(status, headers={"Location": location})


def change_of_json(name: str, change: Callable[[Any], Any]) -> Change:
    """Change the decoded body. A body that is not a JSON object or list stays as it is."""

    def apply(_: Request, found: Answer) -> Answer:
        body = found.json()
        if not isinstance(body, dict | list):
            return found
        return replace(found, body=json.dumps(change(body)).encode())

    return Change(name, apply)


def _swap_types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _swap_types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_swap_types(item) for item in value]
    if isinstance(value, str):
        return len(value)
    return str(value)
