"""Listings without SQLAlchemy have the store's results, or let the store do the work."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from deploycore.errors import DeploycoreError
from deploycore.store import Store, statements
from deploycore.store.listing import read_listing
from deploycore.store.statements import COLUMNS

ROOT = Path(__file__).parents[2]

FROM_LISTING = {
    "providers": lambda listing: listing.providers(),
    "provider": lambda listing: listing.provider("acme"),
    "definitions": lambda listing: listing.definitions(),
    "target": lambda listing: listing.target("shop"),
    "definition": lambda listing: listing.definition("shop"),
    "deploy key": lambda listing: listing.has_deploy_key(listing.definition("shop")),
    "previews": lambda listing: listing.previews(),
    "deployment": lambda listing: listing.deployment(2),
    "last deployment": lambda listing: listing.last_deployment("shop"),
    "history": lambda listing: listing.history(None, 2),
    "history of one": lambda listing: listing.history("shop", 20),
    "releases": lambda listing: listing.of_releases("shop", ["r2", "r3", "r9"]),
}
FROM_STORE = {
    "providers": lambda store: store.list_providers(),
    "provider": lambda store: store.get_provider("acme"),
    "definitions": lambda store: [each.definition.as_dict() for each in store.list_applications()],
    "target": lambda store: store.get_application("shop").definition.target,
    "definition": lambda store: store.get_application("shop").definition.as_dict(),
    "deploy key": lambda store: (
        store.find_deploy_key(store.get_application("shop").definition) is not None
    ),
    "previews": lambda store: store.previews.list(),
    "deployment": lambda store: store.deployments.get(2),
    "last deployment": lambda store: store.deployments.list("shop", limit=1)[0],
    "history": lambda store: store.deployments.history(limit=2),
    "history of one": lambda store: store.deployments.history("shop", limit=20),
    "releases": lambda store: store.deployments.of_releases("shop", ["r2", "r3", "r9"]),
}
LISTED = (
    "providers",
    "applications",
    "deploy_keys",
    "previews",
    "deployments",
    "removed_deployments",
)
WRONG = (
    None,
    b"\xff",
    "\0",
    "wrong",
    -5.5,
    7,
    10**15,
    "[1]",
    '{"a": [1e999]}',
    '{"a": "\\u0000"}',
    '{"name": "shop"}',
    "2026-13-01 00:00:00.000000",
    "2026-11-24T10:15:30+01:00",
    "../elsewhere",
)


@pytest.fixture
def filled(empty_home, settings, provider, application, tmp_path) -> Store:
    """A store with some of everything that is listed; ``old`` was removed, and is there again."""
    settings.home.mkdir(mode=0o700)
    shutil.copy2(empty_home / "deploycore.db", settings.home)
    with Store(settings) as store:
        store.add_provider(provider())
        store.add_provider(provider("other", settings={"url": "https://example.org/ü"}, secrets={}))
        for name in ("shop", "old"):
            store.add_application(application(name))
        for name in ("old", "shop", "shop", "shop"):
            record = store.deployments.request(
                name, ref="main", requested_by="jörg", kind="deploy", home=str(tmp_path)
            )
            store.deployments.advance(record.id, "authenticating")
            store.deployments.advance(
                record.id, "resolving", commit="c" * 40, subject="✓", seconds={"queued": 0.5}
            )
            store.deployments.advance(record.id, "fetching", release=f"r{record.id}", files=3)
            store.deployments.advance(record.id, "failed", error=DeploycoreError("It failed."))
        store.remove_application("old", keep_history=True)
        store.add_application(application("old"))
        parent = application("shop")
        key = store.deploy_keys.add(
            application="shop",
            provider="acme",
            repository=parent.repository,
            public_key="ssh-ed25519 AAAA",
            secret="env:KEY",
        )
        store.deploy_keys.activate(key)
        store.begin_preview(
            application("shop-7", target=tmp_path / "shop-7"),
            parent=parent,
            number=7,
            within=tmp_path,
            limit=5,
            opens=True,
        )
        yield store


def test_the_listing_uses_the_statements_and_columns_of_the_store():
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "statements.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    committed = {name: getattr(statements, name) for name in statements.__all__}
    assert made.contents() == committed, "Run: python docs/statements.py"


@pytest.mark.parametrize("question", FROM_STORE)
def test_a_listing_returns_the_same_as_the_store(filled, settings, question):
    found = read_listing(FROM_LISTING[question], settings)
    assert found
    assert found == FROM_STORE[question](filled)


@pytest.mark.parametrize("table", LISTED)
def test_a_damaged_row_falls_back_to_the_store(filled, settings, caplog, table, tables_of):
    columns = COLUMNS[table]
    caplog.set_level(logging.WARNING)
    asked = [
        question for question, ask in FROM_STORE.items() if table in tables_of(partial(ask, filled))
    ]
    assert asked
    left = 0
    with closing(sqlite3.connect(settings.home / "deploycore.db")) as raw:
        for column, *_ in columns:
            key = columns[0][0]
            row, was = raw.execute(f'SELECT "{key}", "{column}" FROM {table}').fetchone()
            for value in WRONG:
                change = (table, key, column), (row, was, value)
                left += _compare(raw, change, asked, filled, settings, caplog)
    assert left > len(columns)


def _compare(raw, change, asked, filled, settings, caplog) -> int:
    """Write a value; how many listings are left to the store. All others are as the store's."""
    place, (row, was, value) = change
    table, key, column = place
    change = f'UPDATE {table} SET "{column}" = ? WHERE "{key}" = ?'
    try:
        raw.execute(change, (value, row))
    except sqlite3.IntegrityError:
        raw.rollback()
        return 0
    raw.commit()
    left = 0
    for question in asked:
        found = read_listing(FROM_LISTING[question], settings)
        if found is None:
            left += 1
            continue
        caplog.clear()
        assert found == FROM_STORE[question](filled), (place, value, question)
        assert not caplog.records
    raw.execute(change, (was, value if column == key else row))
    raw.commit()
    return left


