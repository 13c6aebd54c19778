"""The store: the only access to the database. Each operation is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, delete, select, text, update

from deploycore.applications.application import Application
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
    refuse_other_revisions,
    refuse_unfinished,
    refuse_unknown_providers,
)
from deploycore.store.audit import Audit
from deploycore.store.changes import Changes
from deploycore.store.claims import Claims
from deploycore.store.database import Database, check_writable, chunks
from deploycore.store.deliveries import Deliveries
from deploycore.store.deploy_keys import DeployKeys
from deploycore.store.deployments import Deployments
from deploycore.store.lookup import named_row, named_rows, refuse_taken
from deploycore.store.overview import Overview
from deploycore.store.polls import Polls, schedule
from deploycore.store.previews import Previews, begin, detach, end_all, open_previews
from deploycore.store.provider_rows import ProviderRows
from deploycore.store.provider_tokens import ProviderTokens
from deploycore.store.providers import (
    provider_of,
    sealed_secrets,
)
from deploycore.store.reading import checksums, read_record, read_records
from deploycore.store.reception import Reception
from deploycore.store.records import (
    ApplicationRecord,
    ProviderRecord,
    RepositoryRecord,
    WebhookRecord,
)
from deploycore.store.removed import forget_removed, move_to_removed
from deploycore.store.repositories import Repositories, find_repository
from deploycore.store.sessions import Sessions, SignInLinks
from deploycore.store.tables import applications, providers
from deploycore.store.targets import places_of, refuse_common_targets, stored_targets
from deploycore.store.tokens import Tokens
from deploycore.store.triggers import Triggers
from deploycore.store.users import Users
from deploycore.store.webhooks import Webhooks, find_webhook

__all__ = ["Store"]


class Store(ProviderRows):
    """Providers, applications and deployments.

    The first operation opens the database. It creates the database if there is none, and migrates
    an older one. Threads may share a store. Every operation raises ``StoreError`` if the database
    cannot be used.

    Attributes:
        deployments: The deployments of all applications.
        triggers: The queue: requests to deploy, from webhooks, polls and people.
        claims: Which worker works on which application.
        webhooks: The webhooks of all applications.
        deliveries: The last deliveries to each webhook.
        deploy_keys: The SSH keys that were made here.
        polls: When git hosts are polled.
        reception: When a server last received deliveries.
        repositories: Which repository of its git host each application deploys.
        previews: Applications that were created for pull requests.
        changes: What has changed since somebody looked.
        overview: Where the applications stand, for lists of many.
        tokens: The tokens of the server's API.
        provider_tokens: The tokens of providers that are obtained and renewed.
        users: The users of the dashboard.
        sessions: The browsers in which users are signed in.
        sign_in_links: One-time links that sign in.
        audit: Who did what.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self.deployments = Deployments(self._database)
        self.triggers = Triggers(self._database)
        self.claims = Claims(self._database)
        self.webhooks = Webhooks(self._database, self._refuse_second_key)
        self.deliveries = Deliveries(self._database)
        self.deploy_keys = DeployKeys(self._database, self._refuse_second_key)
        self.polls = Polls(self._database)
        self.reception = Reception(self._database)
        self.repositories = Repositories(self._database)
        self.previews = Previews(self._database)
        self.changes = Changes(self._database)
        self.overview = Overview(self._database)
        self.tokens = Tokens(self._database)
        self.provider_tokens = ProviderTokens(self._database)
        self.users = Users(self._database)
        self.sessions = Sessions(self._database)
        self.sign_in_links = SignInLinks(self._database)
        self.audit = Audit(self._database)

    def holds_sealed_secrets(self) -> bool:
        """Whether any secret is stored encrypted, so that its key is needed."""
        return self.find_sealed_secret() is not None

    def find_sealed_secret(self) -> str | None:
        """Any secret that is stored encrypted, of a record that is not damaged; all of a database
        have one key."""
        with self._database.reading() as connection:
            return next(sealed_secrets(connection), None)

    def add_application(
        self, definition: Application, *, dry_run: bool = False
    ) -> ApplicationRecord:
        """Store a new application. With ``dry_run``, only check that this is possible.

        Raises:
            ConfigurationError: The name is already used, the provider does not exist, or another
                application has the target.
        """
        wanted = places_of([definition])
        with self._database.writing() as connection:
            refuse_taken(connection, "application", applications, definition.name)
            refuse_common_targets(wanted, stored_targets(connection, wanted))
            record = put(connection, definition, wanted[definition.name])
            if dry_run:
                connection.rollback()
            return record

    def put_applications(
        self,
        definitions: Sequence[Application],
        *,
        dry_run: bool = False,
        revisions: Mapping[str, int] | None = None,
    ) -> None:
        """Store new and changed applications: all of them, or none.

        Args:
            dry_run: Whether only to check that this is possible.
            revisions: The revision that an application must still have, by its name; 0 if it must
                not exist.

        Raises:
            ConfigurationError: A provider does not exist, two applications have the same target,
                the target of an application that is being deployed would change, or one has
                another revision.
        """
        definitions = list({each.name: each for each in definitions}.values())
        wanted = places_of(definitions)
        # Checked without blocking writers; checked again below only if something has changed.
        with self._database.reading() as connection:
            checked = stored_targets(connection, wanted)
            refuse_common_targets(wanted, checked)
            refuse_unknown_providers(connection, definitions)
        written = [prepared(each, wanted[each.name]) for each in definitions]
        with self._database.writing() as connection:
            stored = stored_targets(connection, wanted)
            if stored != checked:
                refuse_common_targets(wanted, stored)
            refuse_unknown_providers(connection, definitions, locked=True)
            refuse_other_revisions(connection, revisions or {})
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
        """Store the preview of a pull request together with its application, or keep it.

        Args:
            within: The directory that must contain its target.
            limit: Maximum number of previews of its parent.
            opens: Whether the pull request was just opened or reopened.

        Returns:
            Whether the preview exists; ``False`` if the pull request was closed.

        Raises:
            ConfigurationError: The limit is reached, the name or the target is used by something
                else, or a previous preview could not be removed.
            StoreError: A previous preview of this name is being removed.
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
        """Store the value of an application's variable, or delete it.

        Args:
            stored: The value as ``SecretBox`` encrypts it; ``None`` to delete it.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: Stored secrets were encrypted with another key.
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
        """Get the application of a name.

        Raises:
            ConfigurationError: The application does not exist; the hint names a similar one.
        """
        with self._database.reading() as connection:
            return application_of(named_row(connection, "application", applications, name))

    def get_applications(self, names: Sequence[str]) -> list[ApplicationRecord]:
        """Get the applications of these names.

        Raises:
            ConfigurationError: Some do not exist. The message names all of these.
        """
        with self._database.reading() as connection:
            rows = named_rows(connection, "application", applications, names)
            return [application_of(each) for each in rows]

    def find_applications(self, names: Collection[str]) -> dict[str, ApplicationRecord]:
        """Find applications by their names. A damaged record, or one in an unknown form, is logged
        and left out."""
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
        """Find an application with its webhook, provider and known repository, in one transaction.

        Returns:
            ``None`` if the application has no webhook.

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
            provider = read_record(providers, row, provider_of)
            return application, webhook, provider, find_repository(connection, definition)

    def list_targets(self) -> dict[str, Path]:
        """Map the names of applications to their targets; one that cannot be read is left out."""
        with self._database.reading() as connection:
            found = stored_targets(connection)
        return {name: each.written for name, each in found.items() if each.written is not None}

    def list_applications(self) -> list[ApplicationRecord]:
        """List all applications, sorted by name. A damaged record, or one in an unknown form, is
        logged and left out, so that the others can be used."""
        with self._database.reading() as connection:
            query = select(applications).order_by(applications.c.name)
            return list(read_records(connection, applications, query, readable_application))

    def refuse_removal(self, name: str, *, drop_damaged: bool = False) -> Sequence[int]:
        """Check whether an application could be removed now.

        Args:
            drop_damaged: As for ``remove_application``.

        Returns:
            The ids of the deployments whose damaged records would be deleted.

        Raises:
            ConfigurationError: As for ``remove_application``.
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
        """Remove an application with its secrets, webhook, triggers and polls. Its files stay.

        Its previews are removed too. The directories of previews of open pull requests stay.

        Args:
            keep_history: Whether ``Deployments.history`` still lists its deployments. Otherwise
                they are deleted, together with those of removed applications of its name.
            end_previews: Whether the next worker removes its previews with their directories, as
                if their pull requests had been closed.
            drop_damaged: Whether to delete damaged records of unfinished deployments.

        Returns:
            The application's target; ``/nowhere`` if its record is damaged.

        Raises:
            ConfigurationError: The application does not exist, or it or one of its previews is
                being deployed.
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
        """Delete the deployments of removed applications of a name; returns their number."""
        with self._database.writing() as connection:
            return forget_removed(connection, name)

    @property
    def has_one_writer(self) -> bool:
        """Whether only one transaction can write at a time, as in SQLite."""
        return self._database.has_one_writer

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections to the database are in use."""
        return self._database.is_exhausted

    def check_writing(self, *, patience: float) -> None:
        """Check that the database can be written, without changing anything.

        Args:
            patience: Seconds to wait for the write of another process.

        Raises:
            StoreError: The database cannot be written.
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
        """Refuse to seal secrets with another key than the one of those already stored."""
        sealed = next(sealed_secrets(connection), None)
        if sealed is not None:
            SecretBox(self._settings).reveal(sealed)
