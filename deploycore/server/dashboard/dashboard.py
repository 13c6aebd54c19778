"""The routes of the dashboard: pages, forms and static files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deploycore.server.accounts import Accounts, Visitor
from deploycore.server.dashboard.forms import Form, read_form, refuse_forged
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.rendering import render, static_files
from deploycore.server.dashboard.table import PAGES
from deploycore.server.dashboard.visit import Visit
from deploycore.server.edge import ROUTE, note_application
from deploycore.server.options import ServerOptions
from deploycore.server.problems import Refusal
from deploycore.server.rest.service import Rest, refuse_below

__all__ = ["Dashboard"]

_STATIC = "/static/{name}"
_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
}


class Dashboard:
    """The pages of the table, behind the session of a user."""

    def __init__(self, rest: Rest, accounts: Accounts, options: ServerOptions) -> None:
        self._rest = rest
        self._accounts = accounts
        self._options = options

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(_STATIC, _send_static, methods=["GET"]),
            *(
                Route(each.path, self._endpoint(each), methods=[each.method])
                for each in sorted(PAGES, key=_order)
            ),
        ]

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            request.scope[ROUTE] = page.path
            note_application(request.path_params.get("application"))
            request.scope["deploycore.accounts"] = self._accounts
            visitor = await self._accounts.visitor(request)
            try:
                if page.role is not None:
                    if visitor is None:
                        return _to_sign_in(request)
                    refuse_below(visitor.caller, page.role)
                form = await self._form(request, page, visitor)
                return await page.render(Visit(request, self._rest, visitor, form))
            except Refusal as refusal:
                return _error_page(request, visitor, refusal)

        return respond

    async def _form(self, request: Request, page: Page, visitor: Visitor | None) -> Form:
        if page.method != "POST":
            return Form()
        form = await read_form(request, self._options)
        if visitor is not None and page.role is not None:
            refuse_forged(form, visitor)
        return form


def _order(page: Page) -> list[bool]:
    """Fixed parts of paths before parameters: ``/applications/new`` is the page, no application."""
    return [part.startswith("{") for part in page.path.split("/")]


def _to_sign_in(request: Request) -> Response:
    """Have somebody sign in, and come back to the page; what a form held has to be sent again."""
    path = request.url.path if request.method == "GET" else "/"
    back = f"?{urlencode({'next': path})}" if path != "/" else ""
    return RedirectResponse(f"/sign-in{back}", status_code=303)


def _error_page(request: Request, visitor: Visitor | None, refusal: Refusal) -> Response:
    context = {
        "visitor": visitor,
        "here": request.url.path,
        "form": Form(),
        "message": "",
        "refusal": refusal,
    }
    answer = render("error.html", context, status=refusal.status)
    answer.headers.update(refusal.headers)
    return answer


async def _send_static(request: Request) -> Response:
    request.scope[ROUTE] = _STATIC
    name = request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        raise Refusal(404, "not_found", "There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(content, headers=headers, media_type=media_type)
