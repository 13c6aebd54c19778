"""One damaged value in one row: the row is named and left out, and everything else works."""

from __future__ import annotations

import functools
import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, create_engine

from deploycore.applications.application import AutoDeploy
from deploycore.errors import DeploycoreError, StoreError
from deploycore.provider import probing
from deploycore.settings import Settings
from deploycore.store import DeliveryRecord, Store
from deploycore.store.audit import Entry
from deploycore.store.columns import (
    Choice,
    Document,
    Flag,
    Number,
    PathText,
    Real,
    Texts,
    UtcDateTime,
    _Text,
)
from deploycore.store.inspection import inspect_database
from deploycore.store.tables import metadata

SECRET = "hunter2-of-the-damaged-row"
NOT_TEXT = [f"{SECRET}".encode() + b"\xff", b"\xed\xa0\xbd" + SECRET.encode(), b"a\0b"]
DAMAGED: list[tuple[type, list[object]]] = [
    (Choice, [*NOT_TEXT, SECRET]),
    (PathText, [*NOT_TEXT, f"relative/{SECRET}"]),
    (_Text, [*NOT_TEXT, memoryview(SECRET.encode())]),
    (UtcDateTime, [NOT_TEXT[0], SECRET, "2026-99-99 00:00:00.000000", 5, memoryview(b"x")]),
    (Flag, [NOT_TEXT[0], SECRET, 7]),
    (Number, [NOT_TEXT[0], SECRET, 1.5, memoryview(b"x")]),
    (Real, [NOT_TEXT[0], SECRET, float("inf")]),
    (Texts, [NOT_TEXT[0], "[" + SECRET, "{}", "null", '["\\ud83d"]', "[1]", 5]),
    (
        Document,
        [
            NOT_TEXT[0],
            "{" + SECRET,
            "[]",
            "null",
            '{"a": "\\ud83d"}',
            '{"a": "\\u0000"}',
            '{"a": 1e999}',
            '{"a": ' + "9" * 5000 + "}",
            '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
            5,
        ],
    ),
]
COLUMNS = [column for table in metadata.sorted_tables for column in table.columns]


def fill(store: Store, provider, application) -> None:
    """Two of everything; what is damaged is always of ``shop``, and of the first of others."""
    store.add_provider(provider("aaa"))
    store.add_provider(provider("acme"))
    for name in ("blog", "shop"):
        given = application(
            name, provider="aaa" if name == "shop" else "acme", auto_deploy=AutoDeploy()
        )
        store.add_application(given)
        former = store.deployments.request(name, ref="main")
        store.deployments.advance(former.id, "cancelled")
        store.remove_application(name, keep_history=True)
        store.add_application(given)
        store.keep_application_secret(name, "TOKEN", "env:TOKEN")
        for release in ("r1", "r2"):
            asked = store.deployments.request(name, ref="main")
            store.deployments.advance(asked.id, "authenticating")
            store.deployments.advance(asked.id, "resolving")
            store.deployments.advance(asked.id, "fetching", release=f"{name}-{release}")
        store.triggers.add(name, cause="push", ref="main", digest=name * 16)
        store.webhooks.add(name, "env:WEBHOOK")
        store.deploy_keys.add(
            application=name,
            provider=given.provider,
            repository=given.repository,
            public_key="ssh-ed25519 AAAA",
            secret="env:KEY",
        )
        store.deliveries.add([_delivery(name)])
        store.polls.take([name], lease=-1)
        store.claims.register(f"worker-of-{name}", host="here", process=1)
        store.claims.take(name, f"worker-of-{name}", lease=-1)
        store.previews.close(given, 3, merged=False)
        store.begin_preview(
            application(f"{name}-pr-7"),
            parent=given,
            number=7,
            within=Path("/srv"),
            limit=5,
            opens=True,
        )
        store.tokens.add(name, digest=name * 16, role="read", expires_at=None)
        store.repositories.learn(given, "17")
        store.users.add(
            name, role="admin", password="$argon2id$x", issuer="https://id", subject=name
        )
        store.sessions.add(name, digest=name * 16, browser="Firefox", address="192.0.2.x")
        store.sign_in_links.add(
            digest=name * 16, purpose="reset", lifetime=timedelta(hours=1), user=name
        )
        store.audit.add(Entry(f"user {name}", "deploy", "application", name))
        at = datetime(2026, 11, 24, tzinfo=UTC)
        store.sign_in_failures.add(name, at=at, forgotten_before=at, wait=lambda *_: 0)
    store.provider_tokens.put("aaa", "", "fernet:aaa", 60)
    store.provider_tokens.put("acme", "", "fernet:acme", 60)
    store.reception.note()


