"""Triggers in the store: why applications are to be looked at, until that has come to an end.

A trigger says no more than 'look': what is deployed is what the ref points to when the turn has
come. So of many for one application one deployment settles all that were there when it began.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
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
    insert,
    or_,
    select,
    update,
)

from deploycore.errors import ConfigurationError
from deploycore.store.claims import is_claimed
from deploycore.store.database import Database, chunks, present
from deploycore.store.lookup import named_row
from deploycore.store.reading import as_record, first_readable, read_record, read_records
from deploycore.store.records import PendingApplication, TriggerCounts, TriggerRecord
from deploycore.store.tables import applications, claims, triggers
from deploycore.store.times import LONGEST_POSTPONEMENT, at_most, holds

__all__ = ["REMEMBERED", "Triggers"]

logger = logging.getLogger(__name__)

REMEMBERED = timedelta(days=30)
"""How long a settled trigger stays, so that the same delivery is known when it comes again."""

DELIVERY_SECONDS = 5.0
"""How long storing a trigger waits for others: hosts give a delivery some ten seconds in all."""

_PRUNED_AT_ONCE = 1000
_OLDEST_LOOKED_AT = 20
_ROWS_EACH = 4  # triggers of one application that are read at first
_ROWS_MORE = 8
_IS_OPEN = triggers.c.settled_at.is_(None)
_IS_NEW = triggers.c.attempts == 0
_MOST_TURNS = 2**31 - 1
_LAST_TURN = (
    select(triggers.c.turn)
    .where(_IS_OPEN, triggers.c.turn < _MOST_TURNS)  # others are damaged
    .order_by(triggers.c.turn.desc())
    .limit(1)
)
_TRIGGER = as_record(TriggerRecord, triggers)
_ADDED = insert(triggers).returning(*triggers.c)


class Triggers:
    """The triggers of all applications; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Callable[[str], None]] = []

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have a function called with the application of each trigger that is added here.

        Args:
            listener: Must be quick. What it raises is logged: the trigger is stored by then.

        Returns:
            What ends it.
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
        """Record that an application is to be looked at.

        Args:
            cause: What told of it, in at most 16 characters: ``push``, ``poll``.
            delivery: The git host's identifier of what told of it.
            digest: Of the body of what told of it. Of two with one delivery or one digest the
                second is not added, as long as the first is remembered (``REMEMBERED``).
            priority: Those with more go first.
            force: Whether what is live already is to be deployed again.
            settled: There is nothing to look at; it is only to be known when it comes again.

        Returns:
            The trigger; ``None`` where it was known already.

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
        with self._database.writing(patience=DELIVERY_SECONDS) as connection:
            _hold(connection, application)
            at = present(connection)
            same = _the_same(application, delivery, digest)
            if same is not None and _is_remembered(connection, same, at):
                return None
            values |= {"received_at": at, "not_before": at, "settled_at": at if settled else None}
            turn = func.coalesce(_LAST_TURN.scalar_subquery(), 0) + 1
            added = _added(connection).values(values | {"turn": turn})
            row = connection.execute(added).mappings().one_or_none()
            if row is None:
                return None  # of two deliveries of the same, the other one came first
            record = read_record(triggers, row, _TRIGGER)
        if not settled:
            self._tell(application)
        return record

    def is_known(self, application: str, digest: str) -> bool:
        """Whether what has this digest was told of, and is remembered."""
        query = select(triggers.c.id).where(
            triggers.c.application == application, triggers.c.digest == digest
        )
        with self._database.reading() as connection:
            return connection.scalar(query) is not None

    def pending(
        self, *, host: str, application: str | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """Applications that somebody should look at now, and that nobody has in hand.

        Those with the highest priority come first, of the same priority the one that waits for
        the longest time. What was tried in vain has gone behind all others.

        Args:
            host: The name of this machine: what names another one is left to that.
            application: Only this one.
            limit: At most so many.
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
        """The same, with what a worker shares its slots by.

        Args:
            without: Names of providers whose applications are left out.
            retries: Whether those are listed whose last try failed.
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
            while True:  # one application may have very many
                found = connection.execute(query.limit(rows)).all()
                distinct = _distinct(found)[:limit]
                if len(distinct) == limit or len(found) < rows:
                    return distinct
                rows *= _ROWS_MORE

    def seconds_to_next(self) -> float | None:
        """How long until ``pending`` may have more, if nothing is added: until a trigger that is
        postponed may be tried, or a claim lapses. ``None`` where there are neither."""
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
        """The triggers of an application that have not come to an end, the oldest first.

        A damaged one is settled, and another one takes its place: what it told of must not be lost,
        and nobody could settle it by its record.
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
        """Settle damaged triggers, and add one in their place."""
        logger.warning(
            "%d damaged triggers of %s were replaced by one new trigger", len(ids), application
        )
        self.settle(ids, error_code="damaged")
        self.add(application, cause="recovery")

    def list(
        self, application: str | None = None, *, limit: int | None = None
    ) -> Sequence[TriggerRecord]:
        """Triggers, open or settled, the newest first.

        Args:
            application: Only those of this application.
            limit: At most so many.
        """
        query = select(triggers).order_by(triggers.c.id.desc()).limit(limit)
        if application is not None:
            query = query.where(triggers.c.application == application)
        with self._database.reading() as connection:
            return builtins.list(read_records(connection, triggers, query, _TRIGGER))

    def get(self, trigger: int) -> TriggerRecord:
        """The trigger of an id.

        Raises:
            ConfigurationError: There is none.
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
        """What an application was last told about a ref."""
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
        """Record what became of triggers; of those that were settled before, nothing.

        Args:
            deployment: The deployment that began after they were there.
            error_code: The ``code`` of what went wrong; ``None`` where nothing did.
        """
        with self._database.writing() as connection:
            settled = update(triggers).values(
                settled_at=present(connection), deployment=deployment, error_code=error_code
            )
            for some in chunks(ids):
                connection.execute(settled.where(triggers.c.id.in_(some), _IS_OPEN))

    def postpone(self, ids: Sequence[int], *, seconds: float, error_code: str) -> None:
        """Have triggers tried again later, behind all that is there now.

        Args:
            seconds: When, from now on; 25 hours at most.
            error_code: The ``code`` of what went wrong this time.
        """
        with self._database.writing() as connection:
            now = present(connection)
            # Read apart: some databases look at the rows that are changed meanwhile.
            last = first_readable(connection, _LAST_TURN)
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
        """Forget triggers that were settled long ago: all of them, in transactions of a bounded
        size, so that nobody waits for long.

        The last one about each ref stays: polling must not take for news what it told.

        Args:
            is_stopped: Asked before each transaction; whether to leave the rest for another time.

        Returns:
            How many.
        """
        last = select(func.max(triggers.c.id)).group_by(triggers.c.application, triggers.c.ref)
        with self._database.reading() as connection:
            # Once: what is added meanwhile makes none of the others the last one.
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
        """How many triggers there are."""
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
    """Whether a trigger waits for its next try. What is new is due, though a clock be put back."""
    return ~_IS_NEW & holds(triggers.c.not_before, triggers.c.tried_at, now, LONGEST_POSTPONEMENT)


def _due(now: datetime, host: str) -> Select[Any]:
    """The application of each trigger that is due, in the order of the queue."""
    # A host that asked for fewer requests is obeyed whatever comes in; after any other failure,
    # what is new is a reason to try at once.
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
        provider = row.provider if isinstance(row.provider, str) else ""  # damaged
        each = PendingApplication(row.application, provider, bool(row.is_retried))
        found.setdefault(each.application, each)
    return list(found.values())


def _the_same(
    application: str, delivery: str | None, digest: str | None
) -> ColumnElement[bool] | None:
    """Those that tell of the same; ``None`` where that can't be known."""
    same: list[ColumnElement[bool]] = []
    if delivery:
        same.append(triggers.c.delivery == delivery)
    if digest:
        same.append(triggers.c.digest == digest)
    return (triggers.c.application == application) & or_(*same) if same else None


