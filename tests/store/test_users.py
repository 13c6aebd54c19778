"""Users, sessions, one-time links and the audit log in the store."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, create_engine, text

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store import Store, audit
from deploycore.store.audit import Entry
from deploycore.store.columns import UtcDateTime
from deploycore.store.sessions import IDLE, LIFETIME

HASH = "$argon2id$of-hunter2"
HOUR = timedelta(hours=1)


@pytest.fixture
def ada(store):
    """The store, with the administrator ``ada``."""
    store.users.add("ada", role="admin", password=HASH)
    return store


@pytest.fixture
def sql(any_settings):
    """Runs a statement behind the store's back."""
    engine = create_engine(any_settings.database_url)

    def run(statement, **values):
        with engine.begin() as connection:
            # A driver would store a moment in a form of its own.
            moments = [
                bindparam(name, type_=UtcDateTime())
                for name, value in values.items()
                if isinstance(value, datetime)
            ]
            return connection.execute(text(statement).bindparams(*moments), values).rowcount

    yield run
    engine.dispose()


def test_users_are_added_changed_and_removed(ada):
    ada.users.add("bob", role="read", issuer="https://id.example", subject="17")
    assert [each.name for each in ada.users.list()] == ["ada", "bob"]
    assert [each.name for each in ada.users.list(after="ada")] == ["bob"]
    assert [each.name for each in ada.users.list(limit=1)] == ["ada"]
    assert ada.users.find_identity("https://id.example", "17").name == "bob"
    assert ada.users.find_identity("https://id.example", "18") is None
    assert ada.users.find("nobody") is None
    changed = ada.users.change("bob", role="deploy")
    assert (changed.role, changed.changed_at > changed.created_at) == ("deploy", True)
    ada.users.remove("bob")
    assert [each.name for each in ada.users.list()] == ["ada"]
    assert "argon2" not in repr(ada.users.get("ada"))


@pytest.mark.parametrize(
    ("name", "why"), [("ada", "taken"), ("a b", "not a valid name"), ("a/b", "not a valid name")]
)
def test_an_invalid_or_existing_name_is_rejected(ada, name, why):
    with pytest.raises(ConfigurationError, match=why):
        ada.users.add(name, role="read")


def test_an_identity_belongs_to_one_user(ada):
    ada.users.add("bob", role="read", issuer="https://id.example", subject="17")
    with pytest.raises(StoreError):
        ada.users.add("eve", role="read", issuer="https://id.example", subject="17")
    assert ada.users.find("eve") is None


def test_the_last_administrator_cannot_be_removed(ada):
    for change in (
        lambda: ada.users.change("ada", role="deploy"),
        lambda: ada.users.change("ada", disabled=True),
        lambda: ada.users.remove("ada"),
    ):
        with pytest.raises(ConfigurationError, match="last administrator"):
            change()
    ada.users.add("eve", role="admin")
    ada.users.change("eve", disabled=True)
    with pytest.raises(ConfigurationError, match="last administrator"):
        ada.users.remove("ada")
    ada.users.change("eve", disabled=False)
    ada.users.remove("ada")
    assert ada.users.has_administrator()


