"""Answers the requests of the table's operations: over HTTP, and for the dashboard's pages.

Both are authorized, checked and run in the same way, so the dashboard cannot do more than a client.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from deploycore.errors import DeploycoreError, with_next_step
from deploycore.server.access import Access
from deploycore.server.accounts import Accounts, Visitor
from deploycore.server.api import Api, Call
from deploycore.server.bodies import read_json
from deploycore.server.callers import Caller, may
from deploycore.server.checking import checked
from deploycore.server.edge import ROUTE, note_application
from deploycore.server.feed import Feed, Filter, Position
from deploycore.server.followers import Followers, position_of
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal, refused_by
from deploycore.server.quiet import QuietLogger
from deploycore.server.rest.events import list_events
from deploycore.server.rest.operation import Operation
from deploycore.server.rest.table import OPERATIONS
from deploycore.store import Role
from deploycore.store.audit import DONE

__all__ = ["Rest", "refuse_below"]

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_OPERATIONS = {(each.method, each.path): each for each in OPERATIONS}


class Rest:
    """Runs the operations in the table."""

    def __init__(
        self,
        api: Api,
        access: Access,
        accounts: Accounts,
        followers: Followers,
        feed: Feed,
        options: ServerOptions,
    ) -> None:
        self._api = api
        self._access = access
        self._accounts = accounts
        self._followers = followers
        self._feed = feed
        self._options = options
        self._quiet = QuietLogger(logger)

    def endpoint(self, operation: Operation) -> Endpoint:
        """Return the function that answers the requests of one operation over HTTP."""

        async def respond(request: Request) -> Response:
            request.scope[ROUTE] = operation.path
            note_application(request.path_params.get("application"))
            visitor, caller = await self._caller(request, operation)
            body: Mapping[str, Any] = {}
            try:
                query = checked(operation.query, request.query_params)
                body = await read_json(request, self._options) if operation.body else {}
            except Refusal as refusal:
                call = Call(request.path_params, None, body, caller)
                await run_in_threadpool(self._note, operation, call, refusal.code)
                raise
            call = Call(request.path_params, query, body, caller)
            if operation.can_follow and _wants_events(request):
                return await self._followed(request, operation, call, visitor)
            # it must respond even while all threads wait for something
            if operation.run is Api.health:
                return self._api.health(call)
            return await run_in_threadpool(self._run, operation, call)

        return respond

    async def call(
        self,
        caller: Caller,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation for a page of the dashboard.

        Args:
            path: The operation's path as in the table, with its parameters in braces.
            parameters: The values of the path's parameters.
            query: The query's parameters. Those that are ``None`` or empty are left out.
            body: The body.

        Returns:
            The JSON of the response; ``None`` if it has no content.

        Raises:
            Refusal: The caller's role is too low (403), or as over HTTP.
        """
        operation = _OPERATIONS[method, path]
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        try:
            if operation.role is not None:
                refuse_below(caller, operation.role)
            checked_query = checked(operation.query, given)
        except Refusal as refusal:
            call = Call(parameters or {}, None, body or {}, caller)
            await run_in_threadpool(self._note, operation, call, refusal.code)
            raise
        call = Call(parameters or {}, checked_query, body or {}, caller)
        response = await run_in_threadpool(self._run, operation, call)
        return json.loads(bytes(response.body)) if response.body else None

    async def _caller(
        self, request: Request, operation: Operation
    ) -> tuple[Visitor | None, Caller | None]:
        """Return who sends a request: a user's session in a browser, or a token.

        A session may only read here. Changes need the dashboard's forms, which contain a token
        against forged requests.
        """
        role = operation.role
        if role is None or (operation.run is Api.metrics and self._options.metrics_open):
            return None, None
        authorization = request.headers.get("authorization")
        if authorization is None and request.method == "GET":
            visitor = await self._accounts.visitor(request)
            if visitor is not None:
                refuse_below(visitor.caller, role)
                return visitor, visitor.caller
        if not self._access.is_fresh:
            try:
                await run_in_threadpool(self._access.refresh)
            except DeploycoreError as error:
                self._quiet.warn("tokens", "tokens cannot be read: %s", with_next_step(error))
                raise Refusal(
                    503,
                    error.code,
                    "Tokens cannot be read now.",
                    hint="Send the request again in 30 seconds.",
                    headers={"Retry-After": "30"},
                ) from None
        try:
            return None, Caller.of_token(self._access.bearer(authorization, role))
        except Refusal as refusal:
            token = self._access.holder(authorization)
            if token is not None:
                call = Call(request.path_params, None, {}, Caller.of_token(token))
                await run_in_threadpool(self._note, operation, call, refusal.code)
            raise

    def _run(self, operation: Operation, call: Call) -> Response:
        if call.caller is not None and call.caller.token is not None:
            self._access.note_use(call.caller.token)
        try:
            response = operation.run(self._api, call)
        except DeploycoreError as error:
            self._note(operation, call, error.code)
            raise refused_by(error) from None
        except Refusal as refusal:
            self._note(operation, call, refusal.code)
            raise
        if response.status_code != operation.changes_nothing_at:
            self._note(operation, call, DONE)
        return response

    def _note(self, operation: Operation, call: Call, outcome: str) -> None:
        """Record the result of an operation that changes something in the audit log."""
        is_test = getattr(call.query, "dry_run", False) or _is_test(operation, call.body)
        if operation.method != "GET" and call.caller is not None and not is_test:
            self._accounts.auditor.note_operation(
                call.caller,
                operation.run.__name__,
                operation.path,
                parameters=call.path,
                body=call.body,
                outcome=outcome,
            )

    async def _followed(
        self, request: Request, operation: Operation, call: Call, visitor: Visitor | None
    ) -> Response:
        last = request.headers.get("last-event-id")
        token = call.caller.token if call.caller else None

        def may_stay() -> bool:
            if visitor is not None:
                return self._accounts.still_holds(visitor)
            return token is None or self._access.still_holds(token)

        if operation.run is list_events:
            position = Position.of(last) or Position.of(call.query.after)
            wanted = Filter(call.query.application, call.query.kinds)
            return self._feed.answer(position, may_stay=may_stay, owner=call.actor, wanted=wanted)
        record = await run_in_threadpool(self._api.deployment, call.path["deployment"])
        return self._followers.answer(
            record, position_of(last) or call.query.after, may_stay=may_stay, owner=call.actor
        )


def refuse_below(caller: Caller, wanted: Role) -> None:
    """Refuse a caller whose role does not include a required one.

    Raises:
        Refusal: The role is too low (403).
    """
    if not may(caller.role, wanted):
        raise Refusal(
            403,
            "permission_denied",
            f"The {caller.kind} {caller.name} has the role {caller.role}, but {wanted} is"
            " required.",
            hint="Ask an administrator for that role.",
            details={"role": caller.role, "wanted": wanted},
        )


def _is_test(operation: Operation, body: Mapping[str, Any]) -> bool:
    """Whether a body requests a dry run."""
    fields = operation.body.model_fields if operation.body else {}
    return "dry_run" in fields and body.get("dry_run") is True


def _wants_events(request: Request) -> bool:
    return request.method == "GET" and "text/event-stream" in request.headers.get("accept", "")
