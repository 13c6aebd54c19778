"""Tokens of the API: list, add, remove."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.pages.users import ROLES, field_of
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]


async def list_tokens(visit: Visit) -> Response:
    """List the tokens."""
    after = visit.query.get("after", "")
    found = await visit.ask("GET", "/tokens", query={"after": after[:63]})
    return visit.render(
        "tokens.html",
        tokens=found["items"],
        following=found["items"][-1]["name"] if found["next"] else None,
        is_first=not after,
    )


async def new_token(visit: Visit) -> Response:
    """Show the form for a new token."""
    return _new_page(visit)


async def add_token(visit: Visit) -> Response:
    """Add a token, and show it once."""
    form = visit.form
    body: dict[str, Any] = {"name": form.get("name", "").strip(), "role": form.get("role", "")}
    if form.get("days"):
        body["days"] = form["days"]
    try:
        added = await visit.ask("POST", "/tokens", body=body)
    except Refusal as refusal:
        if refusal.status != 422:
            raise
        return _new_page(visit, refusal=refusal)
    return visit.render("token_added.html", added=added["token"], secret=added["secret"])


async def ask_to_remove(visit: Visit) -> Response:
    """Ask for confirmation before a token is removed."""
    return visit.render("token_remove.html", name=visit.path["token"])


async def remove_token(visit: Visit) -> Response:
    """Remove a token."""
    await visit.ask("DELETE", "/tokens/{token}", token=visit.path["token"])
    return visit.go("/tokens", done="token-removed")


def _new_page(visit: Visit, *, refusal: Refusal | None = None) -> Response:
    return visit.render(
        "token_new.html",
        page="/tokens",
        status=refusal.status if refusal else 200,
        refusal=refusal,
        field=field_of(refusal) if refusal else "",
        roles=ROLES,
    )


PAGES = (
    Page("GET", "/tokens", "admin", list_tokens),
    Page("GET", "/tokens/-/new", "admin", new_token),
    Page("POST", "/tokens/-/new", "admin", add_token),
    Page("GET", "/tokens/{token}/remove", "admin", ask_to_remove),
    Page("POST", "/tokens/{token}/remove", "admin", remove_token),
)
