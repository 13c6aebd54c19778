"""The one door to what is stored: each operation is one transaction, in records and out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, Select, Table, delete, insert, select, update

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.secrets import SecretBox, is_sealed
from deploycore.settings import Settings
from deploycore.store.database import Database
from deploycore.store.records import (
    ApplicationRecord,
    DeploymentRecord,
    DeploymentState,
    ProviderRecord,
)
from deploycore.store.tables import applications, deployments, providers

__all__ = ["Store"]

_COMMANDS = {"provider": "deploycore provider", "application": "deploycore app"}


class Store:
    """Providers, applications and deployments.

    Nothing is opened before the first operation, which makes the database where there is
    none and brings it up to date where it is older. Threads may share a store. Every
    operation raises ``StoreError`` where the database can't be used.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)

    def add_provider(self, record: ProviderRecord) -> None:
        """Keep a new provider.

        Raises:
            ConfigurationError: The name is malformed or taken.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        _check_name("provider", record.name)
        values = vars(record) | {"settings": dict(record.settings), "secrets": dict(record.secrets)}
        with self._database.writing() as connection:
            _refuse_taken(connection, "provider", providers, record.name)
            if any(map(is_sealed, record.secrets.values())):
                self._refuse_second_key(connection)
            connection.execute(insert(providers).values(values))

    def get_provider(self, name: str) -> ProviderRecord:
        """The provider of a name.

        Raises:
            ConfigurationError: There is none; says which name is close.
        """
        with self._database.reading() as connection:
            return ProviderRecord(**_row(connection, "provider", providers, name))

    def list_providers(self) -> list[ProviderRecord]:
        """All providers, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(providers).order_by(providers.c.name)).mappings()
            return [ProviderRecord(**row) for row in rows]

    def remove_provider(self, name: str) -> None:
        """Forget a provider and its secrets.

        Raises:
            ConfigurationError: There is none of this name, or applications use it.
        """
        with self._database.writing() as connection:
            _row(connection, "provider", providers, name)
            using = select(applications.c.name).where(applications.c.provider == name)
            users = connection.scalars(using.order_by(applications.c.name)).all()
            if users:
                raise ConfigurationError(
                    f"The provider {name!r} is used by: {', '.join(users)}.",
                    hint=f"Remove what uses it first: deploycore app remove {users[0]}",
                    applications=list(users),
                )
            connection.execute(delete(providers).where(providers.c.name == name))

    def holds_sealed_secrets(self) -> bool:
        """Whether any provider's secret is stored encrypted, so that its key is needed."""
        with self._database.reading() as connection:
            return next(_sealed_secrets(connection), None) is not None

    def add_application(self, record: ApplicationRecord) -> None:
        """Keep a new application.

        Raises:
            ConfigurationError: The name is malformed or taken, the provider is unknown, or
                another application has the target.
        """
        _check_name("application", record.name)
        with self._database.writing() as connection:
            _refuse_taken(connection, "application", applications, record.name)
            _row(connection, "provider", providers, record.provider)
            same_target = select(applications.c.name).where(applications.c.target == record.target)
            other = connection.scalar(same_target)
            if other is not None:
                raise ConfigurationError(
                    f"The application {other!r} already has the target {record.target}.",
                    hint="Give each application a directory of its own.",
                    application=other,
                )
            connection.execute(insert(applications).values(vars(record)))

    def get_application(self, name: str) -> ApplicationRecord:
        """The application of a name.

        Raises:
            ConfigurationError: There is none; says which name is close.
        """
        with self._database.reading() as connection:
            return ApplicationRecord(**_row(connection, "application", applications, name))

    def list_applications(self) -> list[ApplicationRecord]:
        """All applications, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(applications).order_by(applications.c.name)).mappings()
            return [ApplicationRecord(**row) for row in rows]

    def remove_application(self, name: str) -> None:
        """Forget an application and its deployments; its files stay.

        Raises:
            ConfigurationError: There is none of this name.
        """
        with self._database.writing() as connection:
            _row(connection, "application", applications, name)
            connection.execute(delete(applications).where(applications.c.name == name))

    def start_deployment(self, application: str, requested_by: str) -> DeploymentRecord:
        """Record that a deployment begins now.

        Args:
            requested_by: Who or what asked for it; may be empty.

        Raises:
            ConfigurationError: There is no such application.
        """
        values = {
            "application": application,
            "state": "running",
            "started_at": datetime.now(UTC),
            "requested_by": requested_by,
        }
        with self._database.writing() as connection:
            _row(connection, "application", applications, application)
            started = insert(deployments).values(values).returning(*deployments.c)
            return DeploymentRecord(**connection.execute(started).mappings().one())

    def note_release(self, deployment: int, *, commit: str, release: str) -> DeploymentRecord:
        """Record what a running deployment is about to put live.

        Args:
            deployment: The deployment's id.
            commit: The full hash.
            release: The name of the release directory.

        Raises:
            StoreError: No deployment of this id is running.
        """
        return self._update_running(deployment, commit=commit, release=release)

    def finish_deployment(
        self,
        deployment: int,
        state: DeploymentState,
        *,
        commit: str | None = None,
        release: str | None = None,
        error: DeploycoreError | None = None,
    ) -> DeploymentRecord:
        """Record that a deployment has ended, now.

        Args:
            deployment: The deployment's id.
            state: ``succeeded``, ``failed`` or ``cancelled``.
            commit: The full hash, where it was not noted before.
            release: The name of the release directory, where it was not noted before.
            error: What ended it: its code and its sentence are kept.

        Raises:
            StoreError: No deployment of this id is running.
        """
        if state == "running":
            raise ValueError("a finished deployment can't be running")
        given = {
            "commit": commit,
            "release": release,
            "error_code": error and error.code,
            "error": error and error.message,
        }
        known = {key: value for key, value in given.items() if value is not None}
        return self._update_running(deployment, state=state, finished_at=datetime.now(UTC), **known)

    def list_deployments(
        self,
        application: str | None = None,
        *,
        state: DeploymentState | None = None,
        limit: int | None = None,
    ) -> list[DeploymentRecord]:
        """Deployments, the newest first.

        Args:
            application: Only those of this application.
            state: Only those in this state.
            limit: At most so many.

        Raises:
            ConfigurationError: There is no such application.
        """
        query = _newest_first(state).limit(limit)
        with self._database.reading() as connection:
            if application is not None:
                _row(connection, "application", applications, application)
                query = query.where(deployments.c.application == application)
            return [DeploymentRecord(**row) for row in connection.execute(query).mappings()]

    def last_deployment(
        self, application: str, *, state: DeploymentState | None = None
    ) -> DeploymentRecord | None:
        """The newest deployment of an application, or the newest in a state; or ``None``.

        Raises:
            ConfigurationError: There is no such application.
        """
        return next(iter(self.list_deployments(application, state=state, limit=1)), None)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _update_running(self, deployment: int, **values: Any) -> DeploymentRecord:
        running = update(deployments).where(
            deployments.c.id == deployment, deployments.c.state == "running"
        )
        with self._database.writing() as connection:
            changed = running.values(values).returning(*deployments.c)
            row = connection.execute(changed).mappings().one_or_none()
            if row is None:
                raise StoreError(
                    f"Deployment {deployment} is not running, so nothing can be recorded for it.",
                    hint="It may have been recorded as ended by another process, or removed.",
                    deployment=deployment,
                )
            return DeploymentRecord(**row)

    def _refuse_second_key(self, connection: Connection) -> None:
        """All sealed secrets of a database have one key: a mistaken one is noticed here."""
        sealed = next(_sealed_secrets(connection), None)
        if sealed is not None:
            SecretBox(self._settings).reveal(sealed)


def _check_name(noun: str, name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{name!r} can't be the name of this {noun}.",
            hint="Use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit.",
        )


def _row(connection: Connection, noun: str, table: Table, name: str) -> Any:
    row = connection.execute(select(table).where(table.c.name == name)).mappings().one_or_none()
    if row is not None:
        return row
    close = difflib.get_close_matches(name, connection.scalars(select(table.c.name)).all(), n=1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    raise ConfigurationError(
        f"There is no {noun} {name!r}.",
        hint=f"{meant}See which there are: {_COMMANDS[noun]} list",
        **{noun: name},
    )


def _refuse_taken(connection: Connection, noun: str, table: Table, name: str) -> None:
    taken = connection.scalar(select(table.c.name).where(table.c.name == name))
    if taken is not None:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {_COMMANDS[noun]} remove {name}",
            **{noun: name},
        )


def _sealed_secrets(connection: Connection) -> Iterator[str]:
    for secrets in connection.scalars(select(providers.c.secrets)):
        yield from filter(is_sealed, secrets.values())


def _newest_first(state: DeploymentState | None) -> Select[Any]:
    query = select(deployments).order_by(deployments.c.id.desc())
    return query if state is None else query.where(deployments.c.state == state)
