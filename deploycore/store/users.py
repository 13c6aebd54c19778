"""Users of the dashboard in the store: names, roles, hashes of passwords, identities at issuers."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, delete, false, insert, select, update

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.store.account_records import Role, UserRecord
from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.lookup import named_row, refuse_taken
from deploycore.store.named import StatementsOfEngine
from deploycore.store.reading import as_record, checksums, read_record, read_records
from deploycore.store.tables import sessions, sign_in_links, users

__all__ = ["Users", "add_user", "has_administrator"]

_USER = as_record(UserRecord, users)


class Users:
    """All users, as the attribute ``users`` of ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        name: str,
        *,
        role: Role,
        password: str | None = None,
        issuer: str | None = None,
        subject: str | None = None,
    ) -> UserRecord:
        """Store a new user.

        Args:
            password: The hash of the password.
            issuer: The issuer where the user signs in.
            subject: The issuer's identifier of the user.

        Raises:
            ConfigurationError: The name is malformed or taken.
        """
        with self._database.writing() as connection:
            return add_user(
                connection, name, role=role, password=password, issuer=issuer, subject=subject
            )

    def get(self, name: str) -> UserRecord:
        """Return a user.

        Raises:
            ConfigurationError: There is no user with this name.
            StoreError: The record is damaged.
        """
        with self._database.reading() as connection:
            return read_record(users, named_row(connection, "user", name), _USER)

    def find(self, name: str) -> UserRecord | None:
        """Return a user; ``None`` if there is none with this name.

        Raises:
            StoreError: The record is damaged.
        """
        return self._find(users.c.name == name)

    def find_identity(self, issuer: str, subject: str) -> UserRecord | None:
        """Return the user with an issuer's subject; ``None`` if there is none.

        Raises:
            StoreError: The record is damaged.
        """
        return self._find((users.c.issuer == issuer) & (users.c.subject == subject))

    def list(self, *, after: str = "", limit: int | None = None) -> list[UserRecord]:
        """List users by name.

        Args:
            after: Start after this name.
            limit: The maximum number.
        """
        query = select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
        with self._database.reading() as connection:
            return list(read_records(connection, users, query, _USER))

    def has_administrator(self) -> bool:
        """Whether there is an administrator who can sign in."""
        with self._database.reading() as connection:
            return has_administrator(connection)

    def change(
        self, name: str, *, role: Role | None = None, disabled: bool | None = None
    ) -> UserRecord:
        """Change the role of a user, or whether the user can sign in. A user who cannot is signed
        out everywhere.

        Raises:
            ConfigurationError: There is no user with this name, or it is the last administrator.
            StoreError: The record is damaged.
        """
        given = {"role": role, "disabled": disabled}
        values = {key: value for key, value in given.items() if value is not None}
        with self._database.writing() as connection:
            named_row(connection, "user", name, locked=True)
            if role not in (None, "admin") or disabled:
                _refuse_last_administrator(connection, name)
            if values:
                _update(connection, name, changed_at=present(connection), **values)
            if disabled:
                connection.execute(delete(sessions).where(sessions.c.user == name))
                connection.execute(delete(sign_in_links).where(sign_in_links.c.user == name))
            return read_record(users, named_row(connection, "user", name), _USER)

    def set_password(self, name: str, password: str, *, keep: int | None = None) -> None:
        """Set the hash of a user's password, and end the user's sessions.

        Args:
            keep: The number of a session that stays.

        Raises:
            ConfigurationError: There is no user with this name.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "user", name, locked=True)
            _put_password(connection, row, password, changed_at=present(connection))
            ended = delete(sessions).where(sessions.c.user == name)
            connection.execute(ended if keep is None else ended.where(sessions.c.id != keep))

    def replace_hash(self, name: str, former: str, password: str) -> None:
        """Store another hash of the same password, unless the password has changed."""
        with self._database.writing() as connection:
            row = named_row(connection, "user", name, locked=True)
            if row["password"] == former:
                _put_password(connection, row, password)

    def remove(self, name: str) -> None:
        """Remove a user with all sessions and links.

        Raises:
            ConfigurationError: There is no user with this name, or it is the last administrator.
        """
        with self._database.writing() as connection:
            named_row(connection, "user", name, locked=True)
            _refuse_last_administrator(connection, name)
            connection.execute(delete(users).where(users.c.name == name))

    def _find(self, condition: Any) -> UserRecord | None:
        with self._database.reading() as connection:
            row = connection.execute(select(users).where(condition)).mappings().one_or_none()
        return None if row is None else read_record(users, row, _USER)


def add_user(
    connection: Connection,
    name: str,
    *,
    role: Role,
    password: str | None = None,
    issuer: str | None = None,
    subject: str | None = None,
) -> UserRecord:
    """Store a new user in a transaction; see :meth:`Users.add`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{name!r} is not a valid name for a user.",
            hint="Use letters, digits, '.', '_' and '-', at most 63.",
        )
    refuse_taken(StatementsOfEngine(connection), "user", name)
    at = present(connection)
    record = UserRecord(name, role, password, issuer, subject, False, at, at, None)
    values = vars(record)
    connection.execute(insert(users).values(values | checksums(users, values)))
    return record


def has_administrator(connection: Connection) -> bool:
    """Whether there is an administrator who can sign in."""
    return connection.scalar(_administrators().limit(1)) is not None


def _administrators() -> Any:
    return select(users.c.name).where(users.c.role == "admin", users.c.disabled.is_(false()))


def _refuse_last_administrator(connection: Connection, name: str) -> None:
    # All administrators are locked: if two remove each other at once, the second removal is
    # refused.
    names = connection.scalars(_administrators().order_by(users.c.name).with_for_update()).all()
    if list(names) == [name]:
        raise ConfigurationError(
            f"The user {name} is the last administrator.",
            hint="Make another user an administrator first: deploycore user role NAME admin",
            user=name,
        )


def _put_password(connection: Connection, row: Any, password: str, **more: Any) -> None:
    values = {"password": password, "issuer": row["issuer"], "subject": row["subject"]}
    _update(connection, row["name"], **values, **checksums(users, values), **more)


def _update(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(users).where(users.c.name == name).values(values))
