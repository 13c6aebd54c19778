"""Triggers in the store: requests to deploy applications, until they are settled.

A trigger does not name the commit to deploy: a worker deploys what the ref points to when it
processes the application. So one deployment settles all triggers of the application that were
stored before it started.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Exists,
    Row,
    Select,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from deploycore.errors import ConfigurationError
from deploycore.store.claims import is_claimed
from deploycore.store.database import Database, chunks
from deploycore.store.definitions import LAST_TURN
from deploycore.store.engine import present
from deploycore.store.lookup import find_row
from deploycore.store.named import Statements
from deploycore.store.queue_records import PendingApplication, TriggerCounts, TriggerRecord
from deploycore.store.reading import as_record, first_readable, read_record, read_records
from deploycore.store.tables import applications, claims, triggers
from deploycore.store.times import LONGEST_POSTPONEMENT, at_most, holds

__all__ = ["REMEMBERED", "Triggers"]

logger = logging.getLogger(__name__)

REMEMBERED = timedelta(days=30)
"""How long a settled trigger is stored, so that the same delivery is recognized when it arrives
again."""

DELIVERY_SECONDS = 5.0
"""How long storing a trigger waits for other transactions: hosts give a delivery about ten seconds
in total."""

_PRUNED_AT_ONCE = 1000
_OLDEST_LOOKED_AT = 20
_ROWS_EACH = 4  # number of triggers of one application that are read at first
_ROWS_MORE = 8
_IS_OPEN = triggers.c.settled_at.is_(None)
_IS_NEW = triggers.c.attempts == 0
_TRIGGER = as_record(TriggerRecord, triggers)


class Triggers:
    """The triggers of all applications, as the attribute ``triggers`` of ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Callable[[str], None]] = []

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call a function with the application of each trigger that this process adds.

        Args:
            listener: Must be quick. The trigger is already stored; an error of the listener is
                logged.

        Returns:
            A function that ends the subscription.
        """
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

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
        force: bool = False,
        settled: bool = False,
    ) -> TriggerRecord | None:
        """Store a request to deploy an application.

        Args:
            cause: What caused it, in at most 16 characters: ``push``, ``poll``.
            delivery: The git host's identifier of the delivery.
            digest: The digest of the delivery's body. If a trigger with the same delivery or the
                same digest is stored (``REMEMBERED``), no second one is added.
            priority: Triggers with a higher priority are processed first.
            force: Whether to deploy a commit that is already live.
            settled: Whether nothing is to be deployed; the trigger is stored only to recognize
                the delivery if it arrives again.

        Returns:
            The trigger; ``None`` if it was already stored.

        Raises:
            ConfigurationError: There is no such application.
        """
        values: dict[str, Any] = {
            "application": application,
            "cause": cause,
            "ref": ref,
            "commit": commit,
            "actor": actor,
            "priority": priority,
            "force": force,
            "delivery": delivery or None,
            "digest": digest or None,
            "attempts": 0,
        }
        with self._database.writing_by_name(patience=DELIVERY_SECONDS) as statements:
            if statements.run("keep application", name=application).row is None:
                find_row(statements, "application", application)  # raises the error
            at = statements.present()
            if _is_remembered(statements, application, values["delivery"], values["digest"], at):
                return None
            values |= {"received_at": at, "not_before": at, "settled_at": at if settled else None}
            row = statements.run("add trigger", **values).row
            if row is None:
                return None  # of two identical deliveries, the other one was stored first
            record = read_record("triggers", row, _TRIGGER)
        if not settled:
            self._tell(application)
        return record

    def is_known(self, application: str, digest: str) -> bool:
        """Return whether a trigger with this digest is stored."""
        query = select(triggers.c.id).where(
            triggers.c.application == application, triggers.c.digest == digest
        )
        with self._database.reading() as connection:
            return connection.scalar(query) is not None

    def pending(
        self, *, host: str, application: str | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """List applications with triggers that are due, and that no worker has claimed.

        Those with the highest priority come first. Of the same priority, the one that has waited
        longest comes first. A failed attempt puts an application behind all others.

        Args:
            host: The name of this machine; applications of other machines are left out.
            application: List only this application.
            limit: The maximum number of results.
        """
        return [each.application for each in self.queue(host, application, limit=limit)]

    def queue(
        self,
        host: str,
        application: str | None = None,
        *,
        limit: int | None = None,
        without: Collection[str] = (),
        retries: bool = True,
    ) -> Sequence[PendingApplication]:
        """List what ``pending`` lists, with the data by which a worker divides its slots.

        Args:
            without: Names of providers whose applications are left out.
            retries: Whether to list applications whose last attempt failed.
        """
        with self._database.reading() as connection:
            query = _due(present(connection), host)
            if application is not None:
                query = query.where(triggers.c.application == application)
            if without:
                query = query.where(applications.c.provider.not_in(without))
            if not retries:
                query = query.where(~_is_retried())
            if limit is None:
                return _distinct(connection.execute(query).all())
            rows = limit * _ROWS_EACH
            while True:  # a single application may have very many triggers
                found = connection.execute(query.limit(rows)).all()
                distinct = _distinct(found)[:limit]
                if len(distinct) == limit or len(found) < rows:
                    return distinct
                rows *= _ROWS_MORE

    def seconds_to_next(self) -> float | None:
        """Return the seconds until ``pending`` may list more, if no trigger is added.

        That is the time until a postponed trigger is due or a claim expires; ``None`` if there is
        neither."""
        with self._database.reading() as connection:
            now = present(connection)
            tried = select(triggers.c.not_before).where(_IS_OPEN, _is_postponed(now))
            lapses = select(claims.c.expires_at).where(is_claimed(now))
            found = [
                first_readable(
                    connection, query.order_by(query.selected_columns[0]).limit(_OLDEST_LOOKED_AT)
                )
                for query in (tried, lapses)
            ]
            return min(((at - now).total_seconds() for at in found if at is not None), default=None)

    def open(self, application: str) -> Sequence[TriggerRecord]:
        """List the unsettled triggers of an application, the oldest first.

        A damaged trigger is settled and replaced by a new one, so that its request is not lost.
        """
        query = select(triggers).where(_IS_OPEN, triggers.c.application == application)
        query = query.order_by(triggers.c.id)
        for _ in range(2):
            damaged: builtins.list[Mapping[Any, Any]] = []
            with self._database.reading() as connection:
                found = builtins.list(
                    read_records(connection, triggers, query, _TRIGGER, damaged=damaged)
                )
            if not damaged:
                break
            self._replace(application, [row["id"] for row in damaged])
        return found

    def _replace(self, application: str, ids: Sequence[int]) -> None:
        """Settle damaged triggers, and add one new trigger for them."""
        logger.warning(
            "%d damaged triggers of %s were replaced by one new trigger", len(ids), application
        )
        self.settle(ids, error_code="damaged")
        self.add(application, cause="recovery")

    def list(
        self,
        application: str | None = None,
        *,
        before: int | None = None,
        limit: int | None = None,
    ) -> Sequence[TriggerRecord]:
        """List triggers, settled or not, the newest first.

        Args:
            application: List only triggers of this application.
            before: List only triggers with a smaller id than this one.
            limit: The maximum number of results.
        """
        query = select(triggers).order_by(triggers.c.id.desc()).limit(limit)
        if application is not None:
            query = query.where(triggers.c.application == application)
        if before is not None:
            query = query.where(triggers.c.id < before)
        with self._database.reading() as connection:
            return builtins.list(read_records(connection, triggers, query, _TRIGGER))

    def get(self, trigger: int) -> TriggerRecord:
        """Return the trigger with an id.

        Raises:
            ConfigurationError: There is no trigger with this id.
        """
        query = select(triggers).where(triggers.c.id == trigger)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise ConfigurationError(
                f"There is no trigger {trigger}.",
                hint="Use the id that POST /api/v1/applications/APPLICATION/deployments returned.",
                trigger=trigger,
            )
        return read_record(triggers, row, _TRIGGER)

    def newest(self, application: str, ref: str) -> TriggerRecord | None:
        """Return the newest trigger of an application for a ref."""
        query = (
            select(triggers)
            .where(triggers.c.application == application, triggers.c.ref == ref)
            .order_by(triggers.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            return next(read_records(connection, triggers, query, _TRIGGER), None)

    def settle(
        self, ids: Sequence[int], *, deployment: int | None = None, error_code: str | None = None
    ) -> None:
        """Record the result of triggers; those that are already settled do not change.

        Args:
            deployment: The deployment that started after they were stored.
            error_code: The ``code`` of the error; ``None`` if there was none.
        """
        with self._database.writing() as connection:
            settled = update(triggers).values(
                settled_at=present(connection), deployment=deployment, error_code=error_code
            )
            for some in chunks(ids):
                connection.execute(settled.where(triggers.c.id.in_(some), _IS_OPEN))

    def postpone(self, ids: Sequence[int], *, seconds: float, error_code: str) -> None:
        """Schedule a retry of triggers, behind all triggers in the queue.

        Args:
            seconds: Seconds until the retry; 25 hours at most.
            error_code: The ``code`` of the error of this attempt.
        """
        with self._database.writing() as connection:
            now = present(connection)
            # Two statements, because some databases read the rows while they are changed.
            last = first_readable(connection, LAST_TURN)
            postponed = update(triggers).values(
                attempts=triggers.c.attempts + 1,
                not_before=now + at_most(seconds, LONGEST_POSTPONEMENT),
                error_code=error_code,
                turn=(last or 0) + 1,
                priority=case((triggers.c.priority > 0, 0), else_=triggers.c.priority),
                tried_at=now,
            )
            for some in chunks(ids):
                connection.execute(postponed.where(triggers.c.id.in_(some), _IS_OPEN))

    def prune(self, *, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Delete triggers that were settled long ago, in transactions of a limited size.

        Short transactions keep other processes from waiting long. The last trigger of each ref
        stays, so that polling recognizes its commit.

        Args:
            is_stopped: Called before each transaction; returns whether to leave the rest for later.

        Returns:
            The number of deleted triggers.
        """
        last = select(func.max(triggers.c.id)).group_by(triggers.c.application, triggers.c.ref)
        with self._database.reading() as connection:
            # Computed once: triggers that are added meanwhile do not make an old one the last of
            # its ref.
            before = present(connection) - REMEMBERED
            kept = set(connection.scalars(last))
        old = select(triggers.c.id).where(triggers.c.settled_at < before).order_by(triggers.c.id)
        count, after = 0, 0
        while not is_stopped():
            some = old.where(triggers.c.id > after).limit(_PRUNED_AT_ONCE)
            with self._database.writing() as connection:
                found = connection.scalars(some.with_for_update(skip_locked=True)).all()
                gone = [each for each in found if each not in kept]
                connection.execute(delete(triggers).where(triggers.c.id.in_(gone)))
            count += len(gone)
            if not found:
                break
            after = found[-1]
        return count

    def counts(self) -> TriggerCounts:
        """Count the triggers."""
        with self._database.reading() as connection:
            now = present(connection)
            is_due = ~_is_postponed(now)
            failed = triggers.c.error_code.is_not(None)
            query = select(
                _count(_IS_OPEN & is_due),
                _count(_IS_OPEN & ~is_due),
                _count(~_IS_OPEN & ~failed),
                _count(~_IS_OPEN & failed),
            )
            due, postponed, deployed, errors = map(int, connection.execute(query).one())
            age = _age_of_oldest(connection, now)
            return TriggerCounts(due, postponed, deployed, errors, age)

    def _tell(self, application: str) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(application)
            except Exception as error:
                logger.warning("a listener failed for a new trigger: %s", type(error).__name__)


