"""The installed plugins, and the problems of the installation."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.plugin_words import abilities_of, in_sections
from deploycore.server.dashboard.visit import Visit

__all__ = ["PAGES"]

_WORST_FIRST = ("problem", "warning", "ok")


async def plugins(visit: Visit) -> Response:
    """List the installed plugins."""
    found = await visit.ask("GET", "/plugins")
    sections = in_sections(found["items"])
    return visit.render("plugins.html", sections=sections, abilities_of=abilities_of)


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
