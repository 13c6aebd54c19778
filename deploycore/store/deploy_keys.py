"""SSH keys that deploycore has created: those of applications, and those of providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.database import Database
from deploycore.store.deploy_key_records import deploy_key_of
from deploycore.store.lookup import named_row
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.store.reading import checksums, read_record, read_records
from deploycore.store.records import DeployKeyRecord
from deploycore.store.tables import applications, deploy_keys, providers

__all__ = ["DeployKeys", "rename_keys"]


class DeployKeys:
    """The keys of all applications and providers. ``Store`` has an instance.

    A key belongs to an application or, if it has none, to a provider.

    Args:
        refuse_second_key: As for ``Webhooks``.
    """

    def __init__(self, database: Database, refuse_second_key: Callable[[Statements], None]) -> None:
        self._database = database
        self._refuse_second_key = refuse_second_key

    def add(
        self,
        *,
        application: str | None,
        provider: str,
        repository: str | None,
        public_key: str,
        secret: str,
    ) -> DeployKeyRecord:
        """Store a key that will be used as soon as the host accepts it. If the owner already has
        such a key, that key is kept, because the host may have it.

        Args:
            secret: The private key, as ``SecretBox`` returns it.

        Returns:
            The key that is stored now.

        Raises:
            ConfigurationError: The application or provider does not exist.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        is_new = and_(_is_of(application, provider), deploy_keys.c.state == "new")
        with self._database.writing() as connection:
            named_row(connection, "provider", provider)
            _lock_owner(connection, application, provider)
            found = connection.execute(select(deploy_keys).where(is_new)).mappings().first()
            if found is not None:
                return read_record(deploy_keys, found, deploy_key_of)
            self._refuse_second_key(StatementsOfEngine(connection))
            values: dict[str, Any] = {
                "application": application,
                "provider": provider,
                "repository": repository,
                "state": "new",
                "public_key": public_key,
                "secret": secret,
                "registered": {},
                "created_at": datetime.now(UTC),
            }
            values |= checksums(deploy_keys, values)
            added = insert(deploy_keys).values(values).returning(*deploy_keys.c)
            row = connection.execute(added).mappings().one()
            return read_record(deploy_keys, row, deploy_key_of)

    def of(self, application: str | None, provider: str) -> list[DeployKeyRecord]:
        """Return the keys of an application or, without one, of a provider, the oldest first."""
        query = select(deploy_keys).where(_is_of(application, provider)).order_by(deploy_keys.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [read_record(deploy_keys, row, deploy_key_of) for row in rows]

    def at(self, provider: str) -> Sequence[DeployKeyRecord]:
        """Return the keys that the host of a provider may have. These include keys of applications,
        even of applications that have another provider now."""
        query = select(deploy_keys).where(deploy_keys.c.provider == provider)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(deploy_keys.c.id)).mappings().all()
        return [read_record(deploy_keys, row, deploy_key_of) for row in rows]

    def list(self) -> list[DeployKeyRecord]:
        """Return all keys, those of providers first."""
        c = deploy_keys.c
        query = select(deploy_keys).order_by(c.application.is_not(None), c.application, c.provider)
        with self._database.reading() as connection:
            return list(read_records(connection, deploy_keys, query.order_by(c.id), deploy_key_of))

    def note_registered(self, key: DeployKeyRecord, registered: Mapping[str, str]) -> None:
        """Record the host's identifiers of a key; see ``DeployKeyRecord.registered``."""
        with self._database.writing() as connection:
            _change(connection, deploy_keys.c.id == key.id, registered=dict(registered))

    def refuse_replaced(self, key: DeployKeyRecord) -> None:
        """Refuse to use a key that another process has replaced or removed.

        Raises:
            ConfigurationError: The key was replaced or removed.
        """
        with self._database.reading() as connection:
            _refuse_replaced(connection, key)

    def activate(self, key: DeployKeyRecord) -> None:
        """Use a new key, and record that the owner's previous keys must be removed at the host.

        Raises:
            ConfigurationError: The key or its owner was replaced or removed in the meantime.
        """
        is_live = and_(_is_of(key.application, key.provider), deploy_keys.c.state == "live")
        with self._database.writing() as connection:
            _lock_owner(connection, key.application, key.provider)
            _refuse_replaced(connection, key)
            former = connection.execute(
                select(deploy_keys).where(is_live, deploy_keys.c.id != key.id)
            ).mappings()
            for row in former.all():
                _drop_secret(connection, row["id"], row["public_key"], "former")
            if key.application is None:  # the provider has it now
                _drop_secret(connection, key.id, key.public_key, "live")
            else:
                _change(connection, deploy_keys.c.id == key.id, state="live")

    def give_up(self, key: DeployKeyRecord) -> None:
        """Record that a key that was never used must be removed at the host."""
        with self._database.writing() as connection:
            _lock_owner(connection, key.application, key.provider)
            is_new = and_(deploy_keys.c.id == key.id, deploy_keys.c.state == "new")
            if connection.scalar(select(deploy_keys.c.id).where(is_new)) is not None:
                _drop_secret(connection, key.id, key.public_key, "former")

    def remove(self, key: DeployKeyRecord) -> None:
        """Delete a key, with its private part."""
        with self._database.writing() as connection:
            connection.execute(delete(deploy_keys).where(deploy_keys.c.id == key.id))

    def owner_of(self, name: str) -> tuple[bool, bool]:
        """Return whether an application has a name, and whether a provider has it.

        Raises:
            ConfigurationError: Neither an application nor a provider has it.
        """
        with self._database.reading() as connection:
            found = tuple(
                connection.scalar(select(table.c.name).where(table.c.name == name)) is not None
                for table in (applications, providers)
            )
        if not any(found):
            raise ConfigurationError(
                f"There is no application and no provider named {name!r}.",
                hint="List the applications: deploycore app list (or the providers: deploycore"
                " provider list)",
                name=name,
            )
        return found[0], found[1]


