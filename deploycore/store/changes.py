"""Find what has changed since a mark: deployments, requests, deliveries and providers.

A :class:`Mark` has the ids up to which everything had ended. So a process that has a mark can
request the current state of everything that may have changed since, even after a restart. Nothing
has to be stored for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, func, select

from deploycore.store.database import Database, chunks
from deploycore.store.queue_records import TriggerRecord
from deploycore.store.reading import Make, as_record, read_records
from deploycore.store.records import DeploymentRecord
from deploycore.store.states import may_precede
from deploycore.store.tables import deliveries, deployments, providers, triggers
from deploycore.store.webhook_records import DeliveryRecord

__all__ = ["Changes", "Looked", "Mark"]

MOST = 500
"""How many rows of each kind one call returns, and how many ids a mark goes back."""

_DEPLOYMENT = as_record(DeploymentRecord, deployments)
_TRIGGER = as_record(TriggerRecord, triggers)
_DELIVERY = as_record(DeliveryRecord, deliveries)
_IS_RUNNING = deployments.c.state.in_(may_precede("failed"))

T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """A place in the history: everything up to these ids has ended.

    Attributes:
        deployment: The id of a deployment.
        trigger: The id of a trigger.
        delivery: The id of a webhook delivery.
    """

    deployment: int
    trigger: int
    delivery: int = 0


@dataclass(frozen=True)
class Looked:
    """The current state of everything after a mark.

    Attributes:
        deployments: By id, the oldest first.
        triggers: By id, the oldest first.
        deliveries: By id, the oldest first.
        providers: The number of changes of each provider, and when its credentials expire.
        is_all: Whether everything is included. If there is too much, some is left out.
    """

    deployments: Sequence[DeploymentRecord]
    triggers: Sequence[TriggerRecord]
    deliveries: Sequence[DeliveryRecord]
    providers: Mapping[str, tuple[int, datetime | None]]
    is_all: bool


class Changes:
    """Finds changes. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self) -> Mark:
        """Return the current mark."""
        is_open = triggers.c.settled_at.is_(None)
        with self._database.reading() as connection:
            return Mark(
                _before(connection, deployments, select(deployments.c.id).where(_IS_RUNNING)),
                _before(connection, triggers, select(triggers.c.id).where(is_open)),
                int(connection.scalar(select(func.max(deliveries.c.id))) or 0),
            )

    def look(
        self,
        mark: Mark,
        *,
        deployments_too: Collection[int] = (),
        triggers_too: Collection[int] = (),
    ) -> Looked:
        """Return everything after a mark.

        Args:
            deployments_too: Also return the deployments of these ids.
            triggers_too: Also return the triggers of these ids.
        """
        with self._database.reading() as connection:
            ran = _behind(connection, deployments, mark.deployment, deployments_too, _DEPLOYMENT)
            asked = _behind(connection, triggers, mark.trigger, triggers_too, _TRIGGER)
            came = _behind(connection, deliveries, mark.delivery, (), _DELIVERY)
            columns = (providers.c.name, providers.c.generation, providers.c.expires_at)
            configured = {row[0]: (row[1], row[2]) for row in connection.execute(select(*columns))}
        is_all = all(len(each) <= MOST for each in (ran, asked, came))
        return Looked(ran[-MOST:], asked[-MOST:], came[-MOST:], configured, is_all)


def _before(connection: Connection, table: Table, unfinished: Select[Any]) -> int:
    """Return the id before the first row that has not ended. If that row is very old, the id is
    later."""
    newest = int(connection.scalar(select(func.max(table.c.id))) or 0)
    recent = unfinished.where(table.c.id > newest - MOST).order_by(table.c.id).limit(1)
    first = connection.scalar(recent)
    return newest if first is None else int(first) - 1


def _behind(
    connection: Connection, table: Table, after: int, too: Collection[int], make: Make[T]
) -> list[T]:
    key = table.c.id
    found: dict[int, T] = {}
    earlier = sorted(each for each in too if each <= after)
    wanted = [key.in_(some) for some in chunks(earlier)]
    for each in (*wanted, key > after):
        query = select(table).where(each).order_by(key.desc()).limit(MOST + 1)
        for record in read_records(connection, table, query, make):
            found[record.id] = record  # type: ignore[attr-defined]  # all of them have one
    return [found[number] for number in sorted(found)]
