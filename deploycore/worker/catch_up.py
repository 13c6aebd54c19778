"""Request one check of applications' refs after webhook deliveries may have been missed.

The process that notices this stores the request, and the workers' pollers run the checks. The
server that was down may be on another machine than the workers.
"""

from __future__ import annotations

from collections.abc import Collection

from deploycore.applications.application import Application
from deploycore.installation import Installation

__all__ = ["request_checks", "spacing_for"]

SPREAD_SECONDS = 60.0
"""Seconds over which the checks of some hundred applications are spread."""

LONGEST_SPACING = 1.0
SHORTEST_SPACING = 0.1
"""At most ten a second: of 10,000 applications the last one is checked after 17 minutes."""


def request_checks(installation: Installation, names: Collection[str] | None = None) -> int:
    """Request one check of the ref of each application with ``auto_deploy``.

    This includes applications that are not polled, and previews, which get new commits only through
    webhooks.

    Args:
        names: Only these applications (default: all).

    Returns:
        The number of applications to check.

    Raises:
        StoreError: The database cannot be used.
    """
    store = installation.store
    previews = {each.name for each in store.previews.list() if each.ended_at is None}
    known = store.list_applications() if names is None else store.find_applications(names).values()
    wanted = [
        each.name
        for each in known
        if _deploys_by_itself(each.definition, is_preview=each.name in previews)
    ]
    if wanted:
        store.polls.request(wanted, spacing=spacing_for(len(wanted)))
    return len(wanted)


def spacing_for(count: int) -> float:
    """Return the seconds between the checks of two applications, for a number of checks."""
    return min(LONGEST_SPACING, max(SHORTEST_SPACING, SPREAD_SECONDS / count))


def _deploys_by_itself(definition: Application, *, is_preview: bool) -> bool:
    auto = definition.auto_deploy
    if auto is None or not definition.is_followed:
        return False
    return auto.push or auto.poll != "off" or is_preview
