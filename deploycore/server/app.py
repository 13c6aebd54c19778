"""The ASGI application: the REST API, the dashboard, and the webhook endpoint.

The event loop only reads requests and sends responses. Database queries and plugin calls run in
threads. Invalid requests are rejected first, and cheaply: unknown applications, wrong tokens and
bodies that are too large are detected in memory, before anything else is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploycore.errors import DeploycoreError, with_next_step
from deploycore.events import WebhookDelivery
from deploycore.installation import Installation
from deploycore.server.access import Access
from deploycore.server.accounts import Accounts
from deploycore.server.api import Api
from deploycore.server.bodies import Room, read_body
from deploycore.server.dashboard import Dashboard
from deploycore.server.dashboard.errors import ErrorPages, unexpected_error
from deploycore.server.deliveries import Acceptor
from deploycore.server.edge import ROUTE, Edge, note_application
from deploycore.server.feed import Feed
from deploycore.server.followers import Followers
from deploycore.server.health import Readiness
from deploycore.server.hosts import Hosts
from deploycore.server.known_webhooks import Directory
from deploycore.server.listings import Listings
from deploycore.server.metrics import Metrics
from deploycore.server.openapi import WEBHOOK_PATH, openapi_document
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal, json_response, problem_of
from deploycore.server.quiet import QuietLogger
from deploycore.server.recorder import Recorder
from deploycore.server.rest.service import Rest
from deploycore.server.rest.table import OPERATIONS
from deploycore.server.rollbacks import Rollbacks
from deploycore.server.senders import sender_of
from deploycore.server.verdicts import (
    HINTS,
    MESSAGES,
    UNAVAILABLE,
    UNKNOWN_APPLICATION,
    Verdict,
)
from deploycore.server.views import Accepted
from deploycore.worker import Worker

__all__ = ["Application", "create_application"]

logger = logging.getLogger(__name__)

_WEBHOOK_THREADS = 2
"""More threads would wait for each other and delay the event loop, because each needs the
interpreter's lock again after every call of the database."""

_WEBHOOK_THREADS_OF_MANY_WRITERS = 8
"""The number of threads if several transactions can write at once. Deployments in the same process
use the interpreter's lock too, so with fewer threads, deliveries would wait for deployments. In
PostgreSQL, one thread may also wait for a locked row while the others store deliveries."""

_OPENING_THREADS = 8
"""The number of threads that open plugins. A plugin may hang when it is opened; this must not delay
deliveries for other plugins."""

T = TypeVar("T")


@dataclass(frozen=True)
class Application:
    """The server's ASGI application, and what must be closed with it.

    Attributes:
        asgi: The application for an ASGI server.
        recorder: Records the results of deliveries. Start it when the server responds.
        accounts: The users of the dashboard.
        rest: The operations of the REST API.
    """

    asgi: Starlette
    followers: Followers
    feed: Feed
    rollbacks: Rollbacks
    directory: Directory
    acceptor: Acceptor
    recorder: Recorder
    listings: Listings
    accounts: Accounts
    rest: Rest

    def begin_to_stop(self) -> None:
        """Disconnect clients that follow logs or events. A signal handler may call it."""
        self.followers.stop()
        self.feed.stop()

    def close(self, drain: float = 0.0) -> None:
        """Stop rollbacks and close providers, after the last request.

        Args:
            drain: Seconds that rollbacks have to finish.
        """
        self.rollbacks.stop(drain)
        self.directory.close()
        self.listings.close()


def create_application(
    installation: Installation,
    options: ServerOptions | None = None,
    *,
    worker: Worker | None = None,
) -> Application:
    """Create the application. This opens and starts nothing.

    Args:
        worker: The worker of this process, for readiness and metrics.
    """
    options = options or ServerOptions()
    directory, rollbacks = Directory(installation), Rollbacks(installation)
    followers = Followers(installation, most=options.followers_most)
    feed = Feed(installation, most=options.followers_most)
    metrics = Metrics(installation.store, worker)
    readiness = Readiness(installation, worker)
    recorder, hosts = Recorder(installation.store), Hosts()
    listings = Listings(installation.open_provider, hosts)
    accounts = Accounts(installation, openid=options.openid)
    api = Api(
        installation,
        directory=directory,
        rollbacks=rollbacks,
        recorder=recorder,
        hosts=hosts,
        listings=listings,
        accounts=accounts,
        readiness=readiness,
        metrics=metrics,
        document=openapi_document,
        targets=options.targets,
    )
    acceptor = Acceptor(installation, directory, replay_window=options.replay_window)
    rest = Rest(api, Access(installation.store), accounts, followers, feed, options)
    public_url = installation.settings.public_url
    errors = ErrorPages(accounts)
    dashboard = Dashboard(rest, accounts, options, public_url=public_url)
    has_few = worker is None and installation.store.has_one_writer
    threads = _WEBHOOK_THREADS if has_few else _WEBHOOK_THREADS_OF_MANY_WRITERS
    webhooks = _Webhooks(acceptor, directory, recorder, metrics, options, threads=threads)
    asgi = Starlette(
        routes=[
            Route(WEBHOOK_PATH, webhooks.receive, methods=["POST"]),
            *(Route(each.path, rest.endpoint(each), methods=[each.method]) for each in OPERATIONS),
            *dashboard.routes(),
        ],
        middleware=[
            Middleware(Edge, options=options, metrics=metrics, unexpected=unexpected_error)
        ],
        exception_handlers={Refusal: errors.tell, HTTPException: errors.tell},
    )
    asgi.router.redirect_slashes = False  # a path is either right or wrong
    return Application(
        asgi, followers, feed, rollbacks, directory, acceptor, recorder, listings, accounts, rest
    )