def rename_keys(connection: Connection, definition: Application, name: str) -> None:
    """Use the key of an application for its repository under a new name."""
    c = deploy_keys.c
    is_its = and_(
        c.application == definition.name,
        c.provider == definition.provider,
        c.repository == definition.repository,
    )
    for row in connection.execute(select(deploy_keys).where(is_its)).mappings().all():
        known = read_record(deploy_keys, row, deploy_key_of).registered
        registered = {
            name if each == definition.repository else each: number
            for each, number in known.items()
        }
        _change(connection, c.id == row["id"], repository=name, registered=registered)


def _is_of(application: str | None, provider: str) -> ColumnElement[bool]:
    c = deploy_keys.c
    if application is None:
        return and_(c.application.is_(None), c.provider == provider)
    return c.application == application


def _lock_owner(connection: Connection, application: str | None, provider: str) -> None:
    if application is None:
        named_row(connection, "provider", provider, locked=True)
    else:
        named_row(connection, "application", application, locked=True)


def _refuse_replaced(connection: Connection, key: DeployKeyRecord) -> None:
    state = connection.scalar(select(deploy_keys.c.state).where(deploy_keys.c.id == key.id))
    if state not in ("new", "live"):
        raise ConfigurationError(
            f"Another process has replaced or removed the new SSH key of {key.owner!r}.",
            hint="List the keys: deploycore key list",
            name=key.owner,
        )


def _drop_secret(connection: Connection, number: int, public_key: str, state: str) -> None:
    values: dict[str, Any] = {"secret": None, "public_key": public_key}
    values |= checksums(deploy_keys, values)
    _change(connection, deploy_keys.c.id == number, state=state, **values)


def _change(connection: Connection, which: ColumnElement[bool], **values: Any) -> None:
    connection.execute(update(deploy_keys).where(which).values(values))
