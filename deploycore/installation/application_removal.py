"""Removing an application: what goes, what stays, and what remains at the git host.

The plan is told to a person before anything happens, and is what then happens. The host is asked
first, while its webhook's identifier is still known here; that it does not answer stops nothing,
but is told with all that a person needs to remove the webhook there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.installation.deploy_keys import DeployKeys, RemainingKey
from deploycore.installation.webhooks import Webhooks, describe_remaining
from deploycore.provider.background import Unanswered, call_within
from deploycore.store import DeployKeyRecord, PreviewRecord, Store, WebhookRecord
from deploycore.text.sentences import sentences

if TYPE_CHECKING:
    from deploycore.deploy import Logs

__all__ = ["Removal", "RemovalPlan", "Removals", "describe_remaining"]

HOST_SECONDS = 60.0
_STORE_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class RemovalPlan:
    """What belongs to an application.

    Attributes:
        definition: ``None`` where the application was removed before, and only history is left,
            or its record is damaged.
        target: As far as it is known.
        deployments: How many it has had.
        former: How many deployments removed applications of its name had.
        releases: The names of those on the disk; ``None`` where they can't be listed.
        secrets: The variables whose values are stored here.
        webhook: ``None`` if it has none.
        deploy_keys: The SSH keys that were made for it.
        previews: Those whose pull requests are open.
        damage: What is wrong with the application's own record.
        webhook_damage: What is wrong with its webhook's record.
        dropped: Deployments whose damaged records are deleted.
    """

    name: str
    definition: Application | None
    deployments: int
    former: int
    releases: Sequence[str] | None = ()
    secrets: Sequence[str] = ()
    webhook: WebhookRecord | None = None
    deploy_keys: Sequence[DeployKeyRecord] = ()
    previews: Sequence[PreviewRecord] = ()
    target: Path | None = None
    damage: StoreError | None = None
    webhook_damage: StoreError | None = None
    dropped: Sequence[int] = ()

    @property
    def is_former(self) -> bool:
        """Whether the application was removed before."""
        return self.definition is None and self.damage is None


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

    def __init__(
        self, store: Store, webhooks: Webhooks, deploy_keys: DeployKeys, logs: Logs
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._deploy_keys = deploy_keys
        self._logs = logs

    def plan(self, name: str, *, purge: bool = False, force: bool = False) -> RemovalPlan:
        """What removing an application would concern; changes nothing.

        Args:
            purge: Whether it may have been removed before, and only its history is to go.
            force: As that of ``remove``.

        Raises:
            ConfigurationError: There is no such application, or it, or a preview of it, is being
                deployed.
        """
        try:
            dropped = self._store.refuse_removal(name, drop_damaged=force)
        except ConfigurationError:
            _, former = self._store.deployments.count(name)
            if not (purge and former) or self._is_there(name):
                raise
            return RemovalPlan(name, None, 0, former)
        record, damage = _readable(lambda: self._store.get_application(name))
        webhook, webhook_damage = _readable(lambda: self._store.webhooks.find(name))
        own, former = self._store.deployments.count(name)
        target = record.definition.target if record else self._store.list_targets().get(name)
        previews = [
            each
            for each in self._store.previews.list()
            if each.parent == name and each.ended_at is None
        ]
        return RemovalPlan(
            name,
            record.definition if record else None,
            own - len(dropped),
            former,
            releases=_release_names(target),
            secrets=sorted(record.secrets) if record else (),
            webhook=webhook,
            deploy_keys=_readable(lambda: self._store.deploy_keys.of(name, ""))[0] or (),
            previews=previews,
            target=target,
            damage=damage,
            webhook_damage=webhook_damage,
            dropped=dropped,
        )

    def remove(
        self,
        name: str,
        *,
        purge: bool = False,
        end_previews: bool = False,
        keep_webhook: bool = False,
        force: bool = False,
    ) -> Removal:
        """Remove an application; see ``Store.remove_application``.

        Args:
            purge: Whether its history and its logs are erased, and those of former applications
                of its name; that alone where it was removed before.
            end_previews: Whether the directories of its previews are removed too.
            keep_webhook: Whether the git host is not asked to remove the webhook.
            force: Whether damaged records of deployments that have not ended are deleted. Their
                processes, if there are any, run on.

        Raises:
            ConfigurationError: As ``plan``; then nothing is removed.
            StoreError: The database cannot be written; then nothing is removed.
        """
        plan = self.plan(name, purge=purge, force=force)
        if plan.is_former:
            self._store.forget_removed_history(name)
            return Removal(plan, self._remove_logs(name))
        # A database that is locked, full or read-only is found out before the host is asked: an
        # application that stays keeps its webhook.
        self._store.check_writing(patience=_STORE_SECONDS)
        remains, error = self._remove_webhook(plan, ask_host=not keep_webhook)
        remains += self._remove_keys(plan)
        try:
            self._store.remove_application(
                name, keep_history=not purge, end_previews=end_previews, drop_damaged=force
            )
        except DeploycoreError as refused:
            if plan.webhook is not None and plan.webhook.hosts_id and not remains:
                refused.hint = sentences(refused.hint, _WEBHOOK_GONE.format(name=name))
            raise
        if purge:
            remains += self._remove_logs(name, *(each.name for each in plan.previews))
        if not end_previews:
            remains += [
                f"The directory of the preview {each.name} (pull request {each.number}):"
                f" {each.target}."
                for each in plan.previews
            ]
        return Removal(plan, remains, error)

    def _remove_keys(self, plan: RemovalPlan) -> list[str]:
        """Have the host forget the application's SSH keys; what remains there."""
        remains = []
        for key in plan.deploy_keys:
            try:
                left = call_within(partial(self._deploy_keys.remove_at_host, key), HOST_SECONDS)
            except Unanswered:
                left = [RemainingKey(key)]
            remains += [f"{str(each)[:1].upper()}{str(each)[1:]}." for each in left]
        return remains

    def _remove_logs(self, *names: str) -> list[str]:
        """Remove the logs of applications; says which are left."""
        left = [self._logs.remove(name) for name in names]
        return [f"Logs in {each.path}: {each}." for each in left if each is not None]

    def _is_there(self, name: str) -> bool:
        try:
            self._store.get_application(name)
        except ConfigurationError:
            return False
        except StoreError:
            return True  # it is damaged
        return True

    def _remove_webhook(
        self, plan: RemovalPlan, *, ask_host: bool
    ) -> tuple[list[str], DeploycoreError | None]:
        """Have the host forget the webhook; what remains there, and why."""
        webhook, definition = plan.webhook, plan.definition
        if plan.webhook_damage is not None:
            return [_UNKNOWN_WEBHOOK.format(name=plan.name)], plan.webhook_damage
        if webhook is None:
            return [], None
        if webhook.hosts_id is None and webhook.delivered_at is None:
            return [], None  # nobody knows that there ever was one at the host
        error: DeploycoreError | None = None
        if ask_host and webhook.hosts_id is not None:
            try:
                if plan.damage is not None and webhook.repository is None:
                    raise plan.damage
                call_within(lambda: self._webhooks.remove_at_host(webhook), HOST_SECONDS)
                return [], None
            except Unanswered:
                error = DeploycoreError(
                    f"The host did not answer within {HOST_SECONDS:g} s.",
                    hint="Remove the webhook at the git host, as described.",
                )
            except DeploycoreError as raised:
                error = raised
        return [describe_remaining(webhook, definition)], error


_WEBHOOK_GONE = (
    "The webhook at the git host is removed already: remove the application again, or register the"
    " webhook again: deploycore webhook register {name}"
)
_UNKNOWN_WEBHOOK = (
    "A webhook at the git host that sends to a URL that ends with /webhooks/{name}, if there is"
    " one. Its record is damaged."
)


def _readable(read: Callable[[], T]) -> tuple[T | None, StoreError | None]:
    try:
        return read(), None
    except StoreError as error:
        return None, error


def _release_names(target: Path | None) -> Sequence[str] | None:
    from deploycore.deploy import Releases

    try:
        return None if target is None else Releases(target).names()
    except DeploycoreError:
        return None
