"""What happened: webhook deliveries, requests to deploy, and deployments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.links import following, with_query
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

KINDS: Mapping[str, str] = {
    "": "Everything",
    "deployment": "Deployments",
    "request": "Requests to deploy",
    "delivery": "Webhook deliveries",
}


async def activity(visit: Visit) -> Response:
    """List what happened, the newest first."""
    asked = {name: visit.query.get(name, "") for name in ("application", "kind", "before")}
    asked["kind"] = asked["kind"] if asked["kind"] in KINDS else ""
    refusal: Refusal | None = None
    found: Any = {"items": [], "position": "", "next": None}
    try:
        found = await visit.ask("GET", "/events", query=asked)
    except Refusal as error:
        if error.status != 404 and error.status != 422:
            raise
        refusal = error
    kept = {name: asked[name] for name in ("application", "kind")}
    return visit.render(
        "activity.html",
        status=refusal.status if refusal else 200,
        events=found["items"],
        position=found["position"],
        asked=asked,
        kinds=KINDS,
        is_filtered=any(kept.values()),
        refusal=refusal,
        older=following("/activity", asked, found["next"], "before"),
        first=with_query("/activity", kept) if asked["before"] else "",
    )


PAGES = (Page("GET", "/activity", "read", activity),)
