"""The text that ``deploycore app remove`` prints before and after a removal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from deploycore.cli.output import printable, say
from deploycore.installation.removal_description import counted, removal_parts

if TYPE_CHECKING:
    from deploycore.installation.application_removal import Removal, RemovalPlan

__all__ = ["removal_as_dict", "removal_lines", "say_removed"]


def removal_lines(
    plan: RemovalPlan, *, purge: bool, with_previews: bool, keep_webhook: bool
) -> list[str]:
    """Return what is removed and what stays, a line each."""
    if plan.is_former:
        return [
            f"The application {plan.name} was removed before. This erases its history for good:"
            f" {counted(plan.former, 'deployment')} and their logs."
        ]
    parts = removal_parts(
        plan,
        purge=purge,
        with_previews=with_previews,
        keep_webhook=keep_webhook,
        history_hint=f"deploycore deployments {plan.name}; --purge erases them",
        preview_hint="--with-previews removes it",
    )
    lines = [f"  {part:<9} {text}" for part, text in parts]
    return [f"This removes the application {plan.name}:", *lines]


def say_removed(done: Removal, *, purge: bool) -> None:
    """Print what was removed and, on standard error, what remains."""
    plan = done.plan
    if plan.is_former:
        say(f"The history of {plan.name} is erased.")
        _say_remaining(done)
        return
    say(f"Application {plan.name} is removed.")
    if plan.damage is not None:
        _warn(f"Its damaged record was deleted: {plan.damage.message}")
    if plan.releases:
        count = counted(len(plan.releases), "release")
        stay = "stays" if len(plan.releases) == 1 else "stay"
        say(f"  {count} {stay} in {plan.target}")
    if plan.dropped:
        which = ", ".join(map(str, plan.dropped))
        say(f"  Damaged records of unfinished deployments were deleted: {which}")
    if not purge and plan.deployments:
        say(f"  Its history is kept: deploycore deployments {plan.name}")
    if plan.webhook is not None and plan.webhook.hosts_id is None and not done.remains:
        say("  If you set up its webhook by hand, remove it at the git host.")
    if done.error is not None:
        _warn(f"The webhook could not be removed at the git host: {done.error}")
    _say_remaining(done)


def _say_remaining(done: Removal) -> None:
    for each in done.remains:
        _warn(f"Not removed; remove it yourself: {each}")


def removal_as_dict(done: Removal, *, purge: bool) -> dict[str, Any]:
    """Return a removal as printed with ``--json``."""
    plan = done.plan
    webhook = plan.webhook
    return {
        "application": plan.name,
        "target": str(plan.target) if plan.target else None,
        "releases": None if plan.releases is None else list(plan.releases),
        "dropped": list(plan.dropped),
        "deployments": plan.deployments + (plan.former if purge else 0),
        "history": "erased" if purge else "kept",
        "secrets": list(plan.secrets),
        "webhook": webhook and {"hosts_id": webhook.hosts_id, "url": webhook.url},
        "previews": [
            {"name": each.name, "pull_request": each.number, "target": str(each.target)}
            for each in plan.previews
        ],
        "remains": list(done.remains),
        "error": done.error.as_dict() if done.error else None,
    }


def _warn(text: str) -> None:
    print(printable(text), file=sys.stderr)
