"""The installed plugins, and the problems of the installation."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit

__all__ = ["PAGES"]

_WORST_FIRST = ("problem", "warning", "ok")


async def plugins(visit: Visit) -> Response:
    """List the installed plugins."""
    found = await visit.ask("GET", "/plugins")
    return visit.render("plugins.html", plugins=found["items"])


async def doctor(visit: Visit) -> Response:
    """Check the installation, the worst results first."""
    offline = visit.query.get("offline") == "true"
    found = await visit.ask("GET", "/doctor", query={"offline": offline})
    findings = sorted(found["findings"], key=lambda each: _WORST_FIRST.index(each["level"]))
    return visit.render("doctor.html", findings=findings, diagnosis=found, offline=offline)


PAGES = (
    Page("GET", "/plugins", "admin", plugins),
    Page("GET", "/doctor", "admin", doctor),
)
