"""Previews in the store: which application was created for which pull request, and what remains of
it.

A row is created together with the application, and stays until its directory is removed. So after a
crash, the next worker knows what to remove. That a pull request was closed stays recorded as long
as its parent exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError, StoreError
from deploycore.store.database import Database
from deploycore.store.lookup import named_row
from deploycore.store.named import StatementsOfEngine
from deploycore.store.preview_records import find_preview, preview_of
from deploycore.store.reading import read_records
from deploycore.store.records import PreviewRecord
from deploycore.store.tables import applications, closed_pull_requests, previews

__all__ = ["Previews", "begin", "detach", "end_all", "open_previews"]

_REMOVED_SOON = timedelta(minutes=2)  # webhooks that fail for longer are disabled by hosts


class Previews:
    """The previews of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def end(self, parent: str, number: int) -> bool:
        """Record that a pull request now has another target branch; return whether it had a
        preview."""
        with self._database.writing() as connection:
            return _ended(connection, parent, number)

    def close(self, parent: Application, number: int, *, merged: bool) -> bool:
        """Record that a pull request was merged or declined, even if it was unknown.

        An earlier event that arrives later then does not create the preview again.

        Args:
            merged: Whether the pull request was merged, so that it cannot be reopened.

        Returns:
            Whether it had a preview.

        Raises:
            ConfigurationError: The application does not exist.
        """
        with self._database.writing() as connection:
            # The row is locked: either this sees a preview that is being created, or the preview's
            # creation sees this.
            named_row(connection, "application", parent.name, locked=True)
            is_closed = _is_closed(parent, number)
            was = connection.scalar(select(closed_pull_requests.c.merged).where(is_closed)) is True
            values = {
                "parent": parent.name,
                "provider": parent.provider,
                "repository": parent.repository,
                "number": number,
                "merged": merged or was,  # an event from before may arrive later
            }
            connection.execute(delete(closed_pull_requests).where(is_closed))
            connection.execute(insert(closed_pull_requests).values(values))
            return _ended(connection, parent.name, number)

    def ended(self) -> Sequence[PreviewRecord]:
        """List previews that have ended and still exist, by name."""
        query = select(previews).where(previews.c.ended_at.is_not(None))
        with self._database.reading() as connection:
            found = list(read_records(connection, previews, query, preview_of))
        # Sorted here, because a database might read all of them to sort them.
        return sorted(found, key=lambda each: each.name)

    def find(self, name: str) -> PreviewRecord | None:
        """Return the preview that an application is; ``None`` if it is no preview."""
        with self._database.reading_by_name() as statements:
            return find_preview(statements, name)

    def list(self) -> Sequence[PreviewRecord]:
        """List all previews by name, including those that have ended and still exist."""
        with self._database.reading() as connection:
            query = select(previews).order_by(previews.c.name)
            return list(read_records(connection, previews, query, preview_of))

    def begin_removal(self, name: str) -> bool:
        """Reserve a preview for removal, until its directory is removed.

        Returns:
            Whether it is reserved; ``False`` if the pull request was reopened in the meantime.
        """
        is_over = (previews.c.name == name) & previews.c.ended_at.is_not(None)
        values = {"removed_at": func.coalesce(previews.c.removed_at, datetime.now(UTC))}
        with self._database.writing() as connection:
            return bool(connection.execute(update(previews).where(is_over).values(values)).rowcount)

    def forget(self, name: str) -> None:
        """Delete the record of a preview whose directory was removed."""
        is_gone = (previews.c.name == name) & previews.c.removed_at.is_not(None)
        with self._database.writing() as connection:
            connection.execute(delete(previews).where(is_gone))


