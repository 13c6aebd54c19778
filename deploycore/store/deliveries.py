"""Webhook deliveries in the store: the last ones of each application, with their results.

Several deliveries are recorded at a time, without delaying the requests that brought them. The
number of rows is limited: there are the last deliveries of each application, and one row for each
reason to refuse deliveries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, tuple_

from deploycore.store.database import Database, chunks
from deploycore.store.reading import as_record, read_records
from deploycore.store.tables import applications, deliveries, triggers
from deploycore.store.webhook_records import DeliveryRecord

__all__ = ["DELIVERIES_MOST", "Deliveries"]

DELIVERIES_MOST = 50
"""The number of deliveries of an application that are kept."""

_COUNTED = ("refused", "dropped")
_DELIVERY = as_record(DeliveryRecord, deliveries)
_STORED = tuple(each.name for each in deliveries.c if each.name != "id")


class Deliveries:
    """The recorded deliveries of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, records: Iterable[DeliveryRecord], *, patience: float | None = None) -> None:
        """Record deliveries, in one transaction. Those of unknown applications are left out.

        Args:
            records: In the order of their arrival. Those that were refused or dropped are added to
                the record of the same application and reason.
            patience: As for ``Database.writing``.
        """
        given = list(records)
        with self._database.writing(patience=patience) as connection:
            there = _locked(connection, sorted({each.application for each in given}))
            known = [each for each in given if each.application in there]
            counted = _counted(connection, [each for each in known if each.outcome in _COUNTED])
            listed = [each for each in known if each.outcome not in _COUNTED]
            if rows := [_values(each) for each in (*counted, *listed)]:
                connection.execute(insert(deliveries), rows)
            for some in chunks(list({each.application for each in listed})):
                _forget_old(connection, some)

    def list(
        self, application: str, *, before: int | None = None, limit: int = DELIVERIES_MOST
    ) -> Sequence[DeliveryRecord]:
        """List the last deliveries that were neither refused nor dropped, the newest first.

        Args:
            before: Only those that were recorded before the one with this id.
        """
        wanted: ColumnElement[bool] = deliveries.c.outcome.not_in(_COUNTED)
        if before is not None:
            wanted &= deliveries.c.id < before
        with self._database.reading() as connection:
            found = _read(connection, application, wanted, limit)
            settled = _settled(connection, [each.trigger for each in found if each.trigger])
        return [replace(each, deployment=settled.get(each.trigger or 0)) for each in found]

    def history(
        self, application: str | None, *, before: int | None = None, limit: int
    ) -> Sequence[DeliveryRecord]:
        """List the last deliveries, also those that were refused or dropped, the newest first.

        Args:
            application: The name of an application; ``None`` for all.
            before: Only those that were recorded before the one with this id.
        """
        wanted: list[ColumnElement[bool]] = []
        if application is not None:
            wanted.append(deliveries.c.application == application)
        if before is not None:
            wanted.append(deliveries.c.id < before)
        query = select(deliveries).where(*wanted).order_by(deliveries.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            found = list(read_records(connection, deliveries, query, _DELIVERY))
            settled = _settled(connection, [each.trigger for each in found if each.trigger])
        return [replace(each, deployment=settled.get(each.trigger or 0)) for each in found]

    def list_refused(self, application: str) -> Sequence[DeliveryRecord]:
        """List the reasons for which deliveries were refused or dropped, the last one first."""
        with self._database.reading() as connection:
            found = _read(connection, application, deliveries.c.outcome.in_(_COUNTED), None)
        return sorted(found, key=lambda each: each.received_at, reverse=True)


def _read(
    connection: Connection, application: str, wanted: ColumnElement[bool], limit: int | None
) -> list[DeliveryRecord]:
    query = select(deliveries).where(deliveries.c.application == application, wanted)
    query = query.order_by(deliveries.c.id.desc()).limit(limit)
    return list(read_records(connection, deliveries, query, _DELIVERY))


def _settled(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the deployments that settled triggers, by trigger."""
    query = select(triggers.c.id, triggers.c.deployment).where(triggers.c.id.in_(ids))
    rows = connection.execute(query) if ids else ()
    return {trigger: found for trigger, found in rows if isinstance(found, int)}


def _locked(connection: Connection, names: Sequence[str]) -> set[Any]:
    """Return those of some applications that exist. They cannot be removed before this transaction
    ends."""
    found: set[Any] = set()
    for some in chunks(names):
        query = select(applications.c.name).where(applications.c.name.in_(some))
        found.update(connection.scalars(query.with_for_update(read=True, key_share=True)))
    return found


def _counted(
    connection: Connection, records: Sequence[DeliveryRecord]
) -> Collection[DeliveryRecord]:
    """Add the stored deliveries of the same reason to new ones, and remove the stored ones.

    The sums get new ids, because they are the newest now.
    """
    found: dict[tuple[str, ...], DeliveryRecord] = {}
    for each in records:
        key = each.application, each.outcome, each.reason
        former = found.pop(key, None)
        found[key] = each if former is None else _sum(each, former.count, former.first_at)
    c = deliveries.c
    for some in chunks(list(found)):
        is_its = c.application.in_({name for name, *_ in some})  # which has an index
        is_same = tuple_(c.application, c.outcome, c.reason).in_(some)
        gone = delete(deliveries).where(is_its, is_same)
        returned = gone.returning(c.application, c.outcome, c.reason, c.count, c.first_at)
        for application, outcome, reason, count, first_at in connection.execute(returned).all():
            key = application, outcome, reason
            if isinstance(count, int) and isinstance(first_at, datetime):  # they can be damaged
                found[key] = _sum(found[key], count, first_at)
    return found.values()


def _sum(record: DeliveryRecord, count: int, first_at: datetime) -> DeliveryRecord:
    return replace(record, count=record.count + count, first_at=min(record.first_at, first_at))


def _forget_old(connection: Connection, names: Sequence[str]) -> None:
    c = deliveries.c
    place = func.row_number().over(partition_by=c.application, order_by=c.id.desc())
    listed = select(c.id, place.label("place")).where(
        c.application.in_(names), c.outcome.not_in(_COUNTED)
    )
    newest = listed.subquery()
    old = select(newest.c.id).where(newest.c.place > DELIVERIES_MOST)
    for some in chunks(connection.scalars(old).all()):
        connection.execute(delete(deliveries).where(c.id.in_(some)))


def _values(record: DeliveryRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _STORED}
