"""The first page: all applications, and what needs attention."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit

__all__ = ["PAGES"]


async def overview(visit: Visit) -> Response:
    """List the applications."""
    found = await visit.ask("GET", "/applications")
    return visit.render("overview.html", applications=found["items"])


PAGES = (Page("GET", "/", "read", overview),)
