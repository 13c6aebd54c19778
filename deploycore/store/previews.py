"""Previews in the store: which application was made for which pull request, and what is left of it.

A row is there before the application is made, and until its directory is gone: whatever dies in
between, the next worker knows what there is to take away.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store.database import Database
from deploycore.store.lookup import named_row
from deploycore.store.records import PreviewRecord
from deploycore.store.tables import applications, previews

__all__ = ["Previews"]


class Previews:
    """The previews of all applications; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        name: str,
        *,
        parent: str,
        number: int,
        target: Path,
        within: Path,
        host: str | None,
        limit: int,
    ) -> PreviewRecord:
        """Keep a place for a preview before its application is made; one that is there goes on.

        Raises:
            ConfigurationError: There are as many as there may be, or the name is that of
                something else than this preview.
            StoreError: A former one of this name is just being removed.
        """
        with self._database.writing() as connection:
            named_row(connection, "application", applications, parent, locked=True)
            known = _find(connection, name)
            if known is None:
                _refuse_application(connection, name)
            elif (known.parent, known.number) != (parent, number):
                raise ConfigurationError(
                    f"{name!r} is the preview of pull request {known.number} of {known.parent}.",
                    hint="Have the names of previews hold {application}.",
                    application=parent,
                )
            elif known.removed_at is not None:
                raise StoreError(
                    f"The former preview {name!r} is being removed.", hint="Try again in a moment."
                )
            _refuse_more(connection, name, parent, limit)
            if known is not None and known.target != target:
                raise ConfigurationError(
                    f"The preview {name!r} has another directory: {known.target}.",
                    hint="Its parent's pattern, or the branch, was changed. Close the pull request"
                    " and open it again.",
                    application=parent,
                )
            connection.execute(delete(previews).where(previews.c.name == name))
            values = {
                "name": name,
                "parent": parent,
                "number": number,
                "target": target,
                "within": within,
                "host": host,
                "created_at": known.created_at if known else datetime.now(UTC),
            }
            made = insert(previews).values(values).returning(*previews.c)
            return PreviewRecord(**connection.execute(made).mappings().one())

    def end(self, parent: str, number: int) -> bool:
        """Note that a pull request has come to its end; whether it had a preview."""
        is_this = (previews.c.parent == parent) & (previews.c.number == number)
        return self._ended(is_this & previews.c.ended_at.is_(None))

    def end_orphans(self) -> bool:
        """Note the end of those whose parents were removed; whether there are any."""
        names = select(applications.c.name)
        return self._ended(previews.c.parent.not_in(names) & previews.c.ended_at.is_(None))

    def list(self) -> Sequence[PreviewRecord]:
        """All previews, by name, those that have ended and are still there too."""
        with self._database.reading() as connection:
            rows = connection.execute(select(previews).order_by(previews.c.name)).mappings()
            return [PreviewRecord(**row) for row in rows]

    def begin_removal(self, name: str) -> bool:
        """Note that nobody may have this preview again before its directory is gone.

        Returns:
            Whether it is so; ``False`` where the pull request was opened again meanwhile.
        """
        is_over = (previews.c.name == name) & previews.c.ended_at.is_not(None)
        values = {"removed_at": func.coalesce(previews.c.removed_at, datetime.now(UTC))}
        with self._database.writing() as connection:
            return bool(connection.execute(update(previews).where(is_over).values(values)).rowcount)

    def forget(self, name: str) -> None:
        """Forget a preview whose directory is gone."""
        is_gone = (previews.c.name == name) & previews.c.removed_at.is_not(None)
        with self._database.writing() as connection:
            connection.execute(delete(previews).where(is_gone))

    def _ended(self, which: ColumnElement[bool]) -> bool:
        with self._database.writing() as connection:
            ended = update(previews).where(which).values(ended_at=datetime.now(UTC))
            return bool(connection.execute(ended).rowcount)


def _find(connection: Connection, name: str) -> PreviewRecord | None:
    row = connection.execute(select(previews).where(previews.c.name == name)).mappings()
    found = row.one_or_none()
    return None if found is None else PreviewRecord(**found)


def _refuse_application(connection: Connection, name: str) -> None:
    query = select(applications.c.name).where(applications.c.name == name)
    if connection.scalar(query) is not None:
        raise ConfigurationError(
            f"There is an application {name!r} that is no preview.",
            hint="Give previews another name, or rename that one.",
            application=name,
        )


def _refuse_more(connection: Connection, name: str, parent: str, limit: int) -> None:
    others = select(func.count()).where(
        previews.c.parent == parent, previews.c.name != name, previews.c.ended_at.is_(None)
    )
    if int(connection.scalar(others) or 0) >= limit:
        raise ConfigurationError(
            f"The application {parent!r} has {limit} previews already, which is its limit.",
            hint="Close pull requests, or raise previews/limit.",
            application=parent,
        )
