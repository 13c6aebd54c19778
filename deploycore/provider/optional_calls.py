"""The methods of ``Provider`` for optional hooks: addresses, keys, webhooks, and reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from deploycore.models import RepositoryId, SshAddress
from deploycore.provider.limits import CallLimit, limited
from deploycore.provider.listings import Everything, ModelT, Query
from deploycore.provider.registry import Plugin

if TYPE_CHECKING:
    from deploycore.events import (
        CommitStatus,
        Delivered,
        DeployKey,
        DeploymentStatus,
        RegisteredKey,
        Webhook,
        WebhookDelivery,
    )

__all__ = ["OptionalCalls"]

T = TypeVar("T")


class OptionalCalls:
    """A part of ``Provider``: SSH addresses, deploy keys, webhooks, and reports to the host."""

    name: str
    plugin: Plugin
    limit: CallLimit | None
    unlimited: Any

    @limited
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Return the SSH URL to clone a repository from, and the keys that the host publishes.

        Raises:
            ConfigurationError: The plugin has no such hook.
        """
        self._demand("ssh_clone_url")
        return self._call("ssh_clone_url", SshAddress, repository=repository)

    @limited
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Return whether a delivery was signed with one of the secrets."""
        self._demand("verify_webhook")
        return self._call("verify_webhook", bool, delivery=delivery, secrets=secrets)

    @limited
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Parse a verified delivery.

        Raises:
            UnexpectedAnswer: The content is not what the host documents.
        """
        self._demand("parse_webhook")
        from deploycore.events import Delivered

        return self._call("parse_webhook", Delivered, delivery=delivery)

    @limited
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """Register a webhook for pushes and pull requests at the host.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            ProviderError: The host is unreachable, or rejected the request.
        """
        self._demand("register_webhook")
        from deploycore.events import Webhook

        arguments = {"repository": repository, "url": url, "secret": secret}
        return self._call("register_webhook", Webhook, **arguments)

    @limited
    def list_webhooks(self, repository: RepositoryId) -> Iterator[Webhook]:
        """List the webhooks of a repository, lazily."""
        self._demand("list_webhooks")
        from deploycore.events import Webhook

        return self._listing("list_webhooks", Webhook, Everything(), repository=repository)

    @limited
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """Remove a webhook by the host's identifier; return whether it existed."""
        self._demand("remove_webhook")
        return self._call("remove_webhook", bool, repository=repository, webhook=webhook)

    @limited
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """Register a key that may read one repository over SSH. Registering it again changes
        nothing.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            ProviderError: The host is unreachable, or rejected the request.
        """
        self._demand("add_deploy_key")
        from deploycore.events import RegisteredKey

        return self._call("add_deploy_key", RegisteredKey, repository=repository, key=key)

    @limited
    def list_deploy_keys(self, repository: RepositoryId) -> Iterator[RegisteredKey]:
        """List the deploy keys of a repository, lazily."""
        self._demand("list_deploy_keys")
        from deploycore.events import RegisteredKey

        return self._listing("list_deploy_keys", RegisteredKey, Everything(), repository=repository)

    @limited
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """Remove a deploy key by the host's identifier; return whether it existed."""
        self._demand("remove_deploy_key")
        return self._call("remove_deploy_key", bool, repository=repository, key_id=key_id)

    @limited
    def deploy_keys_page(self, repository: RepositoryId) -> str | None:
        """Return the address of the host's page with the deploy keys of a repository, if it is
        known."""
        if "deploy_keys_page" not in self.plugin.hooks:
            return None
        return self._call("deploy_keys_page", str, repository=repository)

    @limited
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> None:
        """Show the status of a commit's deployment on the host's pages."""
        self._demand("report_status")
        self._call("report_status", bool, repository=repository, status=status)

    @limited
    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> None:
        """Update the host's list of deployments to an environment."""
        self._demand("report_deployment")
        self._call("report_deployment", bool, repository=repository, status=status)

    def _demand(self, hook: str) -> None:
        raise NotImplementedError  # pragma: no cover

    def _call(self, hook: str, expected: type[T], **arguments: object) -> T:
        raise NotImplementedError  # pragma: no cover

    def _listing(
        self, hook: str, expected: type[ModelT], wanted: Query[ModelT], /, **arguments: object
    ) -> Iterator[ModelT]:
        raise NotImplementedError  # pragma: no cover
