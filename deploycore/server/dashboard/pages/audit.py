"""The audit log: who changed what."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from deploycore.server.dashboard.operation_names import OPERATION_NAMES, operation_name
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.server.problems import Refusal

__all__ = ["PAGES"]

_FILTERS = ("actor", "operation", "subject")


async def show_audit(visit: Visit) -> Response:
    """List the entries that the filter selects."""
    given = {name: visit.query.get(name, "").strip() for name in (*_FILTERS, "since", "until")}
    query: dict[str, str] = {name: given[name] for name in _FILTERS}
    query["before"] = visit.query.get("before", "")
    refusal: Refusal | None = None
    found: dict[str, Any] = {"items": [], "next": None}
    try:
        query["since"] = _day(given["since"])
        query["until"] = _day(given["until"], later=1)
        found = await visit.ask("GET", "/audit", query=query)
    except Refusal as error:
        if error.status != 422:
            raise
        refusal = error
    older = {**given, "before": found["items"][-1]["id"]} if found["next"] else None
    return visit.render(
        "audit.html",
        status=refusal.status if refusal else 200,
        entries=found["items"],
        given=given,
        operations=_operations(given["operation"]),
        is_filtered=any(given.values()),
        older=urlencode({key: value for key, value in older.items() if value}) if older else None,
        refusal=refusal,
    )


def _operations(given: str) -> list[tuple[str, str]]:
    """Return the operations to choose from, with their names for people."""
    known = {**OPERATION_NAMES, given: operation_name(given)} if given else OPERATION_NAMES
    return sorted(known.items(), key=lambda each: each[1])


def _day(text: str, *, later: int = 0) -> str:
    """Return the start of a day in UTC, or of a day after it; empty if there is no day."""
    if not text:
        return ""
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
    except (ValueError, OverflowError):
        raise Refusal(
            422,
            "configuration",
            "The day cannot be read.",
            hint="Write it as year, month and day, such as 2026-11-29.",
            details={"field": "since"},
        ) from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat()


PAGES = (Page("GET", "/audit", "admin", show_audit),)
