"""Failed attempts to sign in, in the store: all servers with one database count them together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from deploycore.store.database import Database
from deploycore.store.tables import sign_in_failures

__all__ = ["SignInFailures"]

_ADDRESSES_MOST = 10_000
_PRUNED_EVERY = 100

Wait = Callable[[int, datetime], float]
"""Returns the seconds to wait, from the number of failures and the time of the last one."""


class SignInFailures:
    """The failures of all addresses, as the attribute ``sign_in_failures`` of ``Store``.

    Anybody can cause them, so only those of the last 10,000 addresses are kept, and of some more
    between two times of deleting.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._count = itertools.count()

    def add(self, sender: str, *, at: datetime, forgotten_before: datetime, wait: Wait) -> float:
        """Count a failure of an address, unless it has to wait before its next attempt.

        If the address has to wait, nothing is written.

        Args:
            sender: The address.
            at: The time of the failure.
            forgotten_before: Failures of addresses that have had none since are deleted.

        Returns:
            The seconds to wait; 0 if the failure is counted.
        """
        with self._database.reading() as connection:
            seconds = _seconds(connection, _of(sender), wait)
        if seconds > 0:
            return seconds
        table = sign_in_failures
        with self._database.writing() as connection:
            connection.execute(delete(table).where(table.c.at < forgotten_before))
            if next(self._count) % _PRUNED_EVERY == 0:
                _prune(connection)
            seconds = _seconds(connection, _of(sender).with_for_update(), wait)
            if seconds <= 0:
                _count(connection, sender, at)
        return seconds

    def take_back(self, sender: str) -> None:
        """Take back the last failure of an address: its attempt has succeeded."""
        table = sign_in_failures
        fewer = update(table).where(table.c.sender == sender, table.c.count > 0)
        with self._database.writing() as connection:
            connection.execute(fewer.values(count=table.c.count - 1))


def _of(sender: str) -> Select[tuple[int, datetime]]:
    table = sign_in_failures
    return select(table.c.count, table.c.at).where(table.c.sender == sender)


def _prune(connection: Connection) -> None:
    sender, at = sign_in_failures.c.sender, sign_in_failures.c.at
    first_old = select(at).order_by(at.desc()).offset(_ADDRESSES_MOST).limit(1)
    # Rows that others are changing are left for the next time: to wait for them could end in a
    # deadlock.
    old = select(sender).where(at <= first_old.scalar_subquery()).with_for_update(skip_locked=True)
    connection.execute(delete(sign_in_failures).where(sender.in_(old)))


def _seconds(connection: Connection, query: Select[tuple[int, datetime]], wait: Wait) -> float:
    found = connection.execute(query).one_or_none()
    if found is None or not isinstance(found[0], int) or not isinstance(found[1], datetime):
        return 0.0
    return wait(found[0], found[1])


def _count(connection: Connection, sender: str, at: datetime) -> None:
    table = sign_in_failures
    more = update(table).where(table.c.sender == sender).values(count=table.c.count + 1, at=at)
    if connection.execute(more).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(sender=sender, count=1, at=at))
    except IntegrityError:  # another server has counted its first one meanwhile
        connection.execute(more)
