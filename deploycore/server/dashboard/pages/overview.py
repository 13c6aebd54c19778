"""The first page: all applications, and what needs attention."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.dashboard.links import following, with_query
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit

__all__ = ["PAGES"]

_FILTERS = {
    "all": "All",
    "attention": "Needs attention",
    "running": "Running",
    "never": "Never deployed",
}


async def overview(visit: Visit) -> Response:
    """List the applications."""
    asked = {name: visit.query.get(name, "") for name in ("which", "provider", "search", "after")}
    if asked["which"] not in _FILTERS:
        asked["which"] = ""
    found = await visit.ask("GET", "/overview", query=asked)
    is_filtered = any(asked[name] for name in ("which", "provider", "search"))
    providers = None
    if not found["items"] and not is_filtered and not asked["after"]:
        providers = (await visit.ask("GET", "/providers"))["items"]
    kept = {name: asked[name] for name in ("provider", "search")}
    return visit.render(
        "overview.html",
        found=found,
        asked=asked,
        is_filtered=is_filtered,
        providers=providers,
        filters=[
            (name, title, with_query("/", {**kept, "which": "" if name == "all" else name}))
            for name, title in _FILTERS.items()
        ],
        older=following("/", asked, found["next"], "after"),
        first=with_query("/", {**asked, "after": ""}) if asked["after"] else "",
    )


async def card(visit: Visit) -> Response:
    """Show one application as the list does, for the script that keeps the list up to date."""
    found = await visit.ask(
        "GET", "/applications/{application}/overview", application=visit.path["application"]
    )
    return visit.render("card.html", each=found)


PAGES = (
    Page("GET", "/", "read", overview),
    Page("GET", "/applications/{application}/card", "read", card),
)