def _is_remembered(connection: Connection, same: ColumnElement[bool], at: datetime) -> bool:
    """Whether there are such; those that were settled long ago are taken away."""
    query = select(triggers.c.id, triggers.c.settled_at).where(same)
    found = connection.execute(query).all()
    old = [each.id for each in found if each.settled_at and each.settled_at < at - REMEMBERED]
    if old:
        connection.execute(delete(triggers).where(triggers.c.id.in_(old)))
    return len(found) > len(old)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _hold(connection: Connection, application: str) -> None:
    """Keep an application from being removed until the transaction ends; nothing else waits.

    Raises:
        ConfigurationError: There is no such application.
    """
    held = select(applications.c.name).where(applications.c.name == application)
    if connection.scalar(held.with_for_update(read=True, key_share=True)) is None:
        named_row(connection, "application", applications, application)


def _added(connection: Connection) -> Any:
    """The statement that adds a trigger, or nothing where there is the same one. SQLite needs no
    such condition: nobody else writes meanwhile."""
    return _added_once() if connection.dialect.name == "postgresql" else _ADDED


@cache
def _added_once() -> Any:
    from sqlalchemy.dialects import postgresql  # takes 30 ms, which SQLite need not pay

    return postgresql.insert(triggers).on_conflict_do_nothing().returning(*triggers.c)


def _age_of_oldest(connection: Connection, now: datetime) -> float:
    # Ids grow with time. The sum keeps the database from going through all that is settled.
    query = select(triggers.c.received_at).where(_IS_OPEN).order_by(triggers.c.id + 0)
    oldest: datetime | None = first_readable(connection, query.limit(_OLDEST_LOOKED_AT))
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