class _Webhooks:
    """The endpoint for webhook deliveries."""

    def __init__(
        self,
        acceptor: Acceptor,
        directory: Directory,
        recorder: Recorder,
        metrics: Metrics,
        options: ServerOptions,
        *,
        threads: int,
    ) -> None:
        self._acceptor = acceptor
        self._directory = directory
        self._recorder = recorder
        self._metrics = metrics
        self._options = options
        self._threads = CapacityLimiter(threads)
        self._opening = CapacityLimiter(_OPENING_THREADS)
        most = options.bodies_bytes_most
        self._room = Room(most, max(most // 8, min(most, options.body_bytes_most)))
        self._quiet = QuietLogger(logger)

    async def receive(self, request: Request) -> Response:
        """Answer one delivery."""
        request.scope[ROUTE] = WEBHOOK_PATH
        name = request.path_params["application"]
        note_application(name)
        try:
            verdict = await self._judged(request, name)
        except Refusal as refusal:
            self._count(request, name, Verdict(refusal.status, "refused", refusal.code))
            if refusal.status == 503:
                self._acceptor.miss(name)
            raise
        self._count(request, name, verdict)
        if verdict.outcome != "refused":
            told = Accepted(
                status=verdict.outcome,
                trigger=verdict.trigger,
                reason=verdict.reason or None,
                message=verdict.message or None,
            )
            answer = json_response(told.model_dump(exclude_none=True), status=verdict.status)
            if verdict.shows_pushes_arrive and self._acceptor.is_to_be_noted(name):
                answer.background = BackgroundTask(self._acceptor.note_delivery, name)
            return answer
        return problem_of(
            Refusal(
                verdict.status,
                verdict.reason,
                verdict.message or MESSAGES[verdict.reason],
                hint=verdict.hint or HINTS.get(verdict.reason, ""),
                headers={"Retry-After": "60"} if verdict.status == 503 else {},
            )
        )

    async def _judged(self, request: Request, name: str) -> Verdict:
        directory = self._directory
        if not directory.is_known(name):
            refusal = await self._in_thread(lambda: self._refusal_of_missing(name))
            if refusal is not None:
                return refusal
        sender = sender_of(request.client.host if request.client else "")
        with self._room.share(sender) as share:
            body = await read_body(request, self._options, share)
            delivery = WebhookDelivery(_joined_headers(request), body)
            if not directory.is_open(name):
                await to_thread.run_sync(lambda: self._open(name), limiter=self._opening)
            came_at = time.monotonic()
            return await self._in_thread(
                lambda: self._acceptor.accept(name, delivery, came_at=came_at)
            )

    def _refusal_of_missing(self, name: str) -> Verdict | None:
        try:
            return UNKNOWN_APPLICATION if self._directory.find(name) is None else None
        except DeploycoreError as error:
            self._quiet.warn(
                "directory", "webhook deliveries cannot be checked: %s", with_next_step(error)
            )
            return UNAVAILABLE

    def _open(self, name: str) -> None:
        with suppress(DeploycoreError):  # the error is reported where the provider is needed
            entry = self._directory.find(name)
            if entry is not None:
                self._directory.provider(entry)

    def _count(self, request: Request, name: str, verdict: Verdict) -> None:
        self._metrics.webhooks.labels(verdict.outcome, verdict.reason).inc()
        if self._directory.is_known(name):
            sender = request.client.host if request.client else ""
            self._recorder.note(name, verdict, sender)
        if verdict.outcome == "refused":
            reason = verdict.reason
            self._quiet.warn(reason, "a webhook delivery was rejected: %s", reason)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Webhooks and the API have separate threads, so that neither delays the other.
        return await to_thread.run_sync(work, limiter=self._threads)


def _joined_headers(request: Request) -> dict[str, str]:
    """Return the headers by name. Headers with the same name are joined (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
