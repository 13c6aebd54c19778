"""Removing an application: what goes, what stays, and what remains at the git host.

The plan is told to a person before anything happens, and is what then happens. The host is asked
first, while its webhook's identifier is still known here; that it does not answer stops nothing,
but is told with all that a person needs to remove the webhook there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.installation.webhooks import Webhooks
from deploycore.provider.background import Unanswered, call_within
from deploycore.store import PreviewRecord, Store, WebhookRecord

if TYPE_CHECKING:
    from deploycore.deploy import Logs

__all__ = ["Removal", "RemovalPlan", "Removals", "describe_remaining"]

HOST_SECONDS = 60.0


@dataclass(frozen=True)
class RemovalPlan:
    """What belongs to an application.

    Attributes:
        definition: ``None`` where the application was removed before, and only history is left.
        deployments: How many it has had.
        former: How many deployments removed applications of its name had.
        releases: The names of those on the disk; ``None`` where they can't be listed.
        secrets: The variables whose values are stored here.
        webhook: ``None`` if it has none.
        previews: Those whose pull requests are open.
    """

    name: str
    definition: Application | None
    deployments: int
    former: int
    releases: Sequence[str] | None = ()
    secrets: Sequence[str] = ()
    webhook: WebhookRecord | None = None
    previews: Sequence[PreviewRecord] = ()


@dataclass(frozen=True)
class Removal:
    """What became of a removal.

    Attributes:
        remains: A sentence for each thing that a person may have to remove elsewhere.
        error: Why the git host still has the webhook, if it was asked and refused.
    """

    plan: RemovalPlan
    remains: Sequence[str] = ()
    error: DeploycoreError | None = None


class Removals:
    """Removes the applications of an installation."""

    def __init__(self, store: Store, webhooks: Webhooks, logs: Logs) -> None:
        self._store = store
        self._webhooks = webhooks
        self._logs = logs

    def plan(self, name: str, *, purge: bool = False) -> RemovalPlan:
        """What removing an application would concern; changes nothing.

        Args:
            purge: Whether it may have been removed before, and only its history is to go.

        Raises:
            ConfigurationError: There is no such application, or it, or a preview of it, is being
                deployed.
        """
        from deploycore.deploy import Releases

        try:
            self._store.refuse_removal(name)
        except ConfigurationError:
            _, former = self._store.deployments.count(name)
            if not (purge and former) or self._is_there(name):
                raise
            return RemovalPlan(name, None, 0, former)
        record = self._store.get_application(name)
        own, former = self._store.deployments.count(name)
        try:
            releases = Releases(record.definition.target).names()
        except DeploycoreError:
            releases = None
        return RemovalPlan(
            name,
            record.definition,
            own,
            former,
            releases,
            sorted(record.secrets),
            self._store.webhooks.find(name),
            [
                each
                for each in self._store.previews.list()
                if each.parent == name and each.ended_at is None
            ],
        )

    def remove(
        self,
        name: str,
        *,
        purge: bool = False,
        end_previews: bool = False,
        keep_webhook: bool = False,
    ) -> Removal:
        """Remove an application; see ``Store.remove_application``.

        Args:
            purge: Whether its history and its logs are erased, and those of former applications
                of its name; that alone where it was removed before.
            end_previews: Whether the directories of its previews are removed too.
            keep_webhook: Whether the git host is not asked to remove the webhook.

        Raises:
            ConfigurationError: As ``plan``; then nothing is removed.
        """
        plan = self.plan(name, purge=purge)
        if plan.definition is None:
            self._store.forget_removed_history(name)
            self._logs.remove(name)
            return Removal(plan)
        remains, error = self._remove_webhook(plan, ask_host=not keep_webhook)
        self._store.remove_application(name, keep_history=not purge, end_previews=end_previews)
        if purge:
            for each in (name, *(each.name for each in plan.previews)):
                self._logs.remove(each)
        if not end_previews:
            remains += [
                f"The directory of the preview {each.name} (pull request {each.number}):"
                f" {each.target}."
                for each in plan.previews
            ]
        return Removal(plan, remains, error)

    def _is_there(self, name: str) -> bool:
        try:
            self._store.get_application(name)
        except ConfigurationError:
            return False
        return True

    def _remove_webhook(
        self, plan: RemovalPlan, *, ask_host: bool
    ) -> tuple[list[str], DeploycoreError | None]:
        """Have the host forget the webhook; what remains there, and why."""
        webhook, definition = plan.webhook, plan.definition
        if webhook is None or definition is None:
            return [], None
        if webhook.hosts_id is None and webhook.delivered_at is None:
            return [], None  # nobody knows that there ever was one at the host
        error: DeploycoreError | None = None
        if ask_host and webhook.hosts_id is not None:
            try:
                call_within(lambda: self._webhooks.remove_at_host(webhook), HOST_SECONDS)
                return [], None
            except Unanswered:
                error = DeploycoreError(f"The host did not answer within {HOST_SECONDS:g} s.")
            except DeploycoreError as raised:
                error = raised
        return [describe_remaining(webhook, definition)], error


def describe_remaining(webhook: WebhookRecord, definition: Application) -> str:
    """What a person has to remove at the git host, as a sentence."""
    where = f"the repository {definition.repository} (provider {definition.provider})"
    address = webhook.url or f"a URL that ends with /webhooks/{webhook.application}"
    if webhook.hosts_id is None:
        return f"The webhook of {where} that was set up by hand. It sends to {address}."
    return f"The webhook {webhook.hosts_id} of {where}. It sends to {address}."