def _is_postponed(now: datetime) -> ColumnElement[bool]:
    """Return whether a trigger waits for a retry. A new one does not, even if a clock was reset."""
    return ~_IS_NEW & holds(triggers.c.not_before, triggers.c.tried_at, now, LONGEST_POSTPONEMENT)


def _due(now: datetime, host: str) -> Select[Any]:
    """Select the application of each trigger that is due, in the order of the queue."""
    # After a host's rate limit, nothing is tried earlier. After any other failure, a new trigger is
    # tried at once.
    limited = triggers.alias("limited")
    is_limited = exists().where(
        limited.c.application == triggers.c.application,
        limited.c.settled_at.is_(None),
        limited.c.error_code == "rate_limited",
        holds(limited.c.not_before, limited.c.tried_at, now, LONGEST_POSTPONEMENT),
    )
    in_hand = exists().where(claims.c.application == triggers.c.application, is_claimed(now))
    named = applications.c.host
    return (
        select(triggers.c.application, applications.c.provider, _is_retried().label("is_retried"))
        .join(applications, applications.c.name == triggers.c.application)
        .where(_IS_OPEN, ~_is_postponed(now), ~in_hand, ~is_limited)
        .where(or_(named.is_(None), named == host))
        .order_by(triggers.c.priority.desc(), triggers.c.turn, triggers.c.id)
    )


