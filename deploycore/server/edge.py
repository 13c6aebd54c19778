"""The outermost layer: request ids, security headers, times, and errors without tracebacks.

Each request is logged when its response begins, with the application that it is about.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploycore.configuration import NAME_PATTERN
from deploycore.server.metrics import Metrics
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal, problem_of
from deploycore.server.quiet import QuietLogger
from deploycore.server.senders import forwarded_address

__all__ = [
    "ROUTE",
    "Edge",
    "RequestIdFilter",
    "client_address",
    "note_application",
    "request_id",
]

logger = logging.getLogger(__name__)

ROUTE = "deploycore.route"
"""The key of a scope for the path of the operation, as in the table."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that is being answered."""

client_address: ContextVar[str] = ContextVar("client_address", default="")
"""The address of the client that sent the request."""

_subject: ContextVar[list[str]] = ContextVar("subject")
"""The application that the request is about, once it is known: in a list, which threads share."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
_REQUEST_ID_NAME = b"x-request-id"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Headers of each response that does not have its own, as ASGI has them."""


_TWO_LENGTHS = Refusal(
    400,
    "malformed",
    "The request has both Content-Length and Transfer-Encoding.",
    hint="Send only one of these headers. If a proxy adds one, correct its configuration.",
    headers={"Connection": "close"},
)


def note_application(name: object) -> None:
    """Add an application to the log line of the request.

    Args:
        name: The name in the request. An invalid name is left out.
    """
    subject = _subject.get(None)
    if subject is not None and isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
        subject[:] = [name]


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to each log record, as ``request_id``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep all records."""
        record.request_id = request_id.get()
        return True


class Edge:
    """Wraps the application.

    Args:
        app: The ASGI application.
        unexpected: Returns the answer to an unexpected error, from the request and its id.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: ServerOptions,
        metrics: Metrics,
        unexpected: Callable[[Request, str], Response],
    ) -> None:
        self._app = app
        self._unexpected = unexpected
        self._options = options
        self._metrics = metrics
        self._quiet = QuietLogger(logger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._options.behind_proxy:
            _believe_proxy(scope)
        request = self._request_id(scope)
        request_id.set(request)
        client_address.set((scope.get("client") or ("",))[0])
        _subject.set([])
        began, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request)
                self._observe(scope, status, time.perf_counter() - began)
            await send(message)

        try:
            if _has_two_lengths(scope):
                await problem_of(_TWO_LENGTHS)(scope, receive, send_on)
                return
            await self._app(scope, receive, send_on)
        except Exception as error:
            logger.error("unexpected error: %s", _place_of(error))
            if status:
                raise CutOff("a response was interrupted by an unexpected error") from None
            await self._unexpected(Request(scope), request)(scope, receive, send_on)

    def _request_id(self, scope: Scope) -> str:
        if self._options.behind_proxy:
            given = Headers(scope=scope).get("x-request-id", "")
            if _REQUEST_ID.fullmatch(given):
                return given
        return uuid.uuid4().hex

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get(ROUTE, "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).observe(seconds)
        client = (scope.get("client") or ("-",))[0]
        about = "".join(f" for {name}" for name in _subject.get([]))
        asked = f"{method} {route}{about}"
        line = ("%s from %s: %d in %.1f ms", asked, client, status, seconds * 1000)
        if status < 400:
            logger.info(*line)
        else:
            self._quiet.warn(f"{route} {status}", *line)


def _believe_proxy(scope: Scope) -> None:
    """Set the client's address and scheme to those that the proxy saw."""
    headers = Headers(scope=scope)
    address = forwarded_address(headers.getlist("x-forwarded-for"))
    if address is not None:
        scope["client"] = (address, 0)
    # Only the last entry comes from the proxy.
    scheme = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
    if scheme in ("http", "https"):
        scope["scheme"] = scheme


def _has_two_lengths(scope: Scope) -> bool:
    """Whether a proxy may have read the request's body with another length (RFC 9112, 6.1)."""
    names = {name for name, _ in scope["headers"]}  # in lower case, says ASGI
    return b"transfer-encoding" in names and b"content-length" in names


class CutOff(Exception):
    """An unexpected error occurred after the response had started."""


def _add_headers(message: MutableMapping[str, Any], request: str) -> None:
    headers = [each for each in message.get("headers", ()) if each[0] != _REQUEST_ID_NAME]
    own = {name for name, _ in headers}
    headers.append((_REQUEST_ID_NAME, request.encode()))
    headers += [each for each in _HEADERS if each[0] not in own]
    message["headers"] = headers


def _place_of(error: Exception) -> str:
    """Return the type and the place of a bug. Its text is left out, because it may contain
    anything."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    module = traceback.tb_frame.f_globals.get("__name__", "?")
    return f"{type(error).__name__} in {module}, line {traceback.tb_lineno}"
