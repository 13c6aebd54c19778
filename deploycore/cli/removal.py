"""The text that ``deploycore app remove`` prints before and after a removal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deploycore.cli.output import printable, say

if TYPE_CHECKING:
    from deploycore.installation.application_removal import Removal, RemovalPlan
    from deploycore.store import DeployKeyRecord, WebhookRecord

__all__ = ["removal_as_dict", "removal_lines", "say_removed"]


def removal_lines(
    plan: RemovalPlan, *, purge: bool, with_previews: bool, keep_webhook: bool
) -> list[str]:
    """Return what is removed and what stays, a line each."""
    if plan.is_former:
        return [
            f"The application {plan.name} was removed before. This erases its history for good:"
            f" {_counted(plan.former, 'deployment')} and their logs."
        ]
    lines = [
        f"This removes the application {plan.name}:",
        f"  history   {_history(plan, purge=purge)}",
    ]
    if plan.damage is not None:
        lines.append(f"  record    damaged, erased with its secrets: {plan.damage.message}")
    if plan.dropped:
        lines.append(f"  damaged   {_dropped(plan)}")
    if plan.webhook_damage is not None:
        lines.append("  webhook   its damaged record is erased; remove the webhook at the git host")
    if plan.webhook is not None:
        lines.append(f"  webhook   {_webhook(plan.webhook, keep_webhook=keep_webhook)}")
    lines += [f"  key       {_deploy_key(each)}" for each in plan.deploy_keys]
    if plan.secrets:
        lines.append(f"  secrets   erased: {', '.join(plan.secrets)}")
    lines += [f"  preview   {each}" for each in _previews(plan, with_previews=with_previews)]
    lines.append(f"  releases  {_releases(plan)}")
    return lines


def _dropped(plan: RemovalPlan) -> str:
    which = ", ".join(map(str, plan.dropped))
    one = len(plan.dropped) == 1
    return (
        f"erased: the {'record' if one else 'records'} of {'deployment' if one else 'deployments'}"
        f" {which}; a process that still runs the deployment is not ended"
    )


def _history(plan: RemovalPlan, *, purge: bool) -> str:
    if purge:
        former = f", {plan.former} of them of removed applications" if plan.former else ""
        count = _counted(plan.deployments + plan.former, "deployment")
        return f"erased for good: {count} and their logs{former}"
    if not plan.deployments:
        return "none"
    count = _counted(plan.deployments, "deployment")
    return f"kept: {count} and their logs (deploycore deployments {plan.name}; --purge erases them)"


def _webhook(webhook: WebhookRecord, *, keep_webhook: bool) -> str:
    address = f", which sends to {webhook.url}" if webhook.url else ""
    if webhook.hosts_id is None:
        return (
            f"its secret is erased{address}; if you set up the webhook by hand, remove it at the"
            " git host"
        )
    where = f" of {webhook.repository}" if webhook.repository else ""
    what = f"{webhook.hosts_id}{where}{address}"
    return f"stays at the git host: {what}" if keep_webhook else f"removed at the git host: {what}"


def _deploy_key(key: DeployKeyRecord) -> str:
    from deploycore.ssh.making import fingerprint_of

    shown = fingerprint_of(key.public_key)
    if not key.registered:
        return f"erased here: {shown}; remove it at the git host, where it was added by hand"
    return f"removed here and at the git host: {shown} of {', '.join(key.registered)}"


def _previews(plan: RemovalPlan, *, with_previews: bool) -> Iterator[str]:
    for each in plan.previews:
        what = "is removed too" if with_previews else "stays (--with-previews removes it)"
        yield (
            f"{each.name}, for the open pull request {each.number}, is removed; its directory"
            f" {each.target} {what}"
        )


def _releases(plan: RemovalPlan) -> str:
    target = plan.target
    if target is None:
        return "stay; their directory is unknown, because the record is damaged"
    if plan.releases is None:
        return f"stay in {target}, which cannot be read"
    if not plan.releases:
        return "none on disk"
    return f"stay: {_counted(len(plan.releases), 'release')} in {target}"


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
        count = _counted(len(plan.releases), "release")
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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