def _is_retried() -> Exists:
    tried = triggers.alias("tried")
    return exists().where(
        tried.c.application == triggers.c.application,
        tried.c.settled_at.is_(None),
        tried.c.attempts > 0,
    )


def _distinct(rows: Iterable[Row[Any]]) -> list[PendingApplication]:
    found: dict[str, PendingApplication] = {}
    for row in rows:
        provider = row.provider if isinstance(row.provider, str) else ""  # the value is damaged
        each = PendingApplication(row.application, provider, bool(row.is_retried))
        found.setdefault(each.application, each)
    return list(found.values())


def _is_remembered(
    statements: Statements,
    application: str,
    delivery: str | None,
    digest: str | None,
    at: datetime,
) -> bool:
    """Return whether a trigger of the same event is stored; remove those that were settled long
    ago."""
    if delivery is None and digest is None:
        return False
    same = {"same_delivery": delivery, "same_digest": digest}
    found = statements.run("same triggers", of=application, **same).rows
    before = at - REMEMBERED
    old = [each["id"] for each in found if each["settled_at"] and each["settled_at"] < before]
    if old:
        statements.run("remove triggers", numbers=old)
    return len(found) > len(old)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _age_of_oldest(connection: Connection, now: datetime) -> float:
    # Ids grow with time. The sum prevents the database from using an index that would read all
    # settled triggers.
    query = select(triggers.c.received_at).where(_IS_OPEN).order_by(triggers.c.id + 0)
    oldest: datetime | None = first_readable(connection, query.limit(_OLDEST_LOOKED_AT))
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
