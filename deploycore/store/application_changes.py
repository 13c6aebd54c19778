"""Changes of applications, with what belongs to them; see ``Store``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, select, update

from deploycore.applications.application import Application
from deploycore.secrets import is_sealed
from deploycore.store.application_records import application_of
from deploycore.store.applications import (
    NOWHERE,
    drop_deployments,
    make_way,
    put,
    put_all,
    refuse_other_revisions,
    refuse_unfinished,
)
from deploycore.store.database import Database
from deploycore.store.lookup import find_row, named_row
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.store.new_applications import prepared, refuse_unknown_providers
from deploycore.store.polls import schedule
from deploycore.store.previews import begin, detach, end_all, open_previews
from deploycore.store.provider_records import provider_of
from deploycore.store.reading import checksums, read_record
from deploycore.store.records import ApplicationRecord, ProviderRecord, RepositoryRecord
from deploycore.store.removed import forget_removed, move_to_removed
from deploycore.store.repositories import find_repository
from deploycore.store.tables import applications
from deploycore.store.targets import (
    lock_targets,
    places_of,
    refuse_common_targets,
    stored_targets,
)
from deploycore.store.webhook_records import WebhookRecord
from deploycore.store.webhooks import find_webhook

__all__ = [
    "find_with_webhook",
    "keep_secret",
    "put_many",
    "put_preview",
    "refuse_removal",
    "remove",
]


def put_many(
    database: Database,
    definitions: Sequence[Application],
    *,
    dry_run: bool,
    revisions: Mapping[str, int],
) -> None:
    """Store new and changed applications; see ``Store.put_applications``."""
    definitions = list({each.name: each for each in definitions}.values())
    wanted = places_of(definitions)
    # Check without blocking writers. If something has changed, the check is repeated below.
    with database.reading() as connection:
        statements = StatementsOfEngine(connection)
        checked = stored_targets(statements, wanted)
        refuse_common_targets(wanted, checked)
        refuse_unknown_providers(statements, definitions)
    written = [prepared(each, wanted[each.name]) for each in definitions]
    with database.writing() as connection:
        statements = StatementsOfEngine(connection)
        lock_targets(statements)
        stored = stored_targets(statements, wanted)
        if stored != checked:
            refuse_common_targets(wanted, stored)
        refuse_unknown_providers(statements, definitions, locked=True)
        refuse_other_revisions(connection, revisions)
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


def put_preview(
    database: Database,
    definition: Application,
    *,
    parent: Application,
    number: int,
    within: Path,
    limit: int,
    opens: bool,
) -> bool:
    """Store the preview of a pull request; see ``Store.begin_preview``."""
    wanted = places_of([definition])
    with database.writing() as connection:
        lock_targets(StatementsOfEngine(connection))
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
            stored = stored_targets(StatementsOfEngine(connection), wanted)
            refuse_common_targets(wanted, stored)
            put(connection, definition, wanted[definition.name])
        return True


def keep_secret(
    connection: Connection,
    name: str,
    variable: str,
    stored: str | None,
    refuse_second_key: Callable[[Statements], None],
) -> None:
    """Store the value of a variable; see ``Store.keep_application_secret``.

    Args:
        refuse_second_key: Refuses to encrypt secrets with another key than before.
    """
    record = application_of(named_row(connection, "application", name, locked=True))
    secrets = {key: value for key, value in record.secrets.items() if key != variable}
    if stored is not None:
        if is_sealed(stored):
            refuse_second_key(StatementsOfEngine(connection))
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


def find_with_webhook(
    statements: Statements, name: str
) -> tuple[ApplicationRecord, WebhookRecord, ProviderRecord, RepositoryRecord | None] | None:
    """Find an application with its webhook; see ``Store.find_webhook``."""
    webhook = find_webhook(statements, name)
    if webhook is None:
        return None
    application = application_of(find_row(statements, "application", name))
    definition = application.definition
    row = find_row(statements, "provider", definition.provider)
    provider = read_record("providers", row, provider_of)
    repository = find_repository(statements, definition)
    return application, webhook, provider, repository


def refuse_removal(connection: Connection, name: str, *, drop_damaged: bool) -> Sequence[int]:
    """Check whether an application could be removed now; see ``Store.refuse_removal``."""
    dropped: list[int] = []
    named_row(connection, "application", name)
    for each in (name, *open_previews(connection, name)):
        dropped += refuse_unfinished(
            connection, each, "cannot be removed", allow_damaged=drop_damaged
        )
    return dropped


def remove(
    connection: Connection,
    name: str,
    *,
    keep_history: bool,
    end_previews: bool,
    drop_damaged: bool,
) -> Path:
    """Remove an application; see ``Store.remove_application``."""
    row = named_row(connection, "application", name, locked=True)
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
