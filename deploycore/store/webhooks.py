"""Webhooks in the store: the secrets of each application's webhook, and the git host's
identifier."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from sqlalchemy import Connection, delete, insert, select, update

from deploycore.errors import ConfigurationError
from deploycore.store.database import Database
from deploycore.store.lookup import named_row
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.store.polls import poll_now
from deploycore.store.reading import as_record, checksums, read_record, read_records
from deploycore.store.tables import webhooks
from deploycore.store.webhook_records import WebhookRecord

__all__ = ["Webhooks", "find_webhook", "webhook_of"]

webhook_of = as_record(WebhookRecord, webhooks)


class Webhooks:
    """The webhooks of all applications. ``Store`` has an instance.

    Args:
        refuse_second_key: Raises an error if stored secrets were encrypted with another key than
            the one to use.
    """

    def __init__(self, database: Database, refuse_second_key: Callable[[Statements], None]) -> None:
        self._database = database
        self._refuse_second_key = refuse_second_key

    def add(self, application: str, secret: str) -> WebhookRecord:
        """Store the secret of a new webhook. An existing webhook does not change.

        Args:
            secret: The secret, as ``SecretBox`` returns it.

        Returns:
            The webhook that is stored now.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: Stored secrets were encrypted with another key.
        """
        with self._database.writing() as connection:
            named_row(connection, "application", application, locked=True)
            known = _stored(connection, application)
            if known is not None:
                return known
            self._refuse_second_key(StatementsOfEngine(connection))
            values = {
                "application": application,
                "secret": secret,
                "former": None,
                "created_at": datetime.now(UTC),
            }
            values |= checksums(webhooks, values)
            added = insert(webhooks).values(values).returning(*webhooks.c)
            return read_record(webhooks, connection.execute(added).mappings().one(), webhook_of)

    def get(self, application: str) -> WebhookRecord:
        """Return the webhook of an application.

        Raises:
            ConfigurationError: The application does not exist, or has no webhook.
        """
        with self._database.reading() as connection:
            named_row(connection, "application", application)
            found = _stored(connection, application)
        return found or _raise_missing(application)

    def find(self, application: str) -> WebhookRecord | None:
        """Return the webhook of an application; ``None`` if there is none. This reads one row."""
        with self._database.reading_by_name() as statements:
            return find_webhook(statements, application)

    def list(self) -> list[WebhookRecord]:
        """List all webhooks, by application."""
        query = select(webhooks).order_by(webhooks.c.application)
        with self._database.reading() as connection:
            return list(read_records(connection, webhooks, query, webhook_of))

    def begin_rotation(self, application: str, secret: str) -> WebhookRecord:
        """Store a new secret in addition to the current one, until ``end_rotation`` is called.

        If a previous rotation did not end, its new secret stays, because the host may have it.

        Raises:
            ConfigurationError: The webhook does not exist.
            StoreError: Stored secrets were encrypted with another key.
        """
        with self._database.writing() as connection:
            named_row(connection, "application", application, locked=True)
            known = _stored(connection, application) or _raise_missing(application)
            if known.former is not None and known.former_until is None:
                return known
            self._refuse_second_key(StatementsOfEngine(connection))
            values = {"secret": secret, "former": known.secret, "former_until": None}
            values |= checksums(webhooks, values)
            return _changed(connection, application, values)

    def end_rotation(self, application: str, *, former_until: datetime) -> WebhookRecord:
        """Record until when the previous secret is valid, after the host has received the new one.

        If this is already recorded, or there is no previous secret, nothing changes.

        Raises:
            ConfigurationError: The webhook does not exist.
        """
        with self._database.writing() as connection:
            known = _stored(connection, application) or _raise_missing(application)
            if known.former is None or known.former_until is not None:
                return known
            return _changed(connection, application, {"former_until": former_until})

    def note_host(
        self,
        application: str,
        *,
        hosts_id: str,
        url: str,
        provider: str | None = None,
        repository: str | None = None,
    ) -> WebhookRecord:
        """Record the git host's identifier of the webhook, its address, and its provider and
        repository.

        Args:
            provider, repository: As in ``WebhookRecord``.

        Raises:
            ConfigurationError: The webhook does not exist.
        """
        values = {
            "hosts_id": hosts_id,
            "url": url,
            "provider": provider,
            "repository": repository,
        }
        with self._database.writing() as connection:
            return _changed(connection, application, values)

    def note_delivery(self, application: str) -> None:
        """Record that a delivery with a valid signature has arrived now."""
        values = {"delivered_at": datetime.now(UTC)}
        with self._database.writing() as connection:
            connection.execute(
                update(webhooks).where(webhooks.c.application == application).values(values)
            )

    def remove(self, application: str) -> None:
        """Delete a webhook and its secrets. Its deliveries are no longer accepted.

        Raises:
            ConfigurationError: The webhook does not exist.
        """
        with self._database.writing() as connection:
            named_row(connection, "application", application)
            gone = delete(webhooks).where(webhooks.c.application == application)
            if not connection.execute(gone).rowcount:
                _raise_missing(application)
            poll_now(connection, application)


def find_webhook(statements: Statements, application: str) -> WebhookRecord | None:
    """Return the webhook of an application, if it has one."""
    row = statements.run("webhook", of=application).row
    return None if row is None else read_record("webhooks", row, webhook_of)


def _stored(connection: Connection, application: str) -> WebhookRecord | None:
    return find_webhook(StatementsOfEngine(connection), application)


def _changed(connection: Connection, application: str, values: dict[str, Any]) -> WebhookRecord:
    changed = update(webhooks).where(webhooks.c.application == application).values(values)
    row = connection.execute(changed.returning(*webhooks.c)).mappings().one_or_none()
    return _raise_missing(application) if row is None else read_record(webhooks, row, webhook_of)


def _raise_missing(application: str) -> NoReturn:
    raise ConfigurationError(
        f"The application {application!r} has no webhook.",
        hint=f"Register one: deploycore webhook register {application} --url …",
        application=application,
    )
