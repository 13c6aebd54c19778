"""Sign in and out."""

from __future__ import annotations

from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from deploycore.server.accounts.accounts import COOKIE, Accounts
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]


async def sign_in(visit: Visit) -> Response:
    """Show how to sign in."""
    return visit.render("sign_in.html")


async def show_link(visit: Visit) -> Response:
    """Ask whether to use a one-time link: programs that preview addresses must not use it up."""
    return visit.render("sign_in_link.html", link=visit.path["link"])


async def use_link(visit: Visit) -> Response:
    """Sign in with a one-time link."""
    accounts = _accounts(visit)
    cookie = await run_in_threadpool(accounts.enter, SecretStr(visit.form.get("link", "")))
    if cookie is None:
        raise Refusal(
            403,
            "authentication_failed",
            "The link was used before, or is wrong.",
            hint="Restart the server for a new one.",
        )
    answer = visit.go("/")
    answer.set_cookie(
        COOKIE,
        cookie.get_secret_value(),
        path="/",
        httponly=True,
        secure=visit.request.url.scheme == "https",
        samesite="lax",
    )
    return answer


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    assert visit.visitor is not None  # noqa: S101  the page's role asks for one
    await run_in_threadpool(_accounts(visit).leave, visit.visitor)
    answer = visit.go("/sign-in")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return answer


def _accounts(visit: Visit) -> Accounts:
    accounts: Accounts = visit.request.scope["deploycore.accounts"]
    return accounts


PAGES = (
    Page("GET", "/sign-in", None, sign_in),
    Page("GET", "/sign-in/link/{link}", None, show_link),
    Page("POST", "/sign-in/link", None, use_link),
    Page("POST", "/sign-out", "read", sign_out),
)
