"""Remove an application and its webhook at the git host.

A plan is shown to the user first. Then exactly this plan is carried out. The request to the host
comes first, while the webhook's identifier is still stored. If the host does not remove the
webhook, the application is removed anyway, and the result says what the user has to remove there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.installation.deploy_keys import DeployKeys
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
    """Everything that belongs to an application.

    Attributes:
        name: The name of the application.
        definition: The definition; ``None`` if the application was removed before and only its
            history remains, or if its record is damaged.
        target: The target, if it is known.
        deployments: The number of its deployments.
        former: The number of deployments of removed applications with its name.
        releases: The names of the releases on disk; ``None`` if they cannot be listed.
        secrets: The variables whose values are stored.
        webhook: The webhook; ``None`` if there is none.
        deploy_keys: The SSH keys that were made for it.
        previews: The previews of open pull requests.
        damage: What is wrong with the record of the application.
        webhook_damage: What is wrong with the record of the webhook.
        key_damage: What is wrong with the record of an SSH key.
        dropped: Deployments whose damaged records would be deleted.
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
    key_damage: StoreError | None = None
    dropped: Sequence[int] = ()

    @property
    def is_former(self) -> bool:
        """Whether the application was removed before."""
        return self.definition is None and self.damage is None


@dataclass(frozen=True)
class Removal:
    """The result of a removal.

    Attributes:
        plan: The plan that was carried out.
        remains: A sentence for each thing that the user may have to remove elsewhere.
        error: The error of the git host, if it did not remove the webhook.
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
        """Return what would be removed with an application. This changes nothing.

        Args:
            name: The name of the application.
            purge: Whether the application may have been removed before, so that only its history is
                deleted.
            force: As in ``remove``.

        Raises:
            ConfigurationError: The application does not exist, or it or one of its previews is
                being deployed.
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
        keys, key_damage = _readable(lambda: self._store.deploy_keys.of(name, ""))
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
            deploy_keys=keys or (),
            previews=previews,
            target=target,
            damage=damage,
            webhook_damage=webhook_damage,
            key_damage=key_damage,
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
            name: The name of the application.
            purge: Whether to delete its history and logs, and those of removed applications with
                its name. If it was removed before, only these are deleted.
            end_previews: Whether to remove the directories of its previews too.
            keep_webhook: Whether to leave the webhook at the git host.
            force: Whether to delete damaged records of deployments that have not ended. Their
                processes, if there are any, continue to run.

        Raises:
            ConfigurationError: As ``plan``. Then nothing is removed.
            StoreError: The database cannot be written. Then nothing is removed.
        """
        plan = self.plan(name, purge=purge, force=force)
        if plan.is_former:
            self._store.forget_removed_history(name)
            return Removal(plan, self._remove_logs(name))
        # Detect a locked, full or read-only database before the request to the host: an application
        # that stays must keep its webhook.
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
        """Remove the application's SSH keys from the host; return what remains there."""
        remains = [] if plan.key_damage is None else [_UNKNOWN_KEY.format(name=plan.name)]
        for key in plan.deploy_keys:
            left = self._deploy_keys.remove_at_host_in_time(key)
            remains += [f"{str(each)[:1].upper()}{str(each)[1:]}." for each in left]
        return remains

    def _remove_logs(self, *names: str) -> list[str]:
        """Delete the logs of applications; return a sentence for those that remain."""
        left = [self._logs.remove(name) for name in names]
        return [f"Logs in {each.path}: {each}." for each in left if each is not None]

    def _is_there(self, name: str) -> bool:
        try:
            self._store.get_application(name)
        except ConfigurationError:
            return False
        except StoreError:
            return True  # the record is damaged
        return True

    def _remove_webhook(
        self, plan: RemovalPlan, *, ask_host: bool
    ) -> tuple[list[str], DeploycoreError | None]:
        """Remove the webhook from the git host; return what remains there, and the error."""
        webhook, definition = plan.webhook, plan.definition
        if plan.webhook_damage is not None:
            return [_UNKNOWN_WEBHOOK.format(name=plan.name)], plan.webhook_damage
        if webhook is None:
            return [], None
        if webhook.hosts_id is None and webhook.delivered_at is None:
            return [], None  # whether the host ever had a webhook is unknown
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

_UNKNOWN_KEY = (
    "A deploy key at the git host whose name begins with deploycore {name}, if there is one. Its"
    " record is damaged."
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
