"""Browsers that are signed in, and one-time links, in the store: only digests of their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import Connection, delete, false, insert, select, update

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store.account_records import (
    LinkPurpose,
    LinkRecord,
    SessionRecord,
    UserRecord,
)
from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.lookup import named_row
from deploycore.store.reading import as_record, checksums, read_record, read_records
from deploycore.store.tables import sessions, sign_in_links, users
from deploycore.store.token_digests import digest_of, new_secret
from deploycore.store.users import add_user, has_administrator

__all__ = ["IDLE", "LIFETIME", "Sessions", "SignInLinks", "SignedIn"]

LIFETIME = timedelta(days=7)
IDLE = timedelta(hours=12)
"""A session ends after this time without a request by a person."""

_LINK_LIFETIMES: Mapping[LinkPurpose, timedelta] = {
    "first-admin": timedelta(hours=1),
    "reset": timedelta(hours=24),
}
_SEEN_EVERY = timedelta(minutes=1)
_SESSIONS_MOST = 50

_SESSION = as_record(SessionRecord, sessions)
_LINK = as_record(LinkRecord, sign_in_links)
_USER = as_record(UserRecord, users)


@dataclass(frozen=True)
class SignedIn:
    """A session, and its user as the user is now."""

    session: SessionRecord
    user: UserRecord


class Sessions:
    """All sessions, as the attribute ``sessions`` of ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user: str, *, digest: str, browser: str = "", address: str = "") -> None:
        """Store a new session, and record that the user has signed in.

        Sessions that have ended are deleted. Of one user, only the newest 50 are kept.
        """
        with self._database.writing() as connection:
            at = present(connection)
            _begin(connection, user, digest=digest, browser=browser, address=address, at=at)

    def find(self, digest: str, *, is_use: bool = True) -> SignedIn | None:
        """Return the session of a cookie and its user; ``None`` if it has ended or is unknown, if
        the user cannot sign in, or if a record of them is damaged.

        Args:
            is_use: Whether a person uses the session now. The time is recorded, at most once a
                minute, and the session ends only 12 hours later.
        """
        with self._database.reading() as connection:
            at = present(connection)
            found = _readable(connection, digest)
        if found is None or found.user.disabled or not _holds(found.session, at):
            return None
        if is_use and at - found.session.seen_at >= _SEEN_EVERY:
            seen = update(sessions).where(sessions.c.digest == digest).values(seen_at=at)
            # Pages must be readable even if the database cannot be written.
            with suppress(StoreError), self._database.writing(patience=1.0) as connection:
                connection.execute(seen)
        return found

    def list(self, user: str) -> list[SessionRecord]:
        """List the sessions of a user that have not ended, newest first."""
        query = select(sessions).where(sessions.c.user == user).order_by(sessions.c.id.desc())
        with self._database.reading() as connection:
            at = present(connection)
            found = read_records(connection, sessions, query, _SESSION)
            return [each for each in found if _holds(each, at)]

    def end(self, user: str, session: int | None = None, *, keep: int | None = None) -> int:
        """End one session of a user, or all, and return their number.

        Args:
            session: Its number (default: all sessions).
            keep: The number of a session that stays.
        """
        query = delete(sessions).where(sessions.c.user == user)
        if session is not None:
            query = query.where(sessions.c.id == session)
        if keep is not None:
            query = query.where(sessions.c.id != keep)
        with self._database.writing() as connection:
            return int(connection.execute(query).rowcount)


