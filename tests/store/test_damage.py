"""One damaged value in one row: the row is named and left out, and everything else works."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, create_engine, text

from deploycore.errors import DeploycoreError, StoreError
from deploycore.settings import Settings
from deploycore.store import Store
from deploycore.store.columns import (
    Choice,
    Document,
    Flag,
    Number,
    PathText,
    Real,
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
        given = application(name, provider="aaa" if name == "shop" else "acme")
        store.add_application(given)
        store.keep_application_secret(name, "TOKEN", "env:TOKEN")
        for release in ("r1", "r2"):
            asked = store.deployments.request(name, ref="main")
            store.deployments.advance(asked.id, "authenticating")
            store.deployments.advance(asked.id, "resolving")
            store.deployments.advance(asked.id, "fetching", release=f"{name}-{release}")
        store.triggers.add(name, cause="push", ref="main", digest=name * 16)
        store.webhooks.add(name, "env:WEBHOOK")
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


def reads(store: Store) -> dict[str, Callable[[], Any]]:
    """Everything that reads more than one row, or what belongs to ``blog``."""
    deployments, triggers = store.deployments, store.triggers
    return {
        "providers": store.list_providers,
        "applications": store.list_applications,
        "deployments": deployments.list,
        "unfinished": deployments.unfinished,
        "triggers": triggers.list,
        "claims": store.claims.list,
        "workers": store.claims.workers,
        "webhooks": store.webhooks.list,
        "previews": store.previews.list,
        "tokens": store.tokens.list,
        "polls": store.polls.due,
        "blog": lambda: [store.get_application("blog")],
        "acme": lambda: [store.get_provider("acme")],
        "blog's deployments": lambda: deployments.list("blog"),
        "blog's unfinished": lambda: deployments.unfinished("blog"),
        "blog's releases": lambda: list(deployments.of_releases("blog", ["blog-r2"]).values()),
        "blog's triggers": lambda: triggers.list("blog"),
        "blog's open": lambda: triggers.open("blog"),
        "blog's newest": lambda: [triggers.newest("blog", "main")],
        "blog's webhook": lambda: [store.webhooks.find("blog")],
    }


def others(store: Store) -> None:
    """What gives no records, and must not fail."""
    pending = store.triggers.pending(host="here")
    assert "blog" in pending
    store.triggers.seconds_to_next()
    store.triggers.counts()
    store.deployments.count_by_state()
    store.deployments.is_cancelled(1)
    store.holds_sealed_secrets()


def keys(records: Any) -> set[str]:
    return {
        str(getattr(each, "id", None) or getattr(each, "name", None) or each.application)
        if not isinstance(each, str)
        else each
        for each in records
    }


def values_for(column: Column[Any]) -> Iterator[object]:
    """What the column is damaged with: all there is for types that few columns have, else one value
    after the other, from column to column."""
    values = next(values for kind, values in DAMAGED if isinstance(column.type, kind))
    if isinstance(column.type, Document | Flag | Real):
        yield from values
    else:
        yield values[COLUMNS.index(column) % len(values)]
    if not column.nullable and COLUMNS.index(column) % 3 == 0:
        yield None


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A home whose database is filled, and refuses nothing that its tables would refuse."""
    return tmp_path_factory.mktemp("damage") / "home"


@pytest.fixture
def filled(template, tmp_path, provider, application) -> Settings:
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(template)})
    if not template.exists():
        with Store(settings) as store:
            fill(store, provider, application)
        with closing(sqlite3.connect(template / "deploycore.db")) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
            connection.commit()
    home = shutil.copytree(template, tmp_path / "home")
    return Settings.from_environment({"DEPLOYCORE_HOME": str(home)})


def row_of_shop(connection: sqlite3.Connection, table: str) -> int:
    names = metadata.tables[table].c
    column = next(each for each in ("application", "parent", "name", "id") if each in names)
    wanted = {"workers": "worker-of-shop", "providers": "aaa"}.get(table, "shop")
    query = f"SELECT max(rowid) FROM {table} WHERE {column} = ?"  # noqa: S608  names of our own
    return int(connection.execute(query, [wanted]).fetchone()[0])


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_a_damaged_value_is_named_and_everything_else_is_read(filled, table, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        Store(filled) as store,
        closing(sqlite3.connect(filled.home / "deploycore.db")) as raw,
    ):
        raw.execute("PRAGMA synchronous = OFF")
        raw.text_factory = bytes
        known = {name: keys(read()) for name, read in reads(store).items()}
        row = row_of_shop(raw, table.name)
        for column in table.columns:
            if column.name == "id" and isinstance(column.type, Number):
                continue  # SQLite's own row number, which is always an integer
            for value in values_for(column):
                check(store, filled, raw, (table.name, column.name, row), value, known)
    assert SECRET not in caplog.text


def check(store, settings, raw, place, value, known) -> None:
    table, column, row = place
    query = f'SELECT "{column}" FROM {table} WHERE rowid = ?'  # noqa: S608
    (was,) = raw.execute(query, [row]).fetchone()
    put(raw, place, value)
    try:
        try:
            for name, read in reads(store).items():
                missing = known[name] - keys(read())
                assert len(missing) <= 1, (place, value, name, missing)
            others(store)
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
    raw.execute(f'UPDATE {table} SET "{column}" = {given} WHERE rowid = ?', [value, row])  # noqa: S608
    raw.commit()
