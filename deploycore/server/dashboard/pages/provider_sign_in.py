"""Sign in to a git host that issues tokens to people, with the browser that shows the dashboard."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import Response

from deploycore.configuration import is_loopback
from deploycore.credentials.authorize import CALLBACK
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.pages.providers import page_of
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES", "redirect_uri_of"]


async def authorize(visit: Visit) -> Response:
    """Show how to sign in, or the sign-in that has begun."""
    return await _shown(visit, visit.path["provider"])


async def begin(visit: Visit) -> Response:
    """Begin a sign-in. The page that follows has the link to the git host.

    A redirect to the host from here would be blocked, because the content security policy allows
    forms to lead only to this server.
    """
    name, body = visit.path["provider"], {}
    if visit.form.get("way") == "redirect":
        body["redirect_uri"] = redirect_uri_of(visit)
    try:
        begun = await visit.ask("POST", "/providers/{provider}/sign-ins", provider=name, body=body)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        return await _shown(visit, name, failure=refusal)
    return visit.go(f"{page_of(name)}/authorize", sign_in=begun["id"])


async def show_again(visit: Visit) -> Response:
    """Show how to sign in, if the address of a form that failed is opened again."""
    return visit.go(f"{page_of(visit.path['provider'])}/authorize")


async def finish(visit: Visit) -> Response:
    """Finish a sign-in with a pasted address, or ask whether a code was entered."""
    name, sign_in = visit.path["provider"], visit.form.get("sign_in", "")[:100]
    given = visit.form.get("answer", "").strip()
    try:
        found = await visit.ask(
            "POST",
            "/providers/{provider}/sign-ins/{sign_in}/finish",
            provider=name,
            sign_in=sign_in or "none",
            body={"answer": given} if given else {},
        )
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        return await _shown(visit, name, failure=refusal)
    if found["is_done"]:
        return visit.go(page_of(name), done="provider-authorized")
    return visit.go(f"{page_of(name)}/authorize", sign_in=sign_in, waiting="1")


async def receive(visit: Visit) -> Response:
    """Finish a sign-in with the response in the address that the git host redirected to.

    Only the user who has begun the sign-in can finish it, and its state is accepted once.
    """
    state = visit.query.get("state", "")[:200] or "none"
    try:
        begun = await visit.ask("GET", "/sign-ins/{sign_in}", sign_in=state)
    except Refusal as refusal:
        return visit.render("provider_refused.html", failure=refusal, status=422)
    name, answer = begun["provider"], f"?{visit.request.url.query}"
    try:
        await visit.ask(
            "POST",
            "/providers/{provider}/sign-ins/{sign_in}/finish",
            provider=name,
            sign_in=state,
            body={"answer": answer},
        )
    except Refusal as refusal:
        return await _shown(visit, name, failure=refusal)
    return visit.go(page_of(name), done="provider-authorized")


async def _shown(visit: Visit, name: str, *, failure: Refusal | None = None) -> Response:
    detail = await visit.ask("GET", "/providers/{provider}", provider=name)
    redirect_uri = redirect_uri_of(visit)
    begun, wanted = None, visit.query.get("sign_in", "") or visit.form.get("sign_in", "")
    if wanted:
        try:
            begun = await visit.ask("GET", "/sign-ins/{sign_in}", sign_in=wanted[:200])
        except Refusal as refusal:
            failure = failure or refusal
    if begun is not None and begun["provider"] != name:
        begun = None
    return visit.render(
        "provider_authorize.html",
        detail=detail,
        begun=begun,
        is_by_redirect=begun is not None and begun["redirect_uri"] == redirect_uri,
        redirect_uri=redirect_uri,
        is_waiting="waiting" in visit.query,
        failure=failure,
        status=200 if failure is None else 422,
    )


def redirect_uri_of(visit: Visit) -> str:
    """Return the address of this server to which a git host sends the browser after a sign-in."""
    return f"{_origin(visit)}{CALLBACK}"


def _origin(visit: Visit) -> str:
    """Return the origin at which the browser sees this server.

    Behind a proxy that terminates TLS, the request has the wrong scheme, so the scheme comes from
    the public URL.
    """
    url = visit.request.url
    public = urlsplit(visit.request.scope["deploycore.public_url"] or "")
    if public.netloc == url.netloc and not is_loopback(url.hostname or ""):
        return f"{public.scheme}://{public.netloc}"
    return f"{url.scheme}://{url.netloc}"


PAGES = (
    Page("GET", "/providers/{provider}/authorize", "admin", authorize),
    Page("POST", "/providers/{provider}/authorize", "admin", begin),
    Page("GET", "/providers/{provider}/authorize/finish", "admin", show_again),
    Page("POST", "/providers/{provider}/authorize/finish", "admin", finish),
    Page("GET", CALLBACK, "admin", receive),
)
