"""An HTTP host on loopback: a server, what goes wrong on purpose, and a log without secrets.

What it answers is up to a subclass, or to the routes that it is given::

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
"""Takes the request, and by name what the route's address has in braces."""


@dataclass(frozen=True)
class LoggedRequest:
    """A request that a host got, without any secret.

    Attributes:
        path: As it was sent, known secrets masked.
        query: Likewise.
    """

    method: str
    path: str
    query: str
    status: int


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, for code that checks them.

    Attributes:
        request: Its ``Authorization`` header has only the scheme.
    """

    request: Request
    answer: Answer


class LoopbackHost:
    """An HTTP host on 127.0.0.1.

    Args:
        routes: From ``METHOD /path/{name}/…`` to a function; see :func:`route_of`.
        port: Where to listen; 0 for any free port.
        latency: Seconds that every answer waits.

    Attributes:
        faults: What goes wrong on purpose.
        crashes: What went wrong in the host itself: tracebacks, without secrets.
        watchers: Called with each exchange of every host of the class, before its answer is sent,
            so that tests can check all of them against a description of the API. A subclass that
            is to be watched by itself has a list of its own.
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
        self.__redactor: tuple[tuple[SecretStr, ...], Redactor] = ((), Redactor())

    def start(self) -> Self:
        """Listen and serve.

        Raises:
            OSError: The port can't be listened on.
        """
        self.__server = HttpServer(self.__respond, port=self.__port)
        self.__server.start()
        return self

    def stop(self) -> None:
        """Close all connections; harmless when done already."""
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
        """Where it listens, without a trailing slash.

        Raises:
            ConfigurationError: It does not run.
        """
        if self.__server is None:
            name = type(self).__name__
            raise ConfigurationError(f"The {name} does not run.", hint="Call start() first.")
        return f"http://{LOOPBACK}:{self.__server.port}"

    @property
    def requests(self) -> Sequence[LoggedRequest]:
        """All requests so far, the latest 100,000 at most."""
        return list(self.__log)

    @property
    def request_count(self) -> int:
        """How many requests it got so far, without those to sign in (``faults.sign_in_path``)."""
        return self.__count

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """What its log masks."""
        return ()

    def answer(self, request: Request) -> Answer:
        """The answer to a request, before faults; by default from the routes.

        May raise :class:`~deploycore.testing.messages.Refusal`.
        """
        found = route_of(self.__routes, request)
        if found is None:
            return text_answer(f"There is no {request.method} {request.path} here.\n", 404)
        function, names = found
        return function(request, **names)

    def logged(self, request: Request, answer: Answer) -> LoggedRequest:
        """What is kept of an exchange; called before its answer is sent."""
        path, query = self.masked(request.path), self.masked(request.query_string)
        return LoggedRequest(request.method, path, query, answer.status)

    def masked(self, text: str) -> str:
        """The text without the host's secrets."""
        secrets = tuple(self.secrets)
        known, redactor = self.__redactor
        if secrets != known:
            redactor = Redactor(secrets)
            self.__redactor = (secrets, redactor)
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
    """The route that a request takes, and what stands in the place of its names.

    ``{name}`` takes one part of the path, decoded, whatever slashes were encoded in it;
    ``{name*}`` at the end takes all that is left, at least one part. The first route that fits
    is taken.
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