def _delivery(name: str) -> DeliveryRecord:
    """A delivery about a commit, with a trigger."""
    texts = dict.fromkeys(("reason", "message", "event", "ref", "actor", "sender", "delivery"), "x")
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return DeliveryRecord(
        name, "accepted", **texts, commit="c", trigger=1, received_at=at, first_at=at
    )


def reads(store: Store) -> dict[str, Callable[[], Any]]:
    """Everything that reads more than one row, or what belongs to ``blog``."""
    deployments, triggers = store.deployments, store.triggers
    return {
        "providers": store.list_providers,
        "applications": store.list_applications,
        "deployments": deployments.list,
        "history": deployments.history,
        "blog's history": lambda: deployments.history("blog"),
        "unfinished": deployments.unfinished,
        "triggers": triggers.list,
        "claims": store.claims.list,
        "workers": store.claims.workers,
        "webhooks": store.webhooks.list,
        "deploy keys": store.deploy_keys.list,
        "blog's deploy keys": lambda: store.deploy_keys.of("blog", "acme"),
        "previews": store.previews.list,
        "tokens": store.tokens.list,
        "users": store.users.list,
        "blog's user": lambda: [store.users.get("blog")],
        "blog's identity": lambda: [store.users.find_identity("https://id", "blog")],
        "blog's sessions": lambda: store.sessions.list("blog"),
        "blog's session": lambda: [store.sessions.find("blog" * 16).session],
        "blog's link": lambda: [store.sign_in_links.find("blog" * 16).user],
        "audit": store.audit.list,
        "blog's audit": lambda: store.audit.list(subject="blog"),
        "polls": lambda: store.polls.due(host="here"),
        "requested": store.polls.requested,
        "repositories": store.repositories.list,
        "ended previews": store.previews.ended,
        "targets": store.list_targets,
        "found": lambda: store.find_applications(["blog", "shop"]),
        "blog": lambda: [store.get_application("blog")],
        "blog's deliveries": lambda: store.deliveries.list("blog"),
        "acme": lambda: [store.get_provider("acme")],
        "acme's token": lambda: [store.provider_tokens.load("acme", "").token],
        "blog's deployments": lambda: deployments.list("blog"),
        "blog's unfinished": lambda: deployments.unfinished("blog"),
        "blog's releases": lambda: list(deployments.of_releases("blog", ["blog-r2"]).values()),
        "blog's triggers": lambda: triggers.list("blog"),
        "blog's open": lambda: triggers.open("blog"),
        "blog's newest": lambda: [triggers.newest("blog", "main")],
        "blog's webhook": lambda: [store.webhooks.find("blog")],
        "blog's delivery": lambda: store.find_webhook("blog")[:3],
    }


def others(store: Store) -> dict[str, Callable[[], Any]]:
    """What gives no records, and must not fail."""

    def pending() -> None:
        assert "blog" in store.triggers.pending(host="here")

    return {
        "pending": pending,
        "seconds to next": store.triggers.seconds_to_next,
        "counts": store.triggers.counts,
        "states": store.deployments.count_by_state,
        "cancelled": lambda: store.deployments.is_cancelled(1),
        "sealed": store.holds_sealed_secrets,
        "interrupted": store.reception.is_interrupted,
    }


@dataclass(frozen=True)
class Known:
    """What is read from a database without damage.

    Attributes:
        keys: Of the records, by the name of what reads them.
        tables: From the name of everything that reads, to the tables that it reads.
    """

    keys: dict[str, set[str]]
    tables: dict[str, set[str]]

    def asked(self, table: str) -> dict[str, set[str]]:
        """The keys, of what reads a table. Damage in it cannot change what others return."""
        return {name: found for name, found in self.keys.items() if table in self.tables[name]}


def known_of(store: Store, tables_of) -> Known:
    both = reads(store) | others(store)
    tables = {name: tables_of(read) for name, read in both.items()}
    assert all(tables.values())
    return Known({name: keys(read()) for name, read in reads(store).items()}, tables)


def keys(records: Any) -> set[str]:
    return {
        str(getattr(each, "id", None) or getattr(each, "name", None) or each.application)
        if not isinstance(each, str)
        else each
        for each in records
    }


