"""Users of the dashboard: list, add, change, remove."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from deploycore.server.accounts.passwords import LENGTH_LEAST
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal

__all__ = ["PAGES", "ROLES", "field_of"]

ROLES = {
    "read": "Read: see applications, deployments and logs",
    "deploy": "Deploy: also deploy, roll back and cancel",
    "admin": "Administrator: also change everything else",
}
_USER = "/users/{user}"


async def list_users(visit: Visit) -> Response:
    """List the users."""
    after = visit.query.get("after", "")
    found = await visit.ask("GET", "/users", query={"after": after[:63]})
    return visit.render(
        "users.html",
        users=found["items"],
        following=found["items"][-1]["name"] if found["next"] else None,
        is_first=not after,
    )


async def new_user(visit: Visit) -> Response:
    """Show the form for a new user."""
    return _new_page(visit)


async def add_user(visit: Visit) -> Response:
    """Add a user, and show the link to set the password."""
    form = visit.form
    body = {"name": form.get("name", "").strip(), "role": form.get("role", "")}
    if form.get("password"):
        body["password"] = form["password"]
    try:
        added = await visit.ask("POST", "/users", body=body)
    except Refusal as refusal:
        return _new_page(visit, refusal=_for_form(refusal))
    return _link_page(visit, added["user"]["name"], added["link"])


async def show_user(visit: Visit) -> Response:
    """Show a user."""
    return await _user_page(visit)


async def change_user(visit: Visit) -> Response:
    """Change the role of a user, or disable or enable the user."""
    body: dict[str, Any] = {}
    if "role" in visit.form:
        body["role"] = visit.form["role"]
    if "disabled" in visit.form:
        body["disabled"] = visit.form["disabled"] == "yes"
    name = visit.path["user"]
    try:
        await visit.ask("PATCH", _USER, user=name, body=body)
    except Refusal as refusal:
        return await _user_page(visit, refusal=_for_form(refusal))
    return visit.go(f"/users/{quoted(name)}", done="user-changed")


async def link_user(visit: Visit) -> Response:
    """Create a one-time link for a user, and show it."""
    name = visit.path["user"]
    try:
        link = await visit.ask("POST", f"{_USER}/link", user=name)
    except Refusal as refusal:
        return await _user_page(visit, refusal=_for_form(refusal))
    return _link_page(visit, name, link)


async def end_sessions(visit: Visit) -> Response:
    """Sign a user out everywhere."""
    name = visit.path["user"]
    await visit.ask("DELETE", f"{_USER}/sessions", user=name)
    return visit.go(f"/users/{quoted(name)}", done="user-signed-out")


async def ask_to_remove(visit: Visit) -> Response:
    """Ask for confirmation before a user is removed."""
    user = await visit.ask("GET", _USER, user=visit.path["user"])
    return visit.render("user_remove.html", user=user)


async def remove_user(visit: Visit) -> Response:
    """Remove a user."""
    try:
        await visit.ask("DELETE", _USER, user=visit.path["user"])
    except Refusal as refusal:
        return await _user_page(visit, refusal=_for_form(refusal))
    return visit.go("/users", done="user-removed")


def field_of(refusal: Refusal) -> str:
    """Return the field of a form that an error is about; empty if this is not known."""
    details = refusal.details
    if "field" in details:
        return str(details["field"])
    is_name = {"user", "token"} & details.keys() or "is not a valid name" in refusal.message
    return "name" if is_name else ""


def _for_form(refusal: Refusal) -> Refusal:
    """Return the error if the form can be sent again.

    Raises:
        Refusal: The form cannot be sent again.
    """
    if refusal.status not in (409, 422):
        raise refusal
    return refusal


def _new_page(visit: Visit, *, refusal: Refusal | None = None) -> Response:
    return visit.render(
        "user_new.html",
        page="/users",
        status=refusal.status if refusal else 200,
        refusal=refusal,
        field=field_of(refusal) if refusal else "",
        roles=ROLES,
        least=LENGTH_LEAST,
    )


async def _user_page(visit: Visit, *, refusal: Refusal | None = None) -> Response:
    user = await visit.ask("GET", _USER, user=visit.path["user"])
    return visit.render(
        "user.html",
        status=refusal.status if refusal else 200,
        user=user,
        roles=ROLES,
        refusal=refusal,
    )


def _link_page(visit: Visit, name: str, link: Any) -> Response:
    base = visit.accounts.public_url or str(visit.request.base_url).rstrip("/")
    address = f"{base}{link['path']}" if link else None
    return visit.render("user_link.html", name=name, link=link, address=address)


PAGES = (
    Page("GET", "/users", "admin", list_users),
    Page("GET", "/users/-/new", "admin", new_user),
    Page("POST", "/users/-/new", "admin", add_user),
    Page("GET", _USER, "admin", show_user),
    Page("POST", _USER, "admin", change_user),
    Page("POST", f"{_USER}/link", "admin", link_user),
    Page("POST", f"{_USER}/sessions/end", "admin", end_sessions),
    Page("GET", f"{_USER}/remove", "admin", ask_to_remove),
    Page("POST", f"{_USER}/remove", "admin", remove_user),
)
