"""Letting a git host tell of pushes: the webhook's secret, made here, and its place at the host.

What is stored comes before what the host is told, so that a delivery is never signed with a
secret that is not known here, whatever fails in between.
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
"""How long a former secret holds."""


class Webhooks:
    """The webhooks of an installation's applications.

    Args:
        open_provider: Opens a configured provider, by its name.
        public_url: Where git hosts reach the server; ``None`` where that is told each time.
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
        """Where the git host is to send to.

        Args:
            base: The server's public address; by default what the settings say.

        Raises:
            ConfigurationError: There is none, or it is malformed.
        """
        found = self._public_url if base is None else parse_public_url(base, "The address")
        if found is None:
            raise ConfigurationError(
                "The server's public address is not set.",
                hint=f"Give --url https://…, or set {PUBLIC_URL}.",
            )
        return f"{found}/webhooks/{application}"

    def prepare(self, application: str) -> WebhookRecord:
        """Make the secret of a webhook, unless there is one; the host is not asked.

        Raises:
            ConfigurationError: There is no such application.
            StoreError: The key can't be used.
        """
        return self._store.webhooks.add(application, self._new_secret())

    def register(self, application: str, url: str) -> WebhookRecord:
        """Have the host of an application's provider send there; may be done again at any time.

        Args:
            url: As ``url`` gives it.

        Raises:
            ConfigurationError: There is no such application, or the provider's plugin can't; the
                secret is there then, for a person to set it up by hand.
            ProviderError: The host refuses, or can't be reached.
        """
        record = self._store.get_application(application)
        self.prepare(application)
        return self._tell_host(record, url, grace=DAY)

    def rotate(
        self, application: str, *, grace: timedelta = DAY, url: str | None = None
    ) -> WebhookRecord:
        """Make a new secret; the former one holds for a while.

        Where the host was told of the webhook from here, it is told of the new secret. Until it
        is known to have that, both hold, so this may be done again after it failed.

        Args:
            grace: How long the former one holds.
            url: Where the host sends to, if not where it did before.

        Raises:
            ConfigurationError: There is no such webhook.
            ProviderError: The host refuses, or can't be reached.
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
        """Forget a webhook and its secrets, and have the host forget it.

        Args:
            at_host: Whether the host is asked; it is only where it was told from here.

        Returns:
            Whether the host had it, and has it no longer.

        Raises:
            ConfigurationError: There is no such webhook.
            ProviderError: The host refuses, or can't be reached; nothing is forgotten then.
        """
        record = self._store.webhooks.get(application)
        removed = at_host and self.remove_at_host(record)
        self._store.webhooks.remove(application)
        return removed

    def remove_at_host(self, record: WebhookRecord) -> bool:
        """Have the host forget a webhook, if it was told of it from here.

        Returns:
            Whether the host had it, and has it no longer.

        Raises:
            ProviderError: The host refuses, or can't be reached.
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
        """The secrets that hold at a time: the present one, and the former one for a while.

        Raises:
            StoreError: The key can't be used.
        """
        found = [self._box.reveal(record.secret)]
        if record.former is not None and (record.former_until is None or at < record.former_until):
            found.append(self._box.reveal(record.former))
        return tuple(found)

    def _remove_former(self, former: WebhookRecord) -> None:
        """Have the host forget the webhook of a repository that the application had before."""
        try:
            self.remove_at_host(former)
        except DeploycoreError as error:
            remains = describe_remaining(former, None)
            logger.warning(
                "A webhook could not be removed: %s Remove it at the git host: %s", error, remains
            )

    def _new_secret(self) -> str:
        # 43 characters; hosts take 128 or more.
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
                    f"Providers of kind {provider.plugin.kind} cannot set up a webhook.",
                    hint="Set it up in the git host's web pages: deploycore webhook register"
                    f" {name} --by-hand --reveal-secret",
                    provider=provider.name,
                    application=name,
                )
            made = provider.register_webhook(definition.repository_id, url, secret)
        if _is_elsewhere(former, definition, made.id):
            # Before the new place is noted: whatever fails or dies here, the former place is known
            # until this is done again.
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
    """Whether a webhook of before is at another repository than the application's.

    Args:
        registered: The identifier of the webhook that the host has now. The same one on the same
            host is the same webhook: the repository was renamed, and the host still finds it by
            its former name.
    """
    provider, repository = place_of(former, definition)
    if provider == definition.provider and former.hosts_id == registered:
        return False
    return (provider, repository) != (definition.provider, definition.repository)


def place_of(
    record: WebhookRecord, definition: Application | None
) -> tuple[str | None, str | None]:
    """The provider and the repository that a webhook was registered for.

    Args:
        definition: The application's, which tells where the record does not.
    """
    if record.repository is None and definition is not None:
        return definition.provider, definition.repository
    return record.provider, record.repository


def describe_remaining(webhook: WebhookRecord, definition: Application | None) -> str:
    """What a person has to remove at the git host, as a sentence."""
    provider, repository = place_of(webhook, definition)
    where = "its repository"
    if repository is not None:
        where = f"the repository {repository} (provider {provider})"
    address = webhook.url or f"a URL that ends with /webhooks/{webhook.application}"
    if webhook.hosts_id is None:
        return f"The webhook of {where} that was set up by hand. It sends to {address}."
    return f"The webhook {webhook.hosts_id} of {where}. It sends to {address}."
