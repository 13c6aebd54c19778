"""The store: the only access to the database. Each operation is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploycore.applications.application import Application
from deploycore.secrets import SecretBox
from deploycore.settings import Settings
from deploycore.store.application_records import application_of, readable_application
from deploycore.store.database import Database, chunks
from deploycore.store.deploy_key_records import find_deploy_key
from deploycore.store.deployments import Deployments
from deploycore.store.lookup import find_row, find_rows
from deploycore.store.named import Statements
from deploycore.store.parts import StoreParts
from deploycore.store.preview_records import pull_request_of
from deploycore.store.provider_rows import ProviderRows
from deploycore.store.reading import readable_records
from deploycore.store.records import (
    ApplicationRecord,
    DeployKeyRecord,
    ProviderRecord,
    RepositoryRecord,
)
from deploycore.store.repositories import Repositories

if TYPE_CHECKING:
    from deploycore.store.webhook_records import WebhookRecord

__all__ = ["Store"]


class Store(StoreParts, ProviderRows):
    """Providers, applications and deployments.

    The first operation opens the database. It creates the database if there is none, and migrates
    an older one. Threads may share a store. Every operation raises ``StoreError`` if the database
    cannot be used.

    Attributes:
        deployments: The deployments of all applications.
        repositories: The repository of each application at its git host.

    The other parts, such as ``triggers``, are in ``StoreParts``.

    Use it as a context manager, or ``close`` it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings)
        self.deployments = Deployments(self._database)
        self.repositories = Repositories(self._database)

    def holds_sealed_secrets(self) -> bool:
        """Whether any secret is stored encrypted, so that its key is needed."""
        return self.find_sealed_secret() is not None

    def find_sealed_secret(self) -> str | None:
        """Return any secret that is stored encrypted, from a record that is not damaged. All
        secrets of a database have the same key."""
        from deploycore.store.sealed import sealed_secrets

        with self._database.reading_by_name() as statements:
            return next(sealed_secrets(statements), None)

    def add_application(
        self, definition: Application, *, dry_run: bool = False
    ) -> ApplicationRecord:
        """Store a new application. With ``dry_run``, only check that this is possible.

        Raises:
            ConfigurationError: The name is already used, the provider does not exist, or another
                application has the target.
        """
        from deploycore.store.new_applications import add_application

        return add_application(self._database, definition, dry_run=dry_run)

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
        from deploycore.store import application_changes

        application_changes.put_many(
            self._database, definitions, dry_run=dry_run, revisions=revisions or {}
        )

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
        from deploycore.store import application_changes

        return application_changes.put_preview(
            self._database,
            definition,
            parent=parent,
            number=number,
            within=within,
            limit=limit,
            opens=opens,
        )

    def keep_application_secret(self, name: str, variable: str, stored: str | None) -> None:
        """Store the value of an application's variable, or delete it.

        Args:
            stored: The value as ``SecretBox`` encrypts it; ``None`` to delete it.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: Stored secrets were encrypted with another key.
        """
        from deploycore.store import application_changes

        with self._database.writing() as connection:
            application_changes.keep_secret(
                connection, name, variable, stored, self._refuse_second_key
            )

    def get_application(self, name: str) -> ApplicationRecord:
        """Get the application of a name.

        Raises:
            ConfigurationError: The application does not exist; the hint names a similar one.
        """
        with self._database.reading_by_name() as statements:
            return application_of(find_row(statements, "application", name))

    def get_applications(self, names: Sequence[str]) -> list[ApplicationRecord]:
        """Get the applications of these names.

        Raises:
            ConfigurationError: Some do not exist. The message names all of these.
        """
        with self._database.reading_by_name() as statements:
            return [application_of(row) for row in find_rows(statements, "application", names)]

    def find_applications(self, names: Collection[str]) -> dict[str, ApplicationRecord]:
        """Find applications by their names. A damaged record, or one in an unknown form, is logged
        and left out."""
        found = {}
        with self._database.reading_by_name() as statements:
            for some in chunks(sorted(names)):
                rows = statements.run("applications by name", names=some).rows
                records = readable_records("applications", rows, readable_application)
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
        from deploycore.store import application_changes

        with self._database.reading_by_name() as statements:
            return application_changes.find_with_webhook(statements, name)

    def list_targets(self) -> dict[str, Path]:
        """Map the names of applications to their targets; one that cannot be read is left out."""
        from deploycore.store.targets import stored_targets

        with self._database.reading_by_name() as statements:
            found = stored_targets(statements)
        return {name: each.written for name, each in found.items() if each.written is not None}

    def find_newest_target(self) -> Path | None:
        """Return the target of the application that was added last, without previews; ``None`` if
        there is none, or it cannot be read."""
        from deploycore.store.targets import newest_target

        with self._database.reading_by_name() as statements:
            return newest_target(statements)

    def list_applications(self) -> list[ApplicationRecord]:
        """List all applications, sorted by name. A damaged record, or one in an unknown form, is
        logged and left out, so that the others can be used."""
        with self._database.reading_by_name() as statements:
            rows = statements.run("applications").rows
            return list(readable_records("applications", rows, readable_application))

    def find_deploy_key(self, definition: Application) -> DeployKeyRecord | None:
        """Return the SSH key that an application clones with: its own or, for a preview, its
        parent's, if that key was created for the application's current repository."""
        with self._database.reading_by_name() as statements:
            return find_deploy_key(statements, definition)

    def pull_request_of(self, application: str) -> int | None:
        """Return the pull request's number if an application is a preview; otherwise ``None``."""
        with self._database.reading_by_name() as statements:
            return pull_request_of(statements, application)

    def refuse_removal(self, name: str, *, drop_damaged: bool = False) -> Sequence[int]:
        """Check whether an application could be removed now.

        Args:
            drop_damaged: As for ``remove_application``.

        Returns:
            The ids of the deployments whose damaged records would be deleted.

        Raises:
            ConfigurationError: As for ``remove_application``.
        """
        from deploycore.store import application_changes

        with self._database.reading() as connection:
            return application_changes.refuse_removal(connection, name, drop_damaged=drop_damaged)

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
        from deploycore.store import application_changes

        with self._database.writing() as connection:
            return application_changes.remove(
                connection,
                name,
                keep_history=keep_history,
                end_previews=end_previews,
                drop_damaged=drop_damaged,
            )

    def forget_removed_history(self, name: str) -> int:
        """Delete the deployments of removed applications of a name; returns their number."""
        from deploycore.store.removed import forget_removed

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
        from deploycore.store.engine import check_writing

        with self._database.writing(patience=patience) as connection:
            check_writing(connection)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _refuse_second_key(self, statements: Statements) -> None:
        """Refuse to seal secrets with another key than the one of those already stored."""
        from deploycore.store.sealed import sealed_secrets

        sealed = next(sealed_secrets(statements), None)
        if sealed is not None:
            SecretBox(self._settings).reveal(sealed)
