"""An application: what is live, its history, its releases, and how to deploy and roll back."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from deploycore.server.dashboard.chart import chart_of
from deploycore.server.dashboard.links import following
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit, quoted
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_HISTORY = 15
_RELEASES = 8
_ONE = "/applications/{application}"


async def application(visit: Visit) -> Response:
    """Show an application."""
    name = visit.path["application"]
    standing = await visit.ask("GET", f"{_ONE}/overview", application=name)
    known = (await visit.ask("GET", _ONE, application=name))["host_repository"]
    history = await _history(visit, name)
    releases, releases_error = await _releases(visit, name)
    previews = await visit.ask("GET", f"{_ONE}/previews", application=name)
    statistics = await visit.ask("GET", f"{_ONE}/statistics", application=name)
    here = f"/applications/{quoted(name)}"
    before = visit.query.get("before", "")
    return visit.render(
        "application.html",
        each=standing,
        replaced_by=known["replaced_by"] if known else None,
        history=history["items"],
        older=following(here, {"before": before}, history["next"], "before"),
        first=here if before else "",
        releases=releases,
        releases_error=releases_error,
        shown=_RELEASES,
        previews=previews["items"],
        statistics=statistics,
        chart=chart_of(statistics["items"]),
    )


async def releases(visit: Visit) -> Response:
    """List all releases of an application."""
    name = visit.path["application"]
    found = await visit.ask("GET", f"{_ONE}/releases", application=name)
    return visit.render("releases.html", name=name, releases=found)


async def deploy(visit: Visit) -> Response:
    """Request a deployment."""
    name = visit.path["application"]
    await visit.ask(
        "POST",
        f"{_ONE}/deployments",
        body={"force": visit.form.get("force") == "yes"},
        application=name,
    )
    return visit.go(f"/applications/{quoted(name)}", done="deploy")


async def accept_repository(visit: Visit) -> Response:
    """Deploy from the new repository that has the name of the application's repository."""
    name = visit.path["application"]
    await visit.ask("POST", f"{_ONE}/accept-repository", application=name)
    return visit.go(f"/applications/{quoted(name)}", done="repository_accepted")


async def confirm_rollback(visit: Visit) -> Response:
    """Show what a rollback would change, and ask for confirmation."""
    return await _confirmation(visit, visit.query.get("to", ""))


async def roll_back(visit: Visit) -> Response:
    """Roll back."""
    name, wanted = visit.path["application"], visit.form.get("to", "")
    try:
        begun = await visit.ask(
            "POST", f"{_ONE}/rollback", body={"to": wanted or None}, application=name
        )
    except Refusal as refusal:
        if refusal.status in (401, 403, 404):
            raise
        return await _confirmation(visit, wanted, refusal)
    return visit.go(f"/deployments/{begun['id']}", done="rollback")


async def _confirmation(visit: Visit, wanted: str, refusal: Refusal | None = None) -> Response:
    name = visit.path["application"]
    changes = None
    if wanted:
        changes = await visit.ask(
            "GET", f"{_ONE}/releases/{{release}}/changes", application=name, release=wanted
        )
    else:
        await visit.ask("GET", _ONE, application=name)  # check that the application exists
    return visit.render(
        "rollback.html",
        status=422 if refusal else 200,
        name=name,
        wanted=wanted,
        changes=changes,
        refusal=refusal,
    )


async def _history(visit: Visit, name: str) -> Any:
    before = visit.query.get("before", "")
    query = {"application": name, "before": before, "limit": _HISTORY}
    return await visit.ask("GET", "/deployments", query=query)


async def _releases(visit: Visit, name: str) -> tuple[Any, Refusal | None]:
    """Return the releases. A problem with their directory must not hide the rest of the page."""
    try:
        return await visit.ask("GET", f"{_ONE}/releases", application=name), None
    except Refusal as refusal:
        if refusal.status in (401, 403, 404):
            raise
        return {"items": [], "is_here": True, "count": 0}, refusal


PAGES = (
    Page("GET", _ONE, "read", application),
    Page("GET", f"{_ONE}/releases", "read", releases),
    Page("POST", f"{_ONE}/deploy", "deploy", deploy),
    Page("POST", f"{_ONE}/accept-repository", "admin", accept_repository),
    Page("GET", f"{_ONE}/rollback", "deploy", confirm_rollback),
    Page("POST", f"{_ONE}/rollback", "deploy", roll_back),
)
