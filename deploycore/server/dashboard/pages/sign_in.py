"""Sign in and out."""

from __future__ import annotations

from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from deploycore.server.accounts.cookies import (
    ISSUER,
    SESSION,
    drop_cookie,
    read_cookie,
    set_cookie,
)
from deploycore.server.accounts.issuer_sign_in import ANSWER_PATH
from deploycore.server.accounts.passwords import LENGTH_LEAST
from deploycore.server.accounts.started import Started
from deploycore.server.dashboard.addresses import own_page
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal
from deploycore.store.sessions import LIFETIME

__all__ = ["PAGES"]

_ISSUER_SECONDS = 600


async def sign_in(visit: Visit) -> Response:
    """Show how to sign in."""
    following = own_page(visit.query.get("next", "/"))
    if visit.visitor is not None:
        return RedirectResponse(following, status_code=303)
    return _sign_in_page(visit, following)


async def use_password(visit: Visit) -> Response:
    """Sign in with a password."""
    following = own_page(visit.form.get("next", "/"))
    name, password = visit.form.get("name", "").strip(), visit.form.get("password", "")
    try:
        cookie = await visit.accounts.sign_in(visit.request, name, SecretStr(password))
    except Refusal as refusal:
        return _sign_in_page(visit, following, refusal=refusal)
    return _signed_in(visit, cookie, following)


async def show_link(visit: Visit) -> Response:
    """Ask for a password before a one-time link is used. Programs that preview addresses do not
    use it up."""
    return await _link_page(visit, visit.path["link"])


async def use_link(visit: Visit) -> Response:
    """Sign in with a one-time link and a new password."""
    link, name = visit.form.get("link", ""), visit.form.get("name", "").strip()
    password = visit.form.get("password", "")
    if password != visit.form.get("again", ""):
        refusal = Refusal(
            422,
            "configuration",
            "The passwords are not the same.",
            hint="Enter the new password twice.",
            details={"field": "again"},
        )
        return await _link_page(visit, link, refusal=refusal)
    try:
        cookie = await visit.accounts.use_link(
            visit.request, SecretStr(link), name, SecretStr(password)
        )
    except Refusal as refusal:
        if refusal.status != 422:
            raise
        return await _link_page(visit, link, refusal=refusal)
    return _signed_in(visit, cookie, "/")


async def go_to_issuer(visit: Visit) -> Response:
    """Send the browser to the issuer."""
    following = own_page(visit.form.get("next", "/"))
    if visit.accounts.issuer is None:
        raise Refusal(
            404,
            "not_found",
            "This server has no issuer to sign in at.",
            hint="Sign in with a password, or set DEPLOYCORE_OIDC_ISSUER for the server.",
        )
    try:
        address, started = await visit.accounts.issuer.begin(visit.request, following)
    except Refusal as refusal:
        return _sign_in_page(visit, following, refusal=refusal)
    # Respond with a page that leads on, because the policy allows forms to lead only to this
    # server, even by a redirect.
    answer = visit.render("sign_in_issuer.html", address=address)
    answer.headers["Refresh"] = f"0; url={address}"
    set_cookie(answer, visit.request, ISSUER, started.as_cookie(), seconds=_ISSUER_SECONDS)
    return answer


async def come_from_issuer(visit: Visit) -> Response:
    """Sign in a user who comes back from the issuer."""
    started = Started.of_cookie(read_cookie(visit.request, ISSUER))
    try:
        if visit.accounts.issuer is None:
            return visit.go("/sign-in")
        cookie = await visit.accounts.sign_in_at_issuer(visit.request, started)
    except Refusal as refusal:
        answer = _sign_in_page(visit, "/", refusal=refusal)
    else:
        answer = _signed_in(visit, cookie, own_page(started.following if started else "/"))
    drop_cookie(answer, visit.request, ISSUER)
    return answer


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    assert visit.visitor is not None  # noqa: S101  the page's role asks for one
    await run_in_threadpool(visit.accounts.leave, visit.visitor)
    answer = visit.go("/sign-in")
    drop_cookie(answer, visit.request, SESSION)
    return answer


def _sign_in_page(visit: Visit, following: str, *, refusal: Refusal | None = None) -> Response:
    issuer = visit.accounts.issuer
    answer = visit.render(
        "sign_in.html",
        status=refusal.status if refusal else 200,
        following=following,
        has_ended="ended" in visit.query,
        refusal=refusal,
        issuer=issuer.settings.label if issuer else None,
    )
    answer.headers.update(refusal.headers if refusal else {})
    return answer


async def _link_page(visit: Visit, link: str, *, refusal: Refusal | None = None) -> Response:
    user = await run_in_threadpool(visit.accounts.link_user, SecretStr(link))
    if user is None:
        raise Refusal(
            403,
            "authentication_failed",
            "The link was used before, has expired, or is wrong.",
            hint="For a new one, run on the server's machine: deploycore user link NAME. If there"
            " is no administrator yet, restart the server.",
        )
    return visit.render(
        "sign_in_link.html",
        status=refusal.status if refusal else 200,
        link=link,
        user=user,
        refusal=refusal,
        least=LENGTH_LEAST,
    )


def _signed_in(visit: Visit, cookie: SecretStr, following: str) -> Response:
    answer = RedirectResponse(following, status_code=303)
    seconds = round(LIFETIME.total_seconds())
    set_cookie(answer, visit.request, SESSION, cookie, seconds=seconds)
    return answer


PAGES = (
    Page("GET", "/sign-in", None, sign_in),
    Page("POST", "/sign-in", None, use_password),
    Page("GET", "/sign-in/link/{link}", None, show_link),
    Page("POST", "/sign-in/link", None, use_link),
    Page("POST", "/sign-in/issuer", None, go_to_issuer),
    Page("GET", ANSWER_PATH, None, come_from_issuer),
    Page("POST", "/sign-out", "read", sign_out),
)
