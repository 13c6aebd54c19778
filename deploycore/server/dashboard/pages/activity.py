"""What happened: requests to deploy, and deployments."""

from __future__ import annotations

from starlette.responses import Response

from deploycore.server.dashboard.links import following, with_query
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit

__all__ = ["PAGES"]


async def activity(visit: Visit) -> Response:
    """List what happened, the newest first."""
    asked = {name: visit.query.get(name, "") for name in ("application", "before")}
    found = await visit.ask("GET", "/events", query=asked)
    kept = {"application": asked["application"]}
    return visit.render(
        "activity.html",
        events=found["items"],
        position=found["position"],
        asked=asked,
        older=following("/activity", asked, found["next"], "before"),
        first=with_query("/activity", kept) if asked["before"] else "",
    )


PAGES = (Page("GET", "/activity", "read", activity),)