def test_a_wrong_checksum_falls_back_to_the_store(filled, settings):
    with closing(sqlite3.connect(settings.home / "deploycore.db")) as raw:
        changed = '{"name": "shop", "provider": "acme", "repository": "team/shop", "ref": "b", '
        raw.execute("UPDATE applications SET definition = ?", (changed + '"target": "/srv/shop"}',))
        raw.commit()
    assert read_listing(FROM_LISTING["definitions"], settings) is None


def test_a_definition_of_another_version_falls_back_to_the_store(filled, settings):
    with closing(sqlite3.connect(settings.home / "deploycore.db")) as raw:
        (text,) = raw.execute("SELECT definition FROM applications WHERE name = 'shop'").fetchone()
        newer = json.dumps(json.loads(text) | {"newer": True})
        change = "UPDATE applications SET definition = ?, definition_checksum = NULL"
        raw.execute(f"{change} WHERE name = 'shop'", (newer,))
        raw.commit()
    assert read_listing(FROM_LISTING["definitions"], settings) is None
    assert read_listing(FROM_LISTING["target"], settings) is None


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_database_of_another_version_falls_back_to_the_store(filled, settings, revision):
    with closing(sqlite3.connect(settings.home / "deploycore.db")) as raw:
        raw.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        raw.commit()
    assert read_listing(FROM_LISTING["providers"], settings) is None


def test_a_missing_database_is_not_created(settings):
    assert read_listing(FROM_LISTING["providers"], settings) is None
    assert not settings.home.exists()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://user:secret@nowhere/x", "sqlite:///relative.db", "sqlite://"]
)
def test_any_other_database_falls_back_to_the_store(tmp_path, settings, url):
    variables = {"DEPLOYCORE_HOME": str(tmp_path), "DEPLOYCORE_DATABASE_URL": url}
    other = type(settings).from_environment(variables)
    assert read_listing(FROM_LISTING["providers"], other) is None


@pytest.mark.parametrize("question", ["provider", "target", "deployment", "history of one"])
def test_an_unknown_name_falls_back_to_the_store(empty_home, settings, question):
    home = type(settings).from_environment({"DEPLOYCORE_HOME": str(empty_home)})
    assert read_listing(FROM_LISTING["providers"], home) == []
    assert read_listing(FROM_LISTING[question], home) is None


@pytest.mark.parametrize("name", ["a b", "a?b", "a%20b", "größe", "a#b"])
def test_the_data_directory_may_have_any_name(empty_home, tmp_path, settings, provider, name):
    home = type(settings).from_environment({"DEPLOYCORE_HOME": str(tmp_path / name)})
    shutil.copytree(empty_home, home.home)
    with Store(home) as store:
        store.add_provider(provider())
    found = read_listing(FROM_LISTING["providers"], home)
    assert found == [provider()]
