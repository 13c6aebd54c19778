"""The configured providers: the list, one of them, its test, and its removal."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal

__all__ = ["PAGES", "page_of"]


def page_of(provider: str) -> str:
    """Return the path of a provider's page."""
    return f"/providers/{quoted(provider)}"


async def providers(visit: Visit) -> Response:
    """List the providers."""
    after = visit.query.get("after", "")
    found = await visit.ask("GET", "/providers", query={"after": after})
    items = found["items"]
    older = f"/providers?after={quoted(items[-1]['name'])}" if found["next"] else ""
    return visit.render("providers.html", providers=items, older=older, after=after)


async def provider(visit: Visit) -> Response:
    """Show a provider."""
    return await _shown(visit)


async def show_again(visit: Visit) -> Response:
    """Show a provider, if the address of its test is opened again."""
    return visit.go(page_of(visit.path["provider"]))


async def test(visit: Visit) -> Response:
    """Test the connection, and show the provider with the result."""
    repository = visit.form.get("repository", "").strip()
    try:
        result = await visit.ask(
            "POST",
            "/providers/{provider}/test",
            provider=visit.path["provider"],
            body={"repository": repository} if repository else {},
        )
    except Refusal as refusal:
        if refusal.status == 403 or refusal.code == "not_found":
            raise
        return await _shown(visit, failure=refusal, status=422)
    return await _shown(visit, result=result)


async def show_removal(visit: Visit) -> Response:
    """Show what is removed together with a provider."""
    detail = await _detail(visit)
    return visit.render("provider_remove.html", detail=detail, error="", failure=None)


async def remove(visit: Visit) -> Response:
    """Remove a provider if the user has typed its name."""
    name = visit.path["provider"]
    if visit.form.get("name", "").strip() != name:
        detail = await _detail(visit)
        error = f"Type the name of the provider, {name}."
        return visit.render(
            "provider_remove.html", detail=detail, error=error, failure=None, status=422
        )
    try:
        done = await visit.ask("DELETE", "/providers/{provider}", provider=name)
    except Refusal as refusal:
        if refusal.status in (403, 404):
            raise
        detail = await _detail(visit)
        return visit.render(
            "provider_remove.html", detail=detail, error="", failure=refusal, status=refusal.status
        )
    if done["remains"]:
        return visit.render("provider_removed.html", name=name, remains=done["remains"])
    return visit.go("/providers", done="provider-removed")


async def _shown(visit: Visit, *, status: int = 200, **context: Any) -> Response:
    given = {"result": None, "failure": None} | context
    return visit.render("provider.html", detail=await _detail(visit), status=status, **given)


async def _detail(visit: Visit) -> Any:
    return await visit.ask("GET", "/providers/{provider}", provider=visit.path["provider"])


PAGES = (
    Page("GET", "/providers", "read", providers),
    Page("GET", "/providers/{provider}", "read", provider),
    Page("GET", "/providers/{provider}/test", "read", show_again),
    Page("POST", "/providers/{provider}/test", "deploy", test),
    Page("GET", "/providers/{provider}/remove", "admin", show_removal),
    Page("POST", "/providers/{provider}/remove", "admin", remove),
)
