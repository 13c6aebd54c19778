"""What is removed with an application, in words: for the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploycore.installation.application_removal import RemovalPlan
    from deploycore.store import DeployKeyRecord, WebhookRecord

__all__ = ["counted", "removal_parts"]


def removal_parts(
    plan: RemovalPlan,
    *,
    purge: bool,
    with_previews: bool,
    keep_webhook: bool,
    history_hint: str = "",
    preview_hint: str = "",
) -> Iterator[tuple[str, str]]:
    """Return what becomes of each part of an application: a short name of the part, and a text.

    Args:
        purge, with_previews, keep_webhook: As for ``Removals.remove``.
        history_hint, preview_hint: How to remove what stays, in parentheses after it.
    """
    is_kept = bool(plan.deployments) and not purge
    hint = f" ({history_hint})" if history_hint and is_kept else ""
    yield "history", _history(plan, purge=purge) + hint
    if plan.damage is not None:
        yield "record", f"damaged, erased with its secrets: {plan.damage.message}"
    if plan.dropped:
        yield "damaged", _dropped(plan)
    if plan.webhook_damage is not None:
        yield "webhook", "its damaged record is erased; remove the webhook at the git host"
    if plan.webhook is not None:
        yield "webhook", _webhook(plan.webhook, keep_webhook=keep_webhook)
    for key in plan.deploy_keys:
        yield "key", _deploy_key(key)
    if plan.secrets:
        yield "secrets", f"erased: {', '.join(plan.secrets)}"
    for text in _previews(plan, with_previews=with_previews, hint=preview_hint):
        yield "preview", text
    yield "releases", _releases(plan)


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
        count = counted(plan.deployments + plan.former, "deployment")
        return f"erased for good: {count} and their logs{former}"
    if not plan.deployments:
        return "none"
    count = counted(plan.deployments, "deployment")
    return f"kept: {count} and their logs"


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


def _previews(plan: RemovalPlan, *, with_previews: bool, hint: str) -> Iterator[str]:
    stays = f"stays ({hint})" if hint else "stays"
    for each in plan.previews:
        what = "is removed too" if with_previews else stays
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
    return f"stay: {counted(len(plan.releases), 'release')} in {target}"


def counted(count: int, noun: str) -> str:
    """Return a number of things, such as ``2 deployments``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
