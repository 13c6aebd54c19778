"""The one door to what is stored: each operation is one transaction, in records and out."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from sqlalchemy import (
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from deploycore.application import Application
from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError, StoreError
from deploycore.secrets import SecretBox, is_sealed
from deploycore.settings import Settings
from deploycore.store.claims import Claims
from deploycore.store.database import Database
from deploycore.store.deployments import Deployments
from deploycore.store.lookup import COMMANDS, chunks, named_row
from deploycore.store.polls import Polls, schedule
from deploycore.store.previews import Previews, begin
from deploycore.store.records import ApplicationRecord, ProviderRecord, WebhookRecord
from deploycore.store.states import may_precede
from deploycore.store.tables import applications, deployments, providers, webhooks
from deploycore.store.targets import refuse_common_targets, stored_targets
from deploycore.store.tokens import Tokens
from deploycore.store.triggers import Triggers
from deploycore.store.webhooks import Webhooks, find_webhook

__all__ = ["Store"]

logger = logging.getLogger(__name__)


class Store:
    """Providers, applications and deployments.

    Nothing is opened before the first operation, which makes the database where there is
    none and brings it up to date where it is older. Threads may share a store. Every
    operation raises ``StoreError`` where the database can't be used.

    Attributes:
        deployments: Those of all applications.
        triggers: Why applications are to be looked at.
        claims: Which worker has which application in hand.
        webhooks: Those of all applications.
        polls: When git hosts are asked for news.
        previews: Applications that were made for pull requests.
        tokens: Those of the server's API.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self.deployments = Deployments(self._database)
        self.triggers = Triggers(self._database)
        self.claims = Claims(self._database)
        self.webhooks = Webhooks(self._database, self._refuse_second_key)
        self.polls = Polls(self._database)
        self.previews = Previews(self._database)
        self.tokens = Tokens(self._database)

    def add_provider(self, record: ProviderRecord) -> None:
        """Keep a new provider.

        Raises:
            ConfigurationError: The name is malformed or taken.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        _refuse_malformed(record.name)
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
            return ProviderRecord(**named_row(connection, "provider", providers, name))

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
            named_row(connection, "provider", providers, name)
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
        """Whether any secret is stored encrypted, so that its key is needed."""
        return self.find_sealed_secret() is not None

    def find_sealed_secret(self) -> str | None:
        """Any secret that is stored encrypted; all of a database have one key."""
        with self._database.reading() as connection:
            return next(_sealed_secrets(connection), None)

    def add_application(self, definition: Application) -> ApplicationRecord:
        """Keep a new application.

        Raises:
            ConfigurationError: The name is taken, the provider is unknown, or another
                application has the target.
        """
        with self._database.writing() as connection:
            _refuse_taken(connection, "application", applications, definition.name)
            _refuse_common_targets(connection, [definition])
            return _put(connection, definition)

    def put_applications(
        self, definitions: Sequence[Application], *, dry_run: bool = False
    ) -> None:
        """Keep new applications, and what has changed of others: all of it or nothing.

        Args:
            dry_run: Whether only to see that it can be done.

        Raises:
            ConfigurationError: A provider is unknown, two applications have one target, or one
                that is being deployed would get another target.
        """
        definitions = list({each.name: each for each in definitions}.values())
        # Checked before anybody has to wait for this: below, only if something has changed since.
        with self._database.reading() as connection:
            checked = stored_targets(connection, definitions)
            refuse_common_targets(definitions, checked)
            _refuse_unknown_providers(connection, definitions)
            prepared = [_values(each) for each in definitions]
        with self._database.writing() as connection:
            targets = stored_targets(connection, definitions)
            if targets != checked:
                refuse_common_targets(definitions, targets)
            _refuse_unknown_providers(connection, definitions)
            moved = [
                each.name
                for each in definitions
                if each.name in targets and targets[each.name] != str(each.target)
            ]
            _make_way(connection, moved)
            _put_all(connection, prepared, targets.keys())
            schedule(connection, definitions)
            if dry_run:
                connection.rollback()

    def begin_preview(
        self,
        definition: Application,
        *,
        parent: Application,
        number: int,
        within: Path,
        limit: int,
        opens: bool,
    ) -> bool:
        """Keep the preview of a pull request and its application: both or neither. One that is
        there goes on.

        Args:
            within: The directory that its target is below.
            limit: How many previews its parent may have.
            opens: Whether the pull request was opened just now, perhaps again.

        Returns:
            Whether it is there; ``False`` where the pull request was closed.

        Raises:
            ConfigurationError: There are as many as there may be, the name or the target is that
                of something else than this preview, or a former one can't be removed.
            StoreError: A former one of this name is just being removed.
        """
        with self._database.writing() as connection:
            if not begin(
                connection,
                definition,
                parent=parent,
                number=number,
                within=within,
                limit=limit,
                opens=opens,
            ):
                return False
            is_this = applications.c.name == definition.name
            known = connection.scalar(select(applications.c.definition).where(is_this))
            if known != definition.as_dict():
                _refuse_common_targets(connection, [definition])
                _put(connection, definition)
            return True

    def keep_application_secret(self, name: str, variable: str, stored: str | None) -> None:
        """Keep the value of an application's variable, or forget it.

        Args:
            stored: As ``SecretBox`` gives it; ``None`` to forget it.

        Raises:
            ConfigurationError: There is no such application.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "application", applications, name, locked=True)
            secrets = {key: value for key, value in row["secrets"].items() if key != variable}
            if stored is not None:
                if is_sealed(stored):
                    self._refuse_second_key(connection)
                secrets[variable] = stored
            connection.execute(
                update(applications)
                .where(applications.c.name == name)
                .values(secrets=secrets, revision=applications.c.revision + 1)
            )

    def get_application(self, name: str) -> ApplicationRecord:
        """The application of a name.

        Raises:
            ConfigurationError: There is none; says which name is close.
        """
        with self._database.reading() as connection:
            return application_of(named_row(connection, "application", applications, name))

    def find_applications(self, names: Collection[str]) -> dict[str, ApplicationRecord]:
        """Those of some names that are there, by name; one that is stored in an unknown form is
        logged and left out."""
        found = {}
        with self._database.reading() as connection:
            for some in chunks(sorted(names)):
                query = select(applications).where(applications.c.name.in_(some))
                found.update({each.name: each for each in _known(connection, query)})
        return found

    def find_webhook(
        self, name: str
    ) -> tuple[ApplicationRecord, WebhookRecord, ProviderRecord] | None:
        """An application with its webhook and provider, for who asks often; ``None`` where it has
        none, or is stored in an unknown form."""
        with self._database.reading() as connection:
            webhook = find_webhook(connection, name)
            if webhook is None:
                return None
            query = select(applications).where(applications.c.name == name)
            application = next(_known(connection, query), None)
            if application is None:
                return None
            is_its = providers.c.name == application.definition.provider
            provider = connection.execute(select(providers).where(is_its)).mappings().one()
            return application, webhook, ProviderRecord(**provider)

    def list_targets(self) -> dict[str, Path]:
        """The target of each application, by its name."""
        with self._database.reading() as connection:
            return {name: Path(target) for name, target in stored_targets(connection).items()}

    def list_applications(self) -> list[ApplicationRecord]:
        """All applications, by name. One that is stored in an unknown form is logged and left out,
        so that it keeps nobody from the others."""
        with self._database.reading() as connection:
            return list(_known(connection, select(applications).order_by(applications.c.name)))

    def remove_application(self, name: str) -> Path:
        """Forget an application and its deployments; its files stay.

        Returns:
            Its target.

        Raises:
            ConfigurationError: There is none of this name, or it is being deployed.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "application", applications, name, locked=True)
            _refuse_unfinished(connection, name, "can't be removed")
            connection.execute(delete(applications).where(applications.c.name == name))
            target: Path = row["target"]
            return target

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _refuse_second_key(self, connection: Connection) -> None:
        """All sealed secrets of a database have one key: a mistaken one is noticed here."""
        sealed = next(_sealed_secrets(connection), None)
        if sealed is not None:
            SecretBox(self._settings).reveal(sealed)


def _refuse_malformed(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{name!r} can't be the name of this provider.",
            hint="Use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit.",
        )


def application_of(row: Mapping[Any, Any]) -> ApplicationRecord:
    """The application of a row.

    Raises:
        StoreError: It is stored in an unknown form.
    """
    try:
        definition = Application.model_validate(row["definition"])
    except ValidationError:
        definition = None
    if definition is None:
        raise StoreError(
            f"The application {row['name']!r} is stored in a form that this deploycore does not"
            " know.",
            hint="Upgrade deploycore, or apply the application's file again.",
            application=row["name"],
        )
    return ApplicationRecord(
        definition, row["secrets"], row["revision"], row["created_at"], row["changed_at"]
    )


def _known(connection: Connection, query: Select[Any]) -> Iterator[ApplicationRecord]:
    """The applications of a query; one in an unknown form is logged, and left out."""
    for row in connection.execute(query).mappings():
        try:
            yield application_of(row)
        except StoreError as error:
            logger.warning("%s", error)


def _refuse_common_targets(connection: Connection, definitions: Sequence[Application]) -> None:
    refuse_common_targets(definitions, stored_targets(connection, definitions))


def _make_way(connection: Connection, names: Sequence[str]) -> None:
    """Free the targets of applications that are going to have others.

    Raises:
        ConfigurationError: One is being deployed.
    """
    for some in chunks(names):
        unfinished = select(deployments.c.application).where(
            deployments.c.application.in_(some), deployments.c.state.in_(may_precede("failed"))
        )
        found = connection.scalar(unfinished.limit(1))
        if found is not None:
            _refuse_unfinished(connection, found, "can't get another target")
    if names:
        # To what no application has: it would be nobody's.
        away = [{"named": name, "away": Path("/nowhere") / name} for name in names]
        is_this = applications.c.name == bindparam("named")
        moved = update(applications).where(is_this).values(target=bindparam("away"))
        connection.execute(moved, away)


def _refuse_unfinished(connection: Connection, name: str, what: str) -> None:
    """Refuse to take away what a deployment, or its recovery, goes by."""
    unfinished = select(deployments.c.id).where(
        deployments.c.application == name, deployments.c.state.in_(may_precede("failed"))
    )
    found = connection.scalar(unfinished.limit(1))
    if found is not None:
        raise ConfigurationError(
            f"The application {name!r} {what}: deployment {found} has not come to its end.",
            hint=f"Wait for it, or: deploycore cancel {found}. If its process has died:"
            " deploycore recover",
            application=name,
            deployment=found,
        )


def _put(connection: Connection, definition: Application) -> ApplicationRecord:
    _refuse_unknown_providers(connection, [definition])
    is_this = applications.c.name == definition.name
    known = connection.scalars(select(applications.c.name).where(is_this)).all()
    _put_all(connection, [_values(definition)], known)
    schedule(connection, [definition])
    row = connection.execute(select(applications).where(is_this)).mappings().one()
    return application_of(row)


def _put_all(
    connection: Connection, prepared: Sequence[dict[str, Any]], known: Collection[str]
) -> None:
    """Write applications: what is new, and what has changed of those that are known."""
    at = datetime.now(UTC)
    changed = [
        {"named": each["name"], "changed_at": at, **each}
        for each in prepared
        if each["name"] in known
    ]
    new = [
        {"created_at": at, "changed_at": at, "secrets": {}, "revision": 1, **each}
        for each in prepared
        if each["name"] not in known
    ]
    if changed:
        is_this = applications.c.name == bindparam("named")
        written = ("provider", "target", "definition", "changed_at")
        columns: dict[str, Any] = {name: bindparam(name) for name in written}
        columns["revision"] = applications.c.revision + 1
        connection.execute(update(applications).where(is_this).values(columns), changed)
    if new:
        connection.execute(insert(applications), new)


def _values(definition: Application) -> dict[str, Any]:
    return {
        "name": definition.name,
        "provider": definition.provider,
        "target": definition.target,
        "definition": definition.as_dict(),
    }


def _refuse_unknown_providers(connection: Connection, definitions: Sequence[Application]) -> None:
    for name in dict.fromkeys(each.provider for each in definitions):
        named_row(connection, "provider", providers, name)


def _refuse_taken(connection: Connection, noun: str, table: Table, name: str) -> None:
    taken = connection.scalar(select(table.c.name).where(table.c.name == name))
    if taken is not None:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {COMMANDS[noun]} remove {name}",
            **{noun: name},
        )


def _sealed_secrets(connection: Connection) -> Iterator[str]:
    for secrets in connection.scalars(select(providers.c.secrets)):
        yield from filter(is_sealed, secrets.values())
    yield from filter(is_sealed, connection.scalars(select(webhooks.c.secret)))
    for secrets in connection.scalars(select(applications.c.secrets)):
        yield from filter(is_sealed, secrets.values())
