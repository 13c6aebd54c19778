"""Triggers in the store: why an application is to be looked at, each accepted once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, exists, func, insert, or_, select
from sqlalchemy.exc import IntegrityError

from deploycore.errors import ConfigurationError
from deploycore.store.database import Database
from deploycore.store.lookup import named_row
from deploycore.store.records import TriggerCounts, TriggerRecord
from deploycore.store.tables import applications, triggers

__all__ = ["Triggers"]


class Triggers:
    """The triggers of all applications; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        application: str,
        *,
        cause: str,
        ref: str = "",
        commit: str | None = None,
        actor: str = "",
        delivery: str | None = None,
        digest: str | None = None,
        priority: int = 0,
    ) -> TriggerRecord | None:
        """Record that an application is to be looked at; it is on the disk when this returns.

        Args:
            cause: What told of it, in at most 16 characters: ``push``, ``poll``.
            ref: What it is about, as the application has it.
            commit: Where the ref is said to point.
            actor: Who did it.
            delivery: What tells it from others, such as the git host's identifier.
            digest: Of what was delivered, hexadecimal.
            priority: The greater, the sooner.

        Returns:
            ``None`` where one with this delivery or digest is known.

        Raises:
            ConfigurationError: There is no such application.
        """
        now = datetime.now(UTC)
        values = {
            "application": application,
            "cause": cause,
            "ref": ref,
            "commit": commit,
            "actor": actor,
            "priority": priority,
            "delivery": delivery or None,
            "digest": digest,
            "received_at": now,
            "not_before": now,
            "attempts": 0,
        }
        with self._database.writing() as connection:
            if _is_known(connection, values):
                return None
            try:
                with connection.begin_nested():
                    added = insert(triggers).values(values).returning(*triggers.c)
                    return TriggerRecord(**connection.execute(added).mappings().one())
            except IntegrityError:
                # Another process was faster, where writers do not wait for each other; or there
                # is no such application.
                if _is_known(connection, values):
                    return None
                named_row(connection, "application", applications, application)
                raise

    def get(self, trigger: int) -> TriggerRecord:
        """The trigger of an id.

        Raises:
            ConfigurationError: There is none.
        """
        query = select(triggers).where(triggers.c.id == trigger)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise ConfigurationError(f"There is no trigger {trigger}.", trigger=trigger)
        return TriggerRecord(**row)

    def newest(self, application: str, ref: str) -> TriggerRecord | None:
        """What an application was last told about a ref."""
        query = (
            select(triggers)
            .where(triggers.c.application == application, triggers.c.ref == ref)
            .order_by(triggers.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else TriggerRecord(**row)

    def counts(self) -> TriggerCounts:
        """How many triggers there are."""
        now = datetime.now(UTC)
        is_open, is_due = triggers.c.settled_at.is_(None), triggers.c.not_before <= now
        failed = triggers.c.error_code.is_not(None)
        conditions = (is_open & is_due, is_open & ~is_due, ~is_open & ~failed, ~is_open & failed)
        sums = (func.coalesce(func.sum(case((each, 1), else_=0)), 0) for each in conditions)
        with self._database.reading() as connection:
            due, postponed, deployed, errors = map(int, connection.execute(select(*sums)).one())
            oldest = connection.scalar(select(func.min(triggers.c.received_at)).where(is_open))
        age = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
        return TriggerCounts(due, postponed, deployed, errors, age)


def _is_known(connection: Connection, values: dict[str, Any]) -> bool:
    same = [
        triggers.c[name] == values[name]
        for name in ("delivery", "digest")
        if values[name] is not None
    ]
    if not same:
        return False
    known = exists().where(triggers.c.application == values["application"], or_(*same))
    return bool(connection.scalar(select(known)))
