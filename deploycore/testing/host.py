"""An HTTP server on the loopback address, with faults and a log without secrets.

A subclass or the given routes define its responses::

    host = LoopbackHost(routes={"GET /api/user": lambda request: json_answer({"login": "ada"})})
    with host:
        requests.get(f"{host.url}/api/user")
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import ClassVar, Self

from pydantic import SecretStr

from deploycore.errors import ConfigurationError
from deploycore.redaction import Redactor
from deploycore.testing.faults import Faults
from deploycore.testing.messages import Answer, Refusal, Request, text_answer
from deploycore.testing.server import LOOPBACK, HttpServer

__all__ = ["Exchange", "LoggedRequest", "LoopbackHost", "Route", "route_of"]

REMEMBERED_REQUESTS = 100_000

Route = Callable[..., Answer]
"""Takes the request, and as keyword arguments the names in braces of the route's address."""


@dataclass(frozen=True)
class LoggedRequest:
    """A request that a host received, without secrets.

    Attributes:
        path: The path as it was sent, with known secrets masked.
        query: The query string, with known secrets masked.
    """

    method: str
    path: str
    query: str
    status: int


@dataclass(frozen=True)
class Exchange:
    """A request and its response, for code that checks them.

    Attributes:
        request: The request. Its ``Authorization`` header has only the scheme.
    """

    request: Request
    answer: Answer


class LoopbackHost:
    """An HTTP server on 127.0.0.1.

    Args:
        routes: Functions by ``METHOD /path/{name}/…``; see :func:`route_of`.
        port: The port to listen on; 0 for any free port.
        latency: Seconds to wait before each response.

    Attributes:
        faults: The failures to cause on purpose.
        crashes: The tracebacks of exceptions in the host itself, without secrets.
        watchers: Called with each exchange of every host of the class, before the response is sent,
            so that tests can check all exchanges against a description of the API. To watch only a
            subclass, give it its own list.
    """

    watchers: ClassVar[list[Callable[[Exchange], None]]] = []

    def __init__(
        self,
        *,
        routes: Mapping[str, Route] | None = None,
        port: int = 0,
        latency: float = 0.0,
    ) -> None:
        self.faults = Faults()
        self.crashes: list[str] = []
        self.latency = latency
        self.__routes = routes or {}
        self.__port = port
        self.__log: deque[LoggedRequest] = deque(maxlen=REMEMBERED_REQUESTS)
        self.__count = 0
        self.__counting = threading.Lock()
        self.__server: HttpServer | None = None
        self.__redactor = Redactor()

    def start(self) -> Self:
        """Start the server.

        Raises:
            OSError: The port cannot be used.
        """
        self.__server = HttpServer(self.__respond, port=self.__port)
        self.__server.start()
        return self

    def stop(self) -> None:
        """Close all connections. You can call this twice."""
        if self.__server is not None:
            self.__server.stop()
            self.__server = None

    def __enter__(self) -> Self:
        return self if self.__server else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address that it listens on, without a slash at its end.

        Raises:
            ConfigurationError: The server is not running.
        """
        if self.__server is None:
            name = type(self).__name__
            raise ConfigurationError(f"The {name} does not run.", hint="Call start() first.")
        return f"http://{LOOPBACK}:{self.__server.port}"

    @property
    def requests(self) -> Sequence[LoggedRequest]:
        """The requests so far, at most the latest 100,000."""
        return list(self.__log)

    @property
    def request_count(self) -> int:
        """The number of requests so far, without those to sign in (``faults.sign_in_path``)."""
        return self.__count

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """The secrets to mask in its log."""
        return ()

    def answer(self, request: Request) -> Answer:
        """Return the response to a request, before faults (default: from the routes).

        It may raise :class:`~deploycore.testing.messages.Refusal`.
        """
        found = route_of(self.__routes, request)
        if found is None:
            return text_answer(f"There is no {request.method} {request.path} here.\n", 404)
        function, names = found
        return function(request, **names)

    def logged(self, request: Request, answer: Answer) -> LoggedRequest:
        """Return the log entry of a request and its response. It is called before the response is
        sent."""
        path, query = self.masked(request.path), self.masked(request.query_string)
        return LoggedRequest(request.method, path, query, answer.status)

    def masked(self, text: str) -> str:
        """Return a text with the host's secrets masked, including those that it had earlier."""
        secrets = frozenset(self.secrets)
        with self.__counting:
            new = secrets.difference(self.__redactor.secrets)
            if new:
                self.__redactor = self.__redactor.extended(new)
            redactor = self.__redactor
        return redactor.mask(text)

    def __respond(self, request: Request) -> Answer:
        try:
            found = self.answer(request)
        except Refusal as refusal:
            found = refusal.answer
        except Exception:
            self.crashes.append(self.masked(traceback.format_exc()))
            found = text_answer(f"The host itself failed:\n{self.crashes[-1]}", 500)
        found = replace(found, delay=found.delay + self.latency)
        answer = self.faults.apply(request, found)
        for watch in list(self.watchers):
            watch(Exchange(_without_credentials(request), answer))
        self.__log.append(self.logged(request, answer))
        if not self.faults.is_sign_in(request.path):
            with self.__counting:
                self.__count += 1
        return answer


def _without_credentials(request: Request) -> Request:
    scheme = request.headers.get("authorization", "").partition(" ")[0]
    if not scheme:
        return request
    return replace(request, headers={**request.headers, "authorization": scheme})


def route_of(
    routes: Mapping[str, Route], request: Request
) -> tuple[Route, Mapping[str, str]] | None:
    """Find the route of a request, and the values of the names in its address.

    ``{name}`` matches one segment of the path, which is decoded and may contain encoded slashes.
    ``{name*}`` at the end matches all remaining segments, at least one. The first matching route is
    used.
    """
    for address, function in routes.items():
        method, _, path = address.partition(" ")
        if method == request.method:
            names = _fit(path.strip("/").split("/"), request.segments)
            if names is not None:
                return function, names
    return None


def _fit(pattern: list[str], segments: tuple[str, ...]) -> Mapping[str, str] | None:
    names = {}
    if pattern[-1].endswith("*}") and len(segments) >= len(pattern):
        rest = "/".join(segments[len(pattern) - 1 :])
        segments = (*segments[: len(pattern) - 1], rest)
    if len(pattern) != len(segments):
        return None
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            names[part.strip("{*}")] = segment
        elif part != segment:
            return None
    return names