class SignInLinks:
    """Links and states that can be used once, as the attribute ``sign_in_links`` of ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, *, digest: str, purpose: LinkPurpose, lifetime: timedelta, user: str | None = None
    ) -> LinkRecord:
        """Store a new link. Earlier links of the same user become invalid.

        Args:
            user: The user whose password it sets.

        Raises:
            ConfigurationError: There is no such user, or the user is disabled.
        """
        with self._database.writing() as connection:
            at = present(connection)
            ended = sign_in_links.c.expires_at <= at
            if user is not None:
                _refuse_disabled(connection, user)
                ended |= sign_in_links.c.user == user
            connection.execute(delete(sign_in_links).where(ended))
            record = LinkRecord(digest, purpose, user, at, at + lifetime, None)
            connection.execute(insert(sign_in_links).values(vars(record)))
            return record

    def create(self, user: str | None = None) -> tuple[SecretStr, LinkRecord]:
        """Store a new link and return its secret.

        Args:
            user: The user whose password it sets; ``None`` for the first administrator's link.

        Raises:
            ConfigurationError: The user cannot sign in.
        """
        secret = new_secret()
        purpose: LinkPurpose = "first-admin" if user is None else "reset"
        record = self.add(
            digest=digest_of(secret),
            purpose=purpose,
            lifetime=_LINK_LIFETIMES[purpose],
            user=user,
        )
        return secret, record

    def find(self, digest: str) -> LinkRecord | None:
        """Return a link that can be used; ``None`` if it was used, has expired or is unknown."""
        with self._database.reading() as connection:
            return _usable(connection, digest)

    def use_first(self, digest: str, name: str, password: str) -> bool:
        """Create the first administrator with a link.

        Args:
            password: The hash of the password.

        Returns:
            Whether the link could be used: it is valid, and there is no administrator yet.

        Raises:
            ConfigurationError: The name is malformed or taken.
        """
        with self._database.writing() as connection:
            link = _usable(connection, digest)
            if link is None or link.purpose != "first-admin":
                return False
            if not _take(connection, digest) or has_administrator(connection):
                return False
            add_user(connection, name, role="admin", password=password)
            first = sign_in_links.c.purpose == "first-admin"
            connection.execute(delete(sign_in_links).where(first))
            return True

    def use_reset(self, digest: str, password: str) -> str | None:
        """Set the password of a link's user, whose sessions end.

        Args:
            password: The hash of the password.

        Returns:
            The user's name; ``None`` if the link cannot be used.
        """
        with self._database.writing() as connection:
            link = _usable(connection, digest)
            if link is None or link.user is None or not _take(connection, digest):
                return None
            query = select(users).where(users.c.name == link.user, users.c.disabled.is_(false()))
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                return None
            values = {"password": password, "issuer": row["issuer"], "subject": row["subject"]}
            values |= checksums(users, values)
            changed = update(users).where(users.c.name == link.user)
            connection.execute(changed.values(changed_at=present(connection), **values))
            connection.execute(delete(sessions).where(sessions.c.user == link.user))
            return link.user

    def use_state(self, digest: str, *, lifetime: timedelta) -> bool:
        """Record that the state of a sign-in at an issuer is used.

        Returns:
            Whether it was not used before.
        """
        with self._database.writing() as connection:
            at = present(connection)
            connection.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= at))
            known = select(sign_in_links.c.digest).where(sign_in_links.c.digest == digest)
            if connection.scalar(known) is not None:
                return False
            record = LinkRecord(digest, "state", None, at, at + lifetime, at)
            connection.execute(insert(sign_in_links).values(vars(record)))
            return True


def _begin(
    connection: Connection, user: str, *, digest: str, browser: str, address: str, at: datetime
) -> None:
    connection.execute(delete(sessions).where(sessions.c.expires_at <= at))
    newest = select(sessions.c.id).where(sessions.c.user == user).order_by(sessions.c.id.desc())
    kept = connection.scalars(newest.offset(_SESSIONS_MOST - 1).limit(1)).one_or_none()
    if kept is not None:
        old = delete(sessions).where(sessions.c.user == user, sessions.c.id <= kept)
        connection.execute(old)
    values = {
        "digest": digest,
        "user": user,
        "created_at": at,
        "seen_at": at,
        "expires_at": at + LIFETIME,
        "browser": browser,
        "address": address,
    }
    connection.execute(insert(sessions).values(values))
    connection.execute(update(users).where(users.c.name == user).values(signed_in_at=at))


def _readable(connection: Connection, digest: str) -> SignedIn | None:
    query = select(sessions).where(sessions.c.digest == digest)
    session = next(read_records(connection, sessions, query, _SESSION), None)
    if session is None:
        return None
    query = select(users).where(users.c.name == session.user)
    user = next(read_records(connection, users, query, _USER), None)
    return None if user is None else SignedIn(session, user)


def _holds(session: SessionRecord, at: datetime) -> bool:
    return at < session.expires_at and at - session.seen_at < IDLE


def _refuse_disabled(connection: Connection, user: str) -> None:
    if named_row(connection, "user", user)["disabled"]:
        raise ConfigurationError(
            f"The user {user} is disabled.",
            hint="Enable the user first, on the page of the user in the dashboard.",
            user=user,
        )


def _usable(connection: Connection, digest: str) -> LinkRecord | None:
    query = select(sign_in_links).where(sign_in_links.c.digest == digest)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    try:
        link = read_record(sign_in_links, row, _LINK)
    except StoreError:
        return None
    is_open = link.used_at is None and present(connection) < link.expires_at
    return link if is_open and link.purpose != "state" else None


def _take(connection: Connection, digest: str) -> bool:
    """Mark a link as used. If two requests do this at once, only one succeeds."""
    unused = (sign_in_links.c.digest == digest) & sign_in_links.c.used_at.is_(None)
    taken = update(sign_in_links).where(unused).values(used_at=present(connection))
    return bool(connection.execute(taken).rowcount)
