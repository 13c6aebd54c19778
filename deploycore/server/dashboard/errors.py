"""Errors for people: a page, wherever a browser asks; programs get problem details.

A browser also asks for what is no page: a path with a typing error, or one that only forms use.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deploycore.server.accounts import Accounts, Visitor
from deploycore.server.api import PREFIX
from deploycore.server.dashboard.forms import Form
from deploycore.server.dashboard.rendering import render
from deploycore.server.problems import Refusal, problem_of

__all__ = ["ErrorPages", "error_page", "unexpected_error", "wants_page"]

_OF_PROGRAMS = ("/api/", "/webhooks/")
_PROBES = ("/api", "/healthz", "/readyz", "/metrics")
_TITLES: Mapping[int, str] = {
    403: "Permission denied",
    404: "Not found",
    405: "Only for forms",
    429: "Too many requests",
    500: "Unexpected error",
    503: "Not available",
}
_CODES = {404: "not_found", 405: "method_not_allowed"}
_PAGES: Mapping[int, tuple[str, str]] = {
    404: ("There is no page at this address.", "Check the address for typing errors."),
    405: (
        "This address only receives forms. It has no page of its own.",
        "Go back to the page with the form, and use its button.",
    ),
}
"""What the router refuses, in words for people: the message and the next step."""


def wants_page(request: Request) -> bool:
    """Whether a page is the answer to an error: a browser asks, and not for an operation."""
    path = request.url.path
    if path.startswith(_OF_PROGRAMS) or path in _PROBES or path == "/api":
        return False
    accepted = _accepted(request.headers.get("accept", ""))
    as_page = accepted.get("text/html", 0.0)
    return as_page > 0 and as_page >= accepted.get("application/json", 0.0)


def _accepted(header: str) -> dict[str, float]:
    """The weights of the media types that a client names (RFC 9110, 12.5.1)."""
    found = {}
    for each in header.split(","):
        media_type, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[media_type] = float(weight)
        except ValueError:
            found[media_type] = 0.0
    return found


class ErrorPages:
    """Answers what is refused outside of pages: static files, and what the router does not know.

    Args:
        accounts: Tells who is signed in, for the navigation of the page.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def tell(self, request: Request, error: Exception) -> Response:
        """Return the answer to an error, as a page or as problem details."""
        is_page = wants_page(request)
        if isinstance(error, HTTPException):
            refusal = _refused_by_router(error, is_page=is_page)
        else:
            assert isinstance(error, Refusal)  # noqa: S101  for type checkers
            refusal = error
        if not is_page:
            return problem_of(refusal)
        try:
            visitor = await self._accounts.visitor(request)
        except Refusal:
            visitor = None  # the database cannot be used, and this page does not need it
        token = SecretStr("") if visitor is None else visitor.form_token
        return error_page(request, visitor, refusal, token)


def _refused_by_router(error: HTTPException, *, is_page: bool) -> Refusal:
    """What the router refuses: no such path, or not with this method."""
    message, hint = (
        f"{error.detail}.",
        f"See the paths and their methods: GET {PREFIX}/openapi.json",
    )
    if is_page:
        message, hint = _PAGES.get(error.status_code, (message, ""))
    code = _CODES.get(error.status_code, "error")
    return Refusal(error.status_code, code, message, hint=hint, headers=error.headers)


def error_page(
    request: Request, visitor: Visitor | None, refusal: Refusal, form_token: SecretStr
) -> Response:
    """Return the page that tells an error, its next step, and ways to go on.

    Args:
        visitor: Who is signed in; ``None`` if nobody is, or it is not known.
        form_token: What the form to sign out must hold.
    """
    context = {
        "visitor": visitor,
        "here": request.url.path,
        "form": Form(),
        "message": "",
        "form_token": form_token.get_secret_value(),
        "refusal": refusal,
        "title": _TITLES.get(refusal.status, "The request failed"),
    }
    answer = render("error.html", context, status=refusal.status)
    answer.headers.update(refusal.headers)
    return answer


def unexpected_error(request: Request, request_id: str) -> Response:
    """Return the answer to an unexpected error. Nothing is asked for it: anything may be broken.

    Args:
        request_id: The id of the request, as the log has it.
    """
    message = "An unexpected error occurred."
    if wants_page(request):
        hint = (
            f"Try again. If it fails again, look for the request {request_id} in the server's log."
        )
        return error_page(request, None, Refusal(500, "error", message, hint=hint), SecretStr(""))
    hint = "Find the request in the server's log by the answer's X-Request-ID."
    return problem_of(Refusal(500, "error", message, hint=hint))