def begin(
    connection: Connection,
    definition: Application,
    *,
    parent: Application,
    number: int,
    within: Path,
    limit: int,
    opens: bool,
) -> bool:
    """Reserve a place for a preview before its application is created; see
    ``Store.begin_preview``."""
    name = definition.name
    named_row(connection, "application", parent.name, locked=True)
    is_closed = _is_closed(parent, number)
    closed = connection.execute(select(closed_pull_requests).where(is_closed)).one_or_none()
    if closed is not None and (closed.merged or not opens):
        return False
    known = find_preview(StatementsOfEngine(connection), name)
    _refuse_application(connection, name, known)
    if known is not None and (known.parent, known.number) != (parent.name, number):
        raise ConfigurationError(
            f"{name!r} is the preview of pull request {known.number} of {known.parent}.",
            hint="Use {application} in previews: {name: …} of both applications. Then push to the"
            " pull request again.",
            application=parent.name,
        )
    if known is not None and known.removed_at is not None:
        # A time in the future comes from a clock that was ahead. How long ago it was is unknown.
        if abs(datetime.now(UTC) - known.removed_at) > _REMOVED_SOON:
            raise ConfigurationError(
                f"The previous preview {name!r} could not be removed yet.",
                hint=f"See the reason in the worker's log, or remove {known.target}. Then push to"
                " the pull request again.",
                application=parent.name,
            )
        raise StoreError(
            f"The previous preview {name!r} is being removed.", hint="Try again in a minute."
        )
    _refuse_more(connection, name, parent.name, limit)
    if known is not None and known.target != definition.target:
        raise ConfigurationError(
            f"The preview {name!r} already exists with another directory: {known.target}.",
            hint="The target pattern of its parent, or its branch, has changed. Close the pull"
            " request, wait until the preview is removed, and open it again.",
            application=parent.name,
        )
    connection.execute(delete(closed_pull_requests).where(is_closed))
    connection.execute(delete(previews).where(previews.c.name == name))
    values = {
        "name": name,
        "parent": parent.name,
        "number": number,
        "target": definition.target,
        "within": within,
        "host": definition.host,
        "created_at": known.created_at if known else datetime.now(UTC),
    }
    connection.execute(insert(previews).values(values))
    return True


def open_previews(connection: Connection, parent: str) -> Sequence[str]:
    """Return the names of an application's previews whose pull requests are open."""
    is_open = (previews.c.parent == parent) & previews.c.ended_at.is_(None)
    names = connection.scalars(select(previews.c.name).where(is_open))
    return [each for each in names if isinstance(each, str)]


def end_all(connection: Connection, parent: str) -> None:
    """Mark all previews of an application for removal, with their directories."""
    is_open = (previews.c.parent == parent) & previews.c.ended_at.is_(None)
    connection.execute(update(previews).where(is_open).values(ended_at=datetime.now(UTC)))


def detach(connection: Connection, parent: str) -> None:
    """Delete the records of an application's previews whose pull requests are open.

    Their directories stay. Previews that have ended are still removed.
    """
    is_open = (previews.c.parent == parent) & previews.c.ended_at.is_(None)
    connection.execute(delete(previews).where(is_open))


def _ended(connection: Connection, parent: str, number: int) -> bool:
    is_this = (previews.c.parent == parent) & (previews.c.number == number)
    ended = update(previews).where(is_this, previews.c.ended_at.is_(None))
    return bool(connection.execute(ended.values(ended_at=datetime.now(UTC))).rowcount)


def _is_closed(parent: Application, number: int) -> ColumnElement[bool]:
    table = closed_pull_requests.c
    return and_(
        table.parent == parent.name,
        table.provider == parent.provider,
        table.repository == parent.repository,
        table.number == number,
    )


def _refuse_application(connection: Connection, name: str, preview: PreviewRecord | None) -> None:
    """Raise an error if a person created an application with this name, even in place of a
    preview."""
    target = connection.scalar(select(applications.c.target).where(applications.c.name == name))
    if target is not None and (preview is None or target != preview.target):
        raise ConfigurationError(
            f"The name {name!r} of the preview is used by an application.",
            hint="Change previews: {name: …} of the parent, or remove that application and"
            " create it under another name. Then push to the pull request again.",
            application=name,
        )


def _refuse_more(connection: Connection, name: str, parent: str, limit: int) -> None:
    others = select(func.count()).where(
        previews.c.parent == parent, previews.c.name != name, previews.c.ended_at.is_(None)
    )
    if int(connection.scalar(others) or 0) >= limit:
        raise ConfigurationError(
            f"The application {parent!r} has {limit} previews, which is its limit.",
            hint="Close pull requests, or raise previews: {limit: NUMBER} of the application. Then"
            " push to the pull request again.",
            application=parent,
        )
