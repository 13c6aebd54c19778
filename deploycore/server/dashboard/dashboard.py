"""The routes of the dashboard: pages, forms and static files."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deploycore.errors import DeploycoreError
from deploycore.server.accounts import Accounts, Visitor
from deploycore.server.accounts.cookies import (
    SESSION,
    VISIT,
    form_token_of,
    read_cookie,
    set_cookie,
)
from deploycore.server.dashboard.errors import error_page
from deploycore.server.dashboard.forms import Form, read_form, refuse_foreign, refuse_forged
from deploycore.server.dashboard.links import with_query
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.rendering import static_files
from deploycore.server.dashboard.table import PAGES
from deploycore.server.dashboard.visit import Visit
from deploycore.server.edge import ROUTE, note_application
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal, refused_by
from deploycore.server.rest.service import Rest, refuse_below
from deploycore.store.token_digests import new_secret

__all__ = ["Dashboard"]

_STATIC = "/static/{name}"
_SIGN_IN_BYTES = 64 * 1024
"""The maximum size of the sign-in form, which anybody may send over any number of connections."""

_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
}


class Dashboard:
    """The pages of the table, behind the session of a user.

    Args:
        public_url: The address of the server for its users, if it is set.
    """

    def __init__(
        self, rest: Rest, accounts: Accounts, options: ServerOptions, *, public_url: str | None
    ) -> None:
        self._rest = rest
        self._accounts = accounts
        self._options = options
        most = min(options.body_bytes_most, _SIGN_IN_BYTES)
        self._options_of_anybody = dataclasses.replace(options, body_bytes_most=most)
        self._public_url = public_url
        self._hosts = frozenset([urlsplit(public_url).netloc] if public_url else [])

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(_STATIC, _send_static, methods=["GET"]),
            *(Route(each.path, self._endpoint(each), methods=[each.method]) for each in PAGES),
        ]

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            request.scope[ROUTE] = page.path
            note_application(request.path_params.get("application"))
            visitor, form_token = None, SecretStr("")
            new_visit = None
            request.scope["deploycore.public_url"] = self._public_url
            try:
                visitor = await self._accounts.visitor(request)
                if visitor is None and page.role is not None:
                    return _to_sign_in(request)
                form_token, new_visit = _form_token(request, visitor)
                form = await self._admitted(request, page, visitor, form_token)
                visit = Visit(
                    request,
                    self._rest,
                    visitor,
                    form,
                    accounts=self._accounts,
                    form_token=form_token,
                )
                response = await page.render(visit)
            except Refusal as refusal:
                return error_page(request, visitor, refusal, form_token)
            except DeploycoreError as error:
                return error_page(request, visitor, refused_by(error), form_token)
            if new_visit is not None:
                set_cookie(response, request, VISIT, new_visit)
            return response

        return respond

    async def _admitted(
        self, request: Request, page: Page, visitor: Visitor | None, form_token: SecretStr
    ) -> Form:
        """Return the form of a request whose user may see the page, and which is not forged.

        Refused forms of users are recorded in the audit log.
        """
        try:
            if visitor is not None and page.role is not None:
                refuse_below(visitor.caller, page.role)
            if page.method != "POST":
                return Form()
            refuse_foreign(request, own_hosts=self._hosts)
            options = self._options if page.role is not None else self._options_of_anybody
            form = await read_form(request, options)
            refuse_forged(form, form_token)
            return form
        except Refusal as refusal:
            if visitor is not None and page.method == "POST":
                await run_in_threadpool(
                    self._accounts.auditor.note_operation,
                    visitor.caller,
                    page.render.__name__,
                    page.path,
                    parameters=request.path_params,
                    body={},
                    outcome=refusal.code,
                )
            raise


def _form_token(request: Request, visitor: Visitor | None) -> tuple[SecretStr, SecretStr | None]:
    """Return the form token for a page, and a new cookie that it belongs to, if the browser has
    none yet."""
    if visitor is not None:
        return visitor.form_token, None
    known = read_cookie(request, VISIT)
    if known is not None:
        return form_token_of(known), None
    made = new_secret()
    return form_token_of(made), made


def _to_sign_in(request: Request) -> Response:
    """Send the browser to the sign-in page, and then back to this page. The content of a form has
    to be sent again."""
    path = request.url.path if request.method == "GET" else "/"
    if request.method == "GET" and request.url.query:
        path += f"?{request.url.query}"
    query = {"next": path} if path != "/" else {}
    if read_cookie(request, SESSION) is not None:
        query["ended"] = "yes"
    return RedirectResponse(with_query("/sign-in", query), status_code=303)


async def _send_static(request: Request) -> Response:
    request.scope[ROUTE] = _STATIC
    name = request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        raise Refusal(404, "not_found", "The file does not exist.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(content, headers=headers, media_type=media_type)
