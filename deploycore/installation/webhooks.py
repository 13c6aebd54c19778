"""Webhooks of applications: create their secrets, and register them at the git host.

A secret is stored before the host receives it. So a delivery is never signed with an unknown
secret, even after a crash.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.models import RepositoryId
from deploycore.secrets import SecretBox
from deploycore.settings import PUBLIC_URL, parse_public_url
from deploycore.store import ApplicationRecord, Store, WebhookRecord

if TYPE_CHECKING:
    from deploycore.provider import Provider

__all__ = ["DAY", "Webhooks", "describe_remaining", "place_of"]

logger = logging.getLogger(__name__)

DAY = timedelta(days=1)
"""How long a previous secret stays valid."""


class Webhooks:
    """The webhooks of an installation's applications.

    Args:
        open_provider: Opens a configured provider by its name.
        public_url: The address at which git hosts reach the server; ``None`` if it is given in each
            call.
    """

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        open_provider: Callable[[str], Provider],
        public_url: str | None,
    ) -> None:
        self._store = store
        self._box = box
        self._open_provider = open_provider
        self._public_url = public_url

    def url(self, application: str, base: str | None = None) -> str:
        """Return the address to which the git host sends an application's deliveries.

        Args:
            application: The name of the application.
            base: The server's public address (default: that of the settings).

        Raises:
            ConfigurationError: The address is missing or malformed.
        """
        found = self._public_url if base is None else parse_public_url(base, "The address")
        if found is None:
            raise ConfigurationError(
                "The server's public address is not set.",
                hint=f"Give --url https://…, or set {PUBLIC_URL}.",
            )
        return f"{found}/webhooks/{application}"

    def prepare(self, application: str) -> WebhookRecord:
        """Create the secret of a webhook, if it has none. This sends no request.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: The key cannot be used.
        """
        return self._store.webhooks.add(application, self._new_secret())

    def register(self, application: str, url: str) -> WebhookRecord:
        """Register the webhook at the git host, or update it. You can call this again at any time.

        Args:
            application: The name of the application.
            url: The address, from ``url``.

        Raises:
            ConfigurationError: The application does not exist, or its plugin cannot register
                webhooks. In the second case the secret exists, so a person can set up the webhook
                by hand.
            ProviderError: The host is unreachable, or rejected the request.
        """
        record = self._store.get_application(application)
        self.prepare(application)
        return self._tell_host(record, url, grace=DAY)

    def rotate(
        self, application: str, *, grace: timedelta = DAY, url: str | None = None
    ) -> WebhookRecord:
        """Create a new secret, and send it to the host if the webhook was registered there.

        The previous secret stays valid for a time. Until the host has the new secret, both are
        valid, so you can call this again after a failure.

        Args:
            application: The name of the application.
            grace: How long the previous secret stays valid.
            url: The address for deliveries, if it changes.

        Raises:
            ConfigurationError: The webhook does not exist.
            ProviderError: The host is unreachable, or rejected the request.
        """
        application_record = self._store.get_application(application)
        record = self._store.webhooks.begin_rotation(application, self._new_secret())
        address = url or record.url
        if record.hosts_id is not None and address is not None:
            return self._tell_host(application_record, address, grace=grace)
        return self._store.webhooks.end_rotation(
            application, former_until=datetime.now(UTC) + grace
        )

    def remove(self, application: str, *, at_host: bool = True) -> bool:
        """Delete a webhook and its secrets, and remove it from the git host.

        Args:
            application: The name of the application.
            at_host: Whether to remove it from the host, if deploycore registered it there.

        Returns:
            Whether the host had the webhook and removed it.

        Raises:
            ConfigurationError: The webhook does not exist.
            ProviderError: The host is unreachable, or rejected the request. Then nothing is
                deleted.
        """
        record = self._store.webhooks.get(application)
        removed = at_host and self.remove_at_host(record)
        self._store.webhooks.remove(application)
        return removed

    def remove_at_host(self, record: WebhookRecord) -> bool:
        """Remove a webhook from the git host, if deploycore registered it there.

        Returns:
            Whether the host had the webhook and removed it.

        Raises:
            ProviderError: The host is unreachable, or rejected the request.
        """
        if record.hosts_id is None:
            return False
        name, repository = record.provider, record.repository
        if name is None or repository is None:
            definition = self._store.get_application(record.application).definition
            name, repository = place_of(record, definition)
        with self._open_provider(str(name)) as provider:
            return provider.remove_webhook(RepositoryId.parse(str(repository)), record.hosts_id)

    def secrets(self, record: WebhookRecord, *, at: datetime) -> tuple[SecretStr, ...]:
        """Return the secrets that are valid at a time: the current one, and the previous one for a
        while.

        Raises:
            StoreError: The key cannot be used.
        """
        found = [self._box.reveal(record.secret)]
        if record.former is not None and (record.former_until is None or at < record.former_until):
            found.append(self._box.reveal(record.former))
        return tuple(found)

    def _remove_former(self, former: WebhookRecord) -> None:
        """Remove the webhook of an earlier repository of the application from the host."""
        try:
            self.remove_at_host(former)
        except DeploycoreError as error:
            remains = describe_remaining(former, None)
            logger.warning(
                "A webhook could not be removed: %s Remove it at the git host: %s", error, remains
            )

    def _new_secret(self) -> str:
        # 43 characters; hosts accept 128 or more.
        return self._box.seal(SecretStr(secrets.token_urlsafe(32)))

    def _tell_host(
        self, application: ApplicationRecord, url: str, *, grace: timedelta
    ) -> WebhookRecord:
        name, definition = application.name, application.definition
        former = self._store.webhooks.get(name)
        secret = self._box.reveal(former.secret)
        with self._open_provider(definition.provider) as provider:
            if not provider.supports("register_webhook"):
                raise ConfigurationError(
                    f"Providers of kind {provider.plugin.kind_and_mode} cannot set up a webhook.",
                    hint="Set it up in the git host's web pages: deploycore webhook register"
                    f" {name} --by-hand --reveal-secret",
                    provider=provider.name,
                    application=name,
                )
            made = provider.register_webhook(definition.repository_id, url, secret)
        if _is_elsewhere(former, definition, made.id):
            # This is done before the new place is recorded. So if anything fails or the process
            # dies, the previous place stays recorded until its webhook is removed.
            self._remove_former(former)
        self._store.webhooks.note_host(
            name,
            hosts_id=made.id,
            url=made.url,
            provider=definition.provider,
            repository=definition.repository,
        )
        return self._store.webhooks.end_rotation(name, former_until=datetime.now(UTC) + grace)


def _is_elsewhere(former: WebhookRecord, definition: Application, registered: str) -> bool:
    """Whether an earlier webhook belongs to another repository than the application's.

    Args:
        registered: The identifier of the webhook that the host has now. If it is the same as before
            on the same host, the repository was only renamed: the host finds it under its previous
            name too.
    """
    provider, repository = place_of(former, definition)
    if provider == definition.provider and former.hosts_id == registered:
        return False
    return (provider, repository) != (definition.provider, definition.repository)


def place_of(
    record: WebhookRecord, definition: Application | None
) -> tuple[str | None, str | None]:
    """Return the provider and the repository that a webhook was registered for.

    Args:
        definition: The definition of the application, for records without these fields.
    """
    if record.repository is None and definition is not None:
        return definition.provider, definition.repository
    return record.provider, record.repository


def describe_remaining(webhook: WebhookRecord, definition: Application | None) -> str:
    """Return a sentence about what a person has to remove at the git host."""
    provider, repository = place_of(webhook, definition)
    where = "its repository"
    if repository is not None:
        where = f"the repository {repository} (provider {provider})"
    address = webhook.url or f"a URL that ends with /webhooks/{webhook.application}"
    if webhook.hosts_id is None:
        return f"The webhook of {where} that was set up by hand. It sends to {address}."
    return f"The webhook {webhook.hosts_id} of {where}. It sends to {address}."