def test_when_two_administrators_remove_each_other_one_remains(ada):
    ada.users.add("eve", role="admin")
    barrier, errors = threading.Barrier(2), []

    def remove(name):
        barrier.wait()
        try:
            ada.users.remove(name)
        except ConfigurationError as error:
            errors.append(error)

    threads = [threading.Thread(target=remove, args=[name]) for name in ("ada", "eve")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(errors) == 1
    assert len(ada.users.list()) == 1


def test_a_session_is_found_by_its_digest_from_every_process(ada, any_settings):
    ada.sessions.add("ada", digest="d" * 64, browser="Firefox on Linux", address="192.0.2.x")
    with Store(any_settings) as other:
        found = other.sessions.find("d" * 64)
    assert (found.user.name, found.session.browser) == ("ada", "Firefox on Linux")
    assert found.user.signed_in_at == found.session.created_at
    assert ada.sessions.find("e" * 64) is None
    assert "d" * 64 not in repr(found)


@pytest.mark.parametrize(
    ("column", "age"), [("seen_at", IDLE), ("expires_at", timedelta()), ("seen_at", None)]
)
def test_a_session_expires_by_age_or_inactivity(ada, sql, column, age):
    ada.sessions.add("ada", digest="d" * 64)
    if age is None:
        ada.users.add("eve", role="admin")
        ada.users.change("ada", disabled=True)
    else:
        sql(f"UPDATE sessions SET {column} = :at", at=datetime.now(UTC) - age)
    assert ada.sessions.find("d" * 64) is None
    assert ada.sessions.list("ada") == []


def test_the_last_request_is_recorded_at_most_once_a_minute(ada, sql):
    ada.sessions.add("ada", digest="d" * 64)
    written = ada.sessions.find("d" * 64).session.seen_at
    ada.sessions.find("d" * 64)
    assert ada.sessions.list("ada")[0].seen_at == written
    sql("UPDATE sessions SET seen_at = :at", at=datetime.now(UTC) - timedelta(minutes=2))
    ada.sessions.find("d" * 64)
    assert ada.sessions.list("ada")[0].seen_at >= written


def test_a_new_role_and_a_new_password_affect_open_sessions(ada):
    ada.users.add("eve", role="admin")
    for digest in ("d", "e", "f"):
        ada.sessions.add("ada", digest=digest * 64)
    ada.users.change("ada", role="read")
    found = ada.sessions.find("d" * 64)
    assert found.user.role == "read"
    ada.users.set_password("ada", "$other", keep=found.session.id)
    assert [each.id for each in ada.sessions.list("ada")] == [found.session.id]
    assert ada.users.get("ada").password == "$other"
    ada.users.replace_hash("ada", HASH, "$of an older password")
    assert ada.users.get("ada").password == "$other"
    ada.users.replace_hash("ada", "$other", "$with other parameters")
    assert ada.users.get("ada").password == "$with other parameters"
    ada.users.remove("ada")
    assert ada.sessions.find("d" * 64) is None


def test_sessions_are_ended_one_by_one_or_all(ada):
    ada.users.add("eve", role="read")
    for number in range(4):
        ada.sessions.add("ada", digest=str(number) * 64)
    ada.sessions.add("eve", digest="e" * 64)
    newest, *others = [each.id for each in ada.sessions.list("ada")]
    assert ada.sessions.end("eve", newest) == 0
    assert ada.sessions.end("ada", others[0]) == 1
    assert ada.sessions.end("ada", keep=newest) == 2
    assert ada.sessions.end("ada") == 1
    assert len(ada.sessions.list("eve")) == 1


def test_the_number_of_sessions_per_user_is_limited(ada, monkeypatch, sql):
    monkeypatch.setattr("deploycore.store.sessions._SESSIONS_MOST", 3)
    for number in range(5):
        ada.sessions.add("ada", digest=str(number) * 64)
    assert len(ada.sessions.list("ada")) == 3
    assert ada.sessions.find("4" * 64) is not None
    assert ada.sessions.find("0" * 64) is None
    sql("UPDATE sessions SET expires_at = :at", at=datetime.now(UTC) - LIFETIME)
    ada.sessions.add("ada", digest="n" * 64)
    assert sql("DELETE FROM sessions") == 1


def test_a_link_creates_the_first_administrator_once(store):
    links = store.sign_in_links
    for digest in ("a", "b"):
        links.add(digest=digest * 64, purpose="first-admin", lifetime=HOUR)
    assert not store.users.has_administrator()
    assert not links.use_first("c" * 64, "ada", HASH)
    assert links.use_first("a" * 64, "ada", HASH)
    assert store.users.get("ada").role == "admin"
    assert not links.use_first("a" * 64, "eve", HASH)
    assert not links.use_first("b" * 64, "eve", HASH)
    links.add(digest="d" * 64, purpose="first-admin", lifetime=HOUR)
    assert not links.use_first("d" * 64, "eve", HASH)
    assert store.users.find("eve") is None


def test_a_link_sets_a_password_once_and_ends_sessions(ada):
    links = ada.sign_in_links
    links.add(digest="a" * 64, purpose="reset", lifetime=HOUR, user="ada")
    links.add(digest="b" * 64, purpose="reset", lifetime=HOUR, user="ada")
    ada.sessions.add("ada", digest="d" * 64)
    assert links.find("a" * 64) is None
    assert not links.use_first("b" * 64, "eve", HASH)
    assert links.use_reset("b" * 64, "$new") == "ada"
    assert links.use_reset("b" * 64, "$newer") is None
    assert ada.users.get("ada").password == "$new"
    assert ada.sessions.find("d" * 64) is None


def test_a_link_expires_and_is_deleted_with_its_user(ada):
    links = ada.sign_in_links
    links.add(digest="a" * 64, purpose="reset", lifetime=timedelta(), user="ada")
    assert links.find("a" * 64) is None
    assert links.use_reset("a" * 64, HASH) is None
    ada.users.add("eve", role="read")
    links.add(digest="b" * 64, purpose="reset", lifetime=HOUR, user="eve")
    ada.users.change("eve", disabled=True)
    assert links.use_reset("b" * 64, HASH) is None
    with pytest.raises(ConfigurationError, match="The user eve is disabled"):
        links.create("eve")
    with pytest.raises(ConfigurationError, match="no user 'bob'"):
        links.create("bob")
    ada.users.change("eve", disabled=False)
    links.add(digest="c" * 64, purpose="reset", lifetime=HOUR, user="eve")
    ada.users.remove("eve")
    assert links.find("c" * 64) is None


def test_a_state_can_be_used_once_and_is_not_a_sign_in_link(store):
    assert store.sign_in_links.use_state("s" * 64, lifetime=HOUR)
    assert not store.sign_in_links.use_state("s" * 64, lifetime=HOUR)
    assert store.sign_in_links.find("s" * 64) is None


def test_the_audit_log_is_filtered_and_paged(store):
    for number in range(6):
        store.audit.add(
            Entry(
                "user ada" if number % 2 else "token ci",
                "deploy" if number < 3 else "delete_application",
                "application",
                f"app-{number % 3}",
            )
        )
    found = store.audit.list()
    assert [each.subject for each in found] == ["app-2", "app-1", "app-0"] * 2
    assert [each.id for each in found] == sorted((each.id for each in found), reverse=True)
    assert len(store.audit.list(actor="token ci")) == 3
    assert len(store.audit.list(operation="deploy", subject="app-1")) == 1
    assert [each.id for each in store.audit.list(before=found[2].id, limit=2)] == [
        found[3].id,
        found[4].id,
    ]
    middle = found[2].at
    assert store.audit.list(since=middle) == found[:3]
    assert store.audit.list(until=middle) == found[3:]
    assert store.audit.list(since=datetime.now(UTC) + HOUR) == []


def test_recorded_values_are_truncated_and_escaped(store):
    store.audit.add(Entry("user ada", "deploy", "application", "\x1b[31m\0" + "x" * 500))
    [found] = store.audit.list()
    assert found.subject.startswith("\\x1b[31m\\x00xxx")
    assert len(found.subject) == 200


def test_old_entries_are_deleted(store, monkeypatch, sql):
    monkeypatch.setattr(audit, "KEPT_ROWS", 3)
    for number in range(5):
        store.audit.add(Entry("user ada", "deploy", subject=str(number)))
    store.audit.prune()
    assert [each.subject for each in store.audit.list()] == ["4", "3", "2"]
    sql(
        "UPDATE audit SET at = :at WHERE subject = '2'",
        at=datetime.now(UTC) - timedelta(days=audit.KEPT_DAYS + 1),
    )
    store.audit.prune()
    assert [each.subject for each in store.audit.list()] == ["4", "3"]


def test_a_session_can_be_read_from_a_read_only_database(ada, sql, monkeypatch):
    ada.sessions.add("ada", digest="d" * 64)
    sql("UPDATE sessions SET seen_at = :at", at=datetime.now(UTC) - timedelta(minutes=2))

    def refuse(**options):
        raise StoreError("The database is read-only.")

    monkeypatch.setattr(ada._database, "writing", refuse)
    assert ada.sessions.find("d" * 64).user.name == "ada"


def test_a_damaged_user_cannot_sign_in(ada, sql):
    ada.sessions.add("ada", digest="d" * 64)
    assert ada.sessions.find("d" * 64) is not None
    sql("UPDATE users SET role = 'root'")
    assert ada.sessions.find("d" * 64) is None
    assert not ada.users.has_administrator()
