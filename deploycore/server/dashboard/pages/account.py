"""The user's own account: sessions and password."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.accounts.cookies import SESSION, drop_cookie
from deploycore.server.accounts.passwords import LENGTH_LEAST
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_SESSIONS = "/account/sessions"


async def show_account(visit: Visit) -> Response:
    """Show the user, the password form and the sessions."""
    return await _account_page(visit)


async def change_password(visit: Visit) -> Response:
    """Change the password."""
    form = visit.form
    try:
        if form.get("new", "") != form.get("again", ""):
            raise Refusal(
                422,
                "configuration",
                "The new passwords are not the same.",
                hint="Enter the new password twice.",
                details={"field": "again"},
            )
        body = {"old": form.get("old", ""), "new": form.get("new", "")}
        await visit.ask("POST", "/account/password", body=body)
    except Refusal as refusal:
        if refusal.status not in (422, 429):
            raise
        return await _account_page(visit, refusal=refusal)
    return visit.go("/account", done="password-changed")


async def end_session(visit: Visit) -> Response:
    """Sign out in one browser."""
    await visit.ask("DELETE", f"{_SESSIONS}/{{session}}", session=visit.path["session"])
    return visit.go("/account", done="session-ended")


async def end_sessions(visit: Visit) -> Response:
    """Sign out everywhere."""
    await visit.ask("DELETE", _SESSIONS)
    answer = visit.go("/sign-in")
    drop_cookie(answer, visit.request, SESSION)
    return answer


async def _account_page(visit: Visit, *, refusal: Refusal | None = None) -> Response:
    account = await visit.ask("GET", "/account")
    sessions = await visit.ask("GET", _SESSIONS)
    answer = visit.render(
        "account.html",
        status=refusal.status if refusal else 200,
        account=account,
        sessions=sessions["items"],
        refusal=refusal,
        field=str(refusal.details.get("field", "")) if refusal else "",
        least=LENGTH_LEAST,
    )
    answer.headers.update(refusal.headers if refusal else {})
    return answer


PAGES = (
    Page("GET", "/account", "read", show_account),
    Page("POST", "/account/password", "read", change_password),
    Page("POST", f"{_SESSIONS}/end", "read", end_sessions),
    Page("POST", f"{_SESSIONS}/{{session}}/end", "read", end_session),
)
