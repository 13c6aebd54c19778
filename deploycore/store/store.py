"""The one door to what is stored: each operation is one transaction, in records and out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Table, delete, insert, select, text, update

from deploycore.applications.application import Application
from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.secrets import SecretBox, is_sealed
from deploycore.settings import Settings
from deploycore.store.applications import (
    NOWHERE,
    application_of,
    drop_deployments,
    make_way,
    prepared,
    put,
    put_all,
    readable_application,
    refuse_unfinished,
    refuse_unknown_providers,
)
from deploycore.store.claims import Claims
from deploycore.store.database import Database, check_writable, chunks
from deploycore.store.deployments import Deployments
from deploycore.store.lookup import COMMANDS, named_row
from deploycore.store.polls import Polls, schedule
from deploycore.store.previews import Previews, begin, detach, end_all, open_previews
from deploycore.store.provider_tokens import ProviderTokens
from deploycore.store.reading import as_record, checksums, damage_in, read_record, read_records
from deploycore.store.reception import Reception
from deploycore.store.records import (
    ApplicationRecord,
    ProviderRecord,
    RepositoryRecord,
    WebhookRecord,
)
from deploycore.store.removed import forget_removed, move_to_removed
from deploycore.store.repositories import Repositories, find_repository
from deploycore.store.tables import applications, providers, webhooks
from deploycore.store.targets import places_of, refuse_common_targets, stored_targets
from deploycore.store.tokens import Tokens
from deploycore.store.triggers import Triggers
from deploycore.store.webhooks import Webhooks, find_webhook, webhook_of

__all__ = ["Store"]

_PROVIDER = as_record(ProviderRecord, providers)


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
        reception: When a server was last known to receive deliveries.
        repositories: Which repository of its git host each application deploys.
        previews: Applications that were made for pull requests.
        tokens: Those of the server's API.
        provider_tokens: Those of providers that change by themselves.

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
        self.reception = Reception(self._database)
        self.repositories = Repositories(self._database)
        self.previews = Previews(self._database)
        self.tokens = Tokens(self._database)
        self.provider_tokens = ProviderTokens(self._database)

    def add_provider(self, record: ProviderRecord) -> None:
        """Keep a new provider; it replaces one of this name whose record is damaged.

        Raises:
            ConfigurationError: The name is malformed or taken.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        _refuse_malformed(record.name)
        values = vars(record) | {"settings": dict(record.settings), "secrets": dict(record.secrets)}
        values |= checksums(providers, values)
        with self._database.writing() as connection:
            is_damaged = _is_damaged_provider(connection, record.name)
            if not is_damaged:
                _refuse_taken(connection, "provider", providers, record.name)
            if any(map(is_sealed, record.secrets.values())):
                self._refuse_second_key(connection)
            if is_damaged:
                replaced = update(providers).where(providers.c.name == record.name)
                connection.execute(replaced.values(values))
            else:
                connection.execute(insert(providers).values(values))

    def get_provider(self, name: str) -> ProviderRecord:
        """The provider of a name.

        Raises:
            ConfigurationError: There is none; says which name is close.
        """
        with self._database.reading() as connection:
            row = named_row(connection, "provider", providers, name)
            return read_record(providers, row, _PROVIDER)

    def list_providers(self) -> list[ProviderRecord]:
        """All providers, by name."""
        with self._database.reading() as connection:
            query = select(providers).order_by(providers.c.name)
            return list(read_records(connection, providers, query, _PROVIDER))

    def change_provider(
        self,
        record: ProviderRecord,
        *,
        settings: Mapping[str, str],
        secrets: Mapping[str, str],
        former_until: datetime | None = None,
    ) -> ProviderRecord:
        """Replace a provider's settings and secrets in one step. Its applications, their history
        and webhooks stay.

        Args:
            record: The provider as it was read.
            secrets: As ``SecretBox`` gives them.
            former_until: Until when the present secrets may still be used; ``None`` for not at all.

        Returns:
            The provider as it is now.

        Raises:
            ConfigurationError: There is none of this name, or it was changed since it was read.
            StoreError: Other secrets are stored that were encrypted with another key.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "provider", providers, record.name, locked=True)
            known = read_record(providers, row, _PROVIDER)
            if known.generation != record.generation:
                raise ConfigurationError(
                    f"Provider {record.name!r} was changed by somebody else at the same time.",
                    hint="Look at it, and try again: deploycore provider show " + record.name,
                    provider=record.name,
                )
            if any(map(is_sealed, secrets.values())):
                self._refuse_second_key(connection)
            values = {
                "name": record.name,
                "kind": known.kind,
                "settings": dict(settings),
                "secrets": dict(secrets),
                "generation": known.generation + 1,
                "changed_at": datetime.now(UTC),
                "former_secrets": dict(known.secrets) if former_until else None,
                "former_until": former_until,
                "expires_at": None,
            }
            values |= checksums(providers, values)
            changed = update(providers).where(providers.c.name == record.name).values(values)
            now = connection.execute(changed.returning(*providers.c)).mappings().one()
            return read_record(providers, now, _PROVIDER)

    def note_expiry(self, name: str, expires_at: datetime | None) -> None:
        """Note when a provider's credentials expire, as the host or the user says."""
        with self._database.writing() as connection:
            connection.execute(
                update(providers).where(providers.c.name == name).values(expires_at=expires_at)
            )

    def provider_generation(self, name: str) -> int | None:
        """How often a provider was changed; ``None`` where it is gone. One small read, for those
        that have it open."""
        with self._database.reading() as connection:
            query = select(providers.c.generation).where(providers.c.name == name)
            found = connection.scalar(query)
            return found if isinstance(found, int) else None

    def remove_provider(self, name: str) -> None:
        """Forget a provider and its secrets.

        Raises:
            ConfigurationError: There is none of this name, or applications use it.
        """
        with self._database.writing() as connection:
            _refuse_used_provider(connection, name)
            connection.execute(delete(providers).where(providers.c.name == name))

    def refuse_provider_removal(self, name: str) -> None:
        """See whether a provider could be removed.

        Raises:
            ConfigurationError: There is none of this name, or applications use it.
        """
        with self._database.reading() as connection:
            _refuse_used_provider(connection, name)

    def holds_sealed_secrets(self) -> bool:
        """Whether any secret is stored encrypted, so that its key is needed."""
        return self.find_sealed_secret() is not None

    def find_sealed_secret(self) -> str | None:
        """Any secret that is stored encrypted, of a record that is not damaged; all of a database
        have one key."""
        with self._database.reading() as connection:
            return next(_sealed_secrets(connection), None)

    def add_application(
        self, definition: Application, *, dry_run: bool = False
    ) -> ApplicationRecord:
        """Keep a new application; with ``dry_run``, only see that it can be done.

        Raises:
            ConfigurationError: The name is taken, the provider is unknown, or another
                application has the target.
        """
        wanted = places_of([definition])
        with self._database.writing() as connection:
            _refuse_taken(connection, "application", applications, definition.name)
            refuse_common_targets(wanted, stored_targets(connection, wanted))
            record = put(connection, definition, wanted[definition.name])
            if dry_run:
                connection.rollback()
            return record

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
        wanted = places_of(definitions)
        # Checked before anybody has to wait for this: below, only if something has changed since.
        with self._database.reading() as connection:
            checked = stored_targets(connection, wanted)
            refuse_common_targets(wanted, checked)
            refuse_unknown_providers(connection, definitions)
        written = [prepared(each, wanted[each.name]) for each in definitions]
        with self._database.writing() as connection:
            stored = stored_targets(connection, wanted)
            if stored != checked:
                refuse_common_targets(wanted, stored)
            refuse_unknown_providers(connection, definitions)
            moved = [
                each.name
                for each in definitions
                if each.name in stored and stored[each.name].written != each.target
            ]
            make_way(connection, moved)
            put_all(connection, written, stored.keys())
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
        wanted = places_of([definition])
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
                refuse_common_targets(wanted, stored_targets(connection, wanted))
                put(connection, definition, wanted[definition.name])
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
            record = application_of(row)
            secrets = {key: value for key, value in record.secrets.items() if key != variable}
            if stored is not None:
                if is_sealed(stored):
                    self._refuse_second_key(connection)
                secrets[variable] = stored
            connection.execute(
                update(applications)
                .where(applications.c.name == name)
                .values(
                    secrets=secrets,
                    revision=applications.c.revision + 1,
                    **checksums(applications, {"secrets": secrets}),
                )
            )

    def get_application(self, name: str) -> ApplicationRecord:
        """The application of a name.

        Raises:
            ConfigurationError: There is none; says which name is close.
        """
        with self._database.reading() as connection:
            return application_of(named_row(connection, "application", applications, name))

    def find_applications(self, names: Collection[str]) -> dict[str, ApplicationRecord]:
        """Those of some names that are there, by name. One that is damaged, or stored in an unknown
        form, is logged and left out."""
        found = {}
        with self._database.reading() as connection:
            for some in chunks(sorted(names)):
                query = select(applications).where(applications.c.name.in_(some))
                records = read_records(connection, applications, query, readable_application)
                found.update({each.name: each for each in records})
        return found

    def find_webhook(
        self, name: str
    ) -> tuple[ApplicationRecord, WebhookRecord, ProviderRecord, RepositoryRecord | None] | None:
        """An application with its webhook and provider, and what is known of its repository, for
        who asks often; ``None`` where it has no webhook.

        Raises:
            StoreError: One of these records is damaged, or stored in an unknown form.
        """
        with self._database.reading() as connection:
            webhook = find_webhook(connection, name)
            if webhook is None:
                return None
            application = application_of(named_row(connection, "application", applications, name))
            definition = application.definition
            row = named_row(connection, "provider", providers, definition.provider)
            provider = read_record(providers, row, _PROVIDER)
            return application, webhook, provider, find_repository(connection, definition)

    def list_targets(self) -> dict[str, Path]:
        """The target of each application, by its name; one that cannot be read is left out."""
        with self._database.reading() as connection:
            found = stored_targets(connection)
        return {name: each.written for name, each in found.items() if each.written is not None}

    def list_applications(self) -> list[ApplicationRecord]:
        """All applications, by name. One that is damaged, or stored in an unknown form, is logged
        and left out, so that it keeps nobody from the others."""
        with self._database.reading() as connection:
            query = select(applications).order_by(applications.c.name)
            return list(read_records(connection, applications, query, readable_application))

    def refuse_removal(self, name: str, *, drop_damaged: bool = False) -> Sequence[int]:
        """See whether an application could be removed now.

        Args:
            drop_damaged: As that of ``remove_application``.

        Returns:
            The deployments whose records would be dropped.

        Raises:
            ConfigurationError: As ``remove_application``.
        """
        dropped: list[int] = []
        with self._database.reading() as connection:
            named_row(connection, "application", applications, name)
            for each in (name, *open_previews(connection, name)):
                dropped += refuse_unfinished(
                    connection, each, "cannot be removed", allow_damaged=drop_damaged
                )
        return dropped

    def remove_application(
        self,
        name: str,
        *,
        keep_history: bool = False,
        end_previews: bool = False,
        drop_damaged: bool = False,
    ) -> Path:
        """Forget an application and what belongs to it: its secrets, webhook, triggers and polls.
        Its files stay.

        Its previews go with it. Of those whose pull requests are open the directories stay too.

        Args:
            keep_history: Whether ``Deployments.history`` still has its deployments; else they are
                forgotten, and so are those of former applications of its name.
            end_previews: Whether its previews are to be removed with their directories, by the
                next worker, as if their pull requests had been closed.
            drop_damaged: Whether damaged records of unfinished deployments are deleted.

        Returns:
            Its target; ``/nowhere`` where its record is damaged and does not tell.

        Raises:
            ConfigurationError: There is none of this name, or it, or a preview of it, is being
                deployed.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "application", applications, name, locked=True)
            names = [name]
            if end_previews:
                end_all(connection, name)
            else:
                names += open_previews(connection, name)
                detach(connection, name)
            for each in names:
                dropped = refuse_unfinished(
                    connection, each, "cannot be removed", allow_damaged=drop_damaged
                )
                drop_deployments(connection, dropped)
                if keep_history:
                    move_to_removed(connection, each, datetime.now(UTC))
                else:
                    forget_removed(connection, each)
                connection.execute(delete(applications).where(applications.c.name == each))
            target: Path = row["target"] or NOWHERE
            return target

    def forget_removed_history(self, name: str) -> int:
        """Forget the deployments of removed applications of a name; gives how many there were."""
        with self._database.writing() as connection:
            return forget_removed(connection, name)

    @property
    def has_one_writer(self) -> bool:
        """Whether all who write wait for each other, whatever they write, as in SQLite."""
        return self._database.has_one_writer

    @property
    def is_exhausted(self) -> bool:
        """Whether an operation would have to wait for a connection to the database."""
        return self._database.is_exhausted

    def check_writing(self, *, patience: float) -> None:
        """Write to the database, and change nothing: whether what is accepted could be kept.

        Args:
            patience: Seconds that it waits for another process's write to end.

        Raises:
            StoreError: It does not.
        """
        with self._database.writing(patience=patience) as connection:
            check_writable(connection)
            # SQLite would not write a row that stays the same.
            connection.execute(text("UPDATE alembic_version SET version_num = version_num || '-'"))
            connection.execute(
                text("UPDATE alembic_version SET version_num = rtrim(version_num, '-')")
            )

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
            f"{name!r} is not a valid name for a provider.",
            hint="Use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit.",
        )


def _refuse_used_provider(connection: Connection, name: str) -> None:
    named_row(connection, "provider", providers, name)
    using = select(applications.c.name).where(applications.c.provider == name)
    names = connection.scalars(using.order_by(applications.c.name))
    users = [each if isinstance(each, str) else "(unreadable)" for each in names]
    if users:
        raise ConfigurationError(
            f"The provider {name!r} is used by: {', '.join(users)}.",
            hint="Change the provider of these applications, or remove them: deploycore app"
            f" remove {users[0]}",
            applications=list(users),
        )


def _is_damaged_provider(connection: Connection, name: str) -> bool:
    query = select(providers).where(providers.c.name == name)
    row = connection.execute(query).mappings().one_or_none()
    return row is not None and damage_in(providers, row) is not None


def _refuse_taken(connection: Connection, noun: str, table: Table, name: str) -> None:
    taken = connection.scalar(select(table.c.name).where(table.c.name == name))
    if taken is not None:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {COMMANDS[noun]} remove {name}",
            **{noun: name},
        )


def _sealed_secrets(connection: Connection) -> Iterator[str]:
    for provider in read_records(connection, providers, select(providers), _PROVIDER):
        yield from filter(is_sealed, provider.secrets.values())
    for webhook in read_records(connection, webhooks, select(webhooks), webhook_of):
        yield from filter(is_sealed, [webhook.secret])
    query = select(applications)
    for secrets in read_records(connection, applications, query, lambda row: row["secrets"]):
        yield from filter(is_sealed, secrets.values())