def values_for(column: Column[Any]) -> Iterator[object]:
    """What the column is damaged with: all there is for the first column of its type, else one
    value after the other, from column to column."""
    kind, values = next(each for each in DAMAGED if isinstance(column.type, each[0]))
    if column is next(each for each in COLUMNS if isinstance(each.type, kind)):
        yield from values
    else:
        yield values[COLUMNS.index(column) % len(values)]
    if not column.nullable and COLUMNS.index(column) % 3 == 0:
        yield None


@pytest.fixture(scope="module")
def template(tmp_path_factory, empty_home, provider, application) -> Path:
    """A home whose database is filled, and refuses nothing that its tables would refuse."""
    home = shutil.copytree(empty_home, tmp_path_factory.mktemp("damage") / "home")
    with Store(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as store:
        fill(store, provider, application)
    with closing(sqlite3.connect(home / "deploycore.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'"
        )
        connection.commit()
    return home


@pytest.fixture(scope="module")
def known(template, tmp_path_factory, tables_of) -> Known:
    home = shutil.copytree(template, tmp_path_factory.mktemp("known") / "home")
    with Store(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as store:
        return known_of(store, tables_of)


@pytest.fixture
def filled(template, tmp_path) -> Settings:
    home = shutil.copytree(template, tmp_path / "home")
    return Settings.from_environment({"DEPLOYCORE_HOME": str(home)})


@pytest.fixture(scope="module")
def template_on_server(
    postgresql_server, postgresql_template, tmp_path_factory, provider, application, tables_of
) -> Iterator[tuple[str, Known]]:
    """The address of a database that is filled, and what is read from it; it is copied while nobody
    is connected."""
    home = tmp_path_factory.mktemp("damage")
    with postgresql_server.database(postgresql_template) as address:
        environ = {"DEPLOYCORE_HOME": str(home), "DEPLOYCORE_DATABASE_URL": address}
        with Store(Settings.from_environment(environ)) as store:
            fill(store, provider, application)
            known = known_of(store, tables_of)
        yield address, known


@pytest.fixture
def filled_on_server(postgresql_server, template_on_server, tmp_path) -> Iterator[Settings]:
    with postgresql_server.database(template_on_server[0]) as address:
        yield Settings.from_environment(
            {"DEPLOYCORE_HOME": str(tmp_path), "DEPLOYCORE_DATABASE_URL": address}
        )


def row_of_shop(connection: sqlite3.Connection, table: str) -> int:
    names = metadata.tables[table].c
    known = ("application", "parent", "name", "user", "subject", "id", "provider", "sender")
    column = next(each for each in known if each in names)
    wanted = {
        "workers": "worker-of-shop",
        "provider_tokens": "aaa",
        "providers": "aaa",
        "reception": 1,
    }.get(table, "shop")
    query = f"SELECT max(rowid) FROM {table} WHERE {column} = ?"
    return int(connection.execute(query, [wanted]).fetchone()[0])


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_a_damaged_value_is_named_and_everything_else_is_readable(filled, table, caplog, known):
    caplog.set_level(logging.DEBUG)
    with (
        Store(filled) as store,
        closing(sqlite3.connect(filled.home / "deploycore.db")) as raw,
    ):
        raw.execute("PRAGMA synchronous = OFF")
        raw.text_factory = bytes
        row = row_of_shop(raw, table.name)
        for column in table.columns:
            if column.name == "id" and isinstance(column.type, Number):
                continue  # SQLite's own row number, which is always an integer
            for value in values_for(column):
                place = (table.name, column.name, row)
                check(store, filled, raw, place, value, known)
        # Each value was put back, as a backup does it.
        assert {name: keys(read()) for name, read in reads(store).items()} == known.keys
        assert inspect_database(filled).damaged == ()
    assert SECRET not in caplog.text


def check(store, settings, raw, place, value, known) -> None:
    table, column, row = place
    query = f'SELECT "{column}" FROM {table} WHERE rowid = ?'
    (was,) = raw.execute(query, [row]).fetchone()
    put(raw, place, value)
    try:
        try:
            for name, before in known.asked(table).items():
                missing = before - keys(reads(store)[name]())
                assert len(missing) <= 1, (place, value, name, missing)
            for name, call in others(store).items():
                if table in known.tables[name]:
                    call()
            damaged = inspect_database(settings).damaged
        except Exception as error:
            raise AssertionError(f"{place} with {value!r:.60}: {type(error)} {error}") from error
        said = [(each.details["table"], each.details.get("column")) for each in damaged]
        assert (table, column) in said, (place, value, said)
        assert SECRET not in str([each.as_dict() for each in damaged])
    finally:
        put(raw, place, was)


def put(raw, place, value) -> None:
    table, column, row = place
    given = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    raw.execute(f'UPDATE {table} SET "{column}" = {given} WHERE rowid = ?', [value, row])
    raw.commit()


FLIPPED = [
    ("applications", "definition", "feature", "featurf"),
    ("applications", "definition", "team", "tean"),
    ("applications", "provider", "aaa", "aab"),
    ("applications", "target", "/srv", "/srw"),
    ("applications", "secrets", "env:TOKEN", "env:TOKEM"),
    ("providers", "settings", "me", "mg"),
    ("providers", "kind", "acme", "acmd"),
    ("providers", "secrets", "env:TOKEN", "env:UOKEN"),
    ("users", "password", "argon2id$x", "argon2id$y"),
    ("users", "subject", "shop", "shoq"),
    ("webhooks", "secret", "env:WEBHOOK", "env:WEBHOOJ"),
]


@pytest.mark.parametrize(("table", "column", "was", "now"), FLIPPED)
def test_a_flipped_bit_in_a_definition_or_secret_is_detected(filled, table, column, was, now):
    with Store(filled) as store, closing(sqlite3.connect(filled.home / "deploycore.db")) as raw:
        row = row_of_shop(raw, table)
        raw.execute(
            f'UPDATE {table} SET "{column}" = replace("{column}", ?, ?) WHERE rowid = ?',
            [was, now, row],
        )
        assert raw.total_changes == 1
        raw.commit()
        name = {"providers": "aaa"}.get(table, "shop")
        with pytest.raises(StoreError, match="damaged") as caught:
            {
                "applications": store.get_application,
                "providers": store.get_provider,
                "users": store.users.get,
                "webhooks": store.webhooks.get,
            }[table](name)
    assert (caught.value.details["table"], caught.value.details["key"]) == (table, repr(name))
    assert now not in caught.value.message + caught.value.hint


def test_a_damaged_application_is_fixed_by_reapplying_or_removing_it(filled, application):
    with Store(filled) as store, closing(sqlite3.connect(filled.home / "deploycore.db")) as raw:
        raw.execute("UPDATE applications SET definition = '{', target = 'x' WHERE name = 'shop'")
        raw.commit()
        with pytest.raises(StoreError, match="damaged"):
            store.get_application("shop")
        for each in store.deployments.unfinished("shop"):
            store.deployments.advance(each.id, "failed")
        store.put_applications([application("shop", provider="aaa")])
        assert store.get_application("shop").definition == application("shop", provider="aaa")
        raw.execute("UPDATE applications SET definition = '{', target = 'x' WHERE name = 'shop'")
        raw.commit()
        assert store.remove_application("shop") == Path("/nowhere")
        assert "shop" not in keys(store.list_applications())


def test_a_damaged_provider_is_replaced_by_adding_it_again(filled, provider):
    with Store(filled) as store, closing(sqlite3.connect(filled.home / "deploycore.db")) as raw:
        raw.execute("UPDATE providers SET secrets = '{' WHERE name = 'aaa'")
        raw.commit()
        store.add_provider(provider("aaa"))
        assert store.get_provider("aaa") == provider("aaa")


def test_a_damaged_trigger_is_replaced_by_a_recovery_trigger(filled):
    with Store(filled) as store, closing(sqlite3.connect(filled.home / "deploycore.db")) as raw:
        (was,) = store.triggers.open("shop")
        raw.execute("UPDATE triggers SET actor = CAST(x'ff' AS TEXT) WHERE id = ?", [was.id])
        raw.commit()
        assert "shop" in store.triggers.pending(host="here")
        (now,) = store.triggers.open("shop")
        assert (now.cause, now.id > was.id) == ("recovery", True)
        store.triggers.settle([now.id], deployment=1)
        assert "shop" not in store.triggers.pending(host="here")


@functools.cache
def command_line():
    """Made once: it takes longer than most commands."""
    from typer.main import get_command

    from deploycore.cli import COMMANDS
    from deploycore.cli.dispatch import application_of

    return get_command(application_of(COMMANDS))


@functools.cache
def probe_imports_once(probe: Callable[[], None] = probing.probe_imports) -> None:
    """Import all plugins in a process apart for the first ``doctor``: they are the same for all."""
    probe()


def output_of(command: str) -> str:
    """What a command prints, which may end with an exit code or an error of ours."""
    from typer.testing import CliRunner

    with CliRunner().isolation() as (*_, output):
        with suppress(SystemExit, DeploycoreError):
            command_line().main(command.split(), prog_name="deploycore")
        sys.stdout.flush()
        sys.stderr.flush()
        return output.getvalue().decode()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (table.name, column)
        for table in metadata.sorted_tables
        for column in ("definition", "secrets", "target", "created_at", "started_at", "name")
        if column in table.c
    ],
)
def test_commands_show_everything_that_is_not_damaged(filled, table, column, monkeypatch, caplog):
    with closing(sqlite3.connect(filled.home / "deploycore.db")) as raw:
        put(raw, (table, column, row_of_shop(raw, table)), NOT_TEXT[0])
    monkeypatch.setenv("DEPLOYCORE_HOME", str(filled.home))
    monkeypatch.setattr(probing, "probe_imports", probe_imports_once)
    shown = ""
    for command in (
        "app list",
        "app show blog",
        "export",
        "provider list",
        "token list",
        "webhook show blog",
        "deployments",
        "recover",
        "doctor --offline",
    ):
        printed = output_of(command)
        shown += printed
        if command == "app list":
            assert "blog" in printed
    assert f"'{table}' is damaged: its column '{column}'" in " ".join(shown.split())
    assert SECRET not in shown + caplog.text


def test_an_unstorable_value_is_rejected_before_it_is_stored(store, provider, application):
    store.add_provider(provider())
    store.add_application(application())
    for bad in ("a\0b", "\ud83d", "\udcff"):
        for write in (
            lambda bad=bad: store.add_provider(provider("other", settings={"user": bad})),
            lambda bad=bad: store.triggers.add("shop", cause="push", actor=bad),
            lambda bad=bad: store.deployments.request("shop", ref=bad),
            lambda bad=bad: store.keep_application_secret("shop", bad, "env:A"),
            lambda bad=bad: store.get_application(bad),
            lambda bad=bad: store.webhooks.note_host("shop", hosts_id=bad, url="x"),
        ):
            with pytest.raises(DeploycoreError, match="should") as caught:
                write()
            assert bad not in str(caught.value)
    with pytest.raises(DeploycoreError, match="64 bits"):
        store.triggers.add("shop", cause="push", priority=1 << 63)
    assert store.triggers.open("shop") == []


ON_SERVER = [
    ("deployments", "requested_at", "'infinity'"),
    ("triggers", "received_at", "'20000-01-01'"),
    ("webhooks", "created_at", "'0001-01-01 BC'"),
    ("applications", "definition", """'{"ref": "\\ud83d"}'"""),
    ("applications", "definition", """'{"ref": "\\u0000"}'"""),
    ("applications", "secrets", """'{"a": 1e999}'"""),
    ("providers", "settings", "'[1]'"),
    ("deployments", "seconds", "'\"x\"'"),
    ("deployments", "state", "'unknown'"),
    ("tokens", "role", "'owner'"),
    ("polls", "seconds", "'NaN'"),
    ("polls", "due_at", "'infinity'"),
    ("triggers", "tried_at", "'infinity'"),
    ("repositories", "former_names", "'{}'"),
    ("reception", "seen_at", "'infinity'"),
    ("claims", "expires_at", "'-infinity'"),
    ("previews", "target", "'relative'"),
]


@pytest.mark.parametrize(("table", "column", "value"), ON_SERVER)
def test_a_damaged_value_on_a_server_is_named_and_the_rest_is_readable(
    filled_on_server, template_on_server, table, column, value
):
    settings, (_, known) = filled_on_server, template_on_server
    key = next(each for each in ("id", "application", "name") if each in metadata.tables[table].c)
    with Store(settings) as store:
        newest = "min" if table == "providers" else "max"
        row = f"SELECT {newest}({key}) FROM {table}"
        engine = create_engine(settings.database_url)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = {value} WHERE {key} = ({row})"
            )
        engine.dispose()
        for name, before in known.asked(table).items():
            assert len(before - keys(reads(store)[name]())) <= 1, name
        for name, call in others(store).items():
            if table in known.tables[name]:
                call()
    damaged = inspect_database(settings).damaged
    assert [(each.details["table"], each.details["column"]) for each in damaged] == [
        (table, column)
    ]
