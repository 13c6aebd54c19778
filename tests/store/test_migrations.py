"""Migrations create exactly the tables that the code uses, completely or not at all, and only
once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, text

from deploycore.errors import StoreError
from deploycore.settings import Settings
from deploycore.store import Store, migrations
from deploycore.store.tables import REVISION, metadata
from tests.forked import ForkedProcess


@pytest.fixture
def engine(unmade_settings):
    """The engine of a database that the migrations have made."""
    unmade_settings.make_home()
    engine = create_engine(unmade_settings.database_url)
    with engine.begin() as connection:
        migrations.upgrade(connection)
    yield engine
    engine.dispose()


def test_a_new_database_is_as_the_migrations_make_it(settings, database, tmp_path):
    with Store(settings) as store:
        store.list_providers()
    migrated = tmp_path / "migrated.db"
    engine = create_engine(f"sqlite:///{migrated}")
    with engine.begin() as connection:
        migrations.upgrade(connection)
    engine.dispose()
    assert content_of(database) == content_of(migrated), "Run: python docs/statements.py"


def test_a_database_that_has_other_tables_is_migrated(settings, database):
    settings.make_home()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    with Store(settings) as store:
        assert store.list_providers() == []
    new = settings.home / "new"
    with Store(Settings.from_environment({"DEPLOYCORE_HOME": str(new)})) as store:
        store.list_providers()
    notes = ("notes", ["CREATE TABLE notes (text TEXT)"], [])
    made = content_of(new / "deploycore.db")
    assert sorted(content_of(database)) == sorted([*made, notes])


@pytest.mark.parametrize("is_new", [True, False])
def test_opening_a_new_or_up_to_date_database_does_not_import_alembic(settings, is_new):
    if not is_new:
        with Store(settings) as store:
            store.list_providers()
    program = (
        "import sys; from deploycore.settings import Settings; from deploycore.store import Store\n"
        "with Store(Settings.from_environment({'DEPLOYCORE_HOME': sys.argv[1]})) as store:\n"
        "    store.list_providers()\n"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(settings.home)], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_migrations_create_exactly_the_tables_of_the_code(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_and_indexes_have_the_names_of_the_code(engine):
    made = inspect(engine)
    for table in metadata.sorted_tables:
        constraints = (
            *made.get_foreign_keys(table.name),
            *made.get_unique_constraints(table.name),
        )
        # SQLite keeps no name for a key that counts by itself.
        wanted = {one.name for one in table.constraints - {table.primary_key}}
        assert {one["name"] for one in constraints} == wanted
        indexes = {one["name"] for one in made.get_indexes(table.name)}
        assert indexes >= {one.name for one in table.indexes}


def test_the_latest_migration_is_the_version_the_code_expects(engine):
    assert ScriptDirectory.from_config(migrations.configuration()).get_heads() == [REVISION]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == REVISION


def test_a_database_of_a_newer_version_is_rejected_and_kept(settings, database, provider):
    with Store(settings) as store:
        store.add_provider(provider())
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with (
        pytest.raises(StoreError, match=r"newer deploycore.*9999") as caught,
        Store(settings) as store,
    ):
        store.list_providers()
    assert caught.value.hint == "Upgrade deploycore."
    assert str(database) in caught.value.message
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT name FROM providers").fetchall() == [("acme",)]


FIRST_VERSION = """
INSERT INTO providers VALUES ('work', 'acme', '{}', '{}', '2026-01-01 00:00:00');
INSERT INTO applications VALUES
  ('shop', 'work', 'team', 'shop', 'main', '/srv/shop', 1, '2026-01-02 00:00:00'),
  ('blog', 'work', 'team/nested', 'blog', 'v1', '/srv/blog', 0, '2026-01-03 00:00:00');
INSERT INTO deployments VALUES
  (1, 'shop', 'succeeded', 'c1', 'r1', '2026-02-01 00:00:00', '2026-02-02 00:00:00',
   NULL, NULL, 'ada'),
  (2, 'shop', 'failed', NULL, NULL, '2026-02-02 00:00:00', '2026-02-03 00:00:00',
   'git', 'Why.', ''),
  (3, 'shop', 'running', 'c3', 'r3', '2026-02-03 00:00:00', NULL, NULL, NULL, '');
"""


@pytest.mark.parametrize("first", ["list_providers", "list_targets"], ids=["by name", "engine"])
def test_a_process_that_has_migrated_keeps_its_lock(settings, database, first):
    """Otherwise SQLite in another process believes that nobody else has the database open."""
    from alembic import command

    settings.make_home()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0001")
    engine.dispose()
    other = "import sqlite3, sys; made = sqlite3.connect(sys.argv[1])\n"
    other += "made.execute('SELECT * FROM users'); made.close()"
    with Store(settings) as store:
        getattr(store, first)()
        log = database.with_name(f"{database.name}-wal")
        before = log.stat().st_ino
        subprocess.run([sys.executable, "-c", other, str(database)], check=True)
        assert log.stat().st_ino == before


def test_migrating_from_the_first_version_preserves_all_data(settings, database):
    from alembic import command

    settings.make_home()
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0001")
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(FIRST_VERSION)
    with Store(settings) as store:
        shop, blog = store.get_application("shop"), store.get_application("blog")
        deployments = {record.id: record for record in store.deployments.list()}
        newer = store.deployments.request("blog", ref="main")
    assert (shop.definition.repository, shop.definition.ref) == ("team/shop", "main")
    assert (shop.definition.submodules, str(shop.definition.target)) == (True, "/srv/shop")
    assert (blog.definition.repository, blog.definition.submodules) == ("team/nested/blog", False)
    assert shop.changed_at == shop.created_at
    assert {number: record.state for number, record in deployments.items()} == {
        1: "healthy",
        2: "failed",
        3: "activating",
    }
    assert (deployments[1].ref, deployments[1].release, deployments[1].requested_by) == (
        "main",
        "r1",
        "ada",
    )
    assert deployments[1].requested_at == deployments[1].started_at
    assert (deployments[2].error_code, deployments[2].error) == ("git", "Why.")
    assert newer.id == 4


RACER = """
import sys
import alembic.command
from datetime import datetime, UTC
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store
home, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
with Store(Settings.from_environment({"DEPLOYCORE_HOME": home})) as store:
    store.add_provider(ProviderRecord(name, "acme", {}, {}, datetime.now(UTC)))
"""


def test_processes_that_race_to_set_up_a_database_all_succeed(settings):
    racers = [
        ForkedProcess(
            [sys.executable, "-c", RACER, str(settings.home), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    assert [racer.communicate()[1] for racer in racers] == [""] * 3
    with Store(settings) as store:
        assert [record.name for record in store.list_providers()] == ["a", "b", "c"]


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from deploycore.settings import Settings
from deploycore.store import Store

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.strip().startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

with Store(Settings.from_environment({"DEPLOYCORE_HOME": sys.argv[1]})) as store:
    store.list_providers()
"""


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE alembic",
        'CREATE TABLE "applications"',
        "CREATE INDEX ix_dep",
        "INSERT INTO al",
    ],
)
def test_a_process_killed_while_it_makes_a_database_leaves_no_partial_changes(
    settings, database, statement
):
    command = [sys.executable, "-c", KILLED, str(settings.home), statement]
    with ForkedProcess(command) as process:
        assert process.wait(60) == -signal.SIGKILL
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    with Store(settings) as store:
        assert store.list_providers() == []


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE previews", "ALTER TABLE", "CREATE INDEX", "UPDATE alembic"]
)
def test_a_process_killed_during_a_migration_leaves_no_partial_changes(
    settings, database, statement
):
    from alembic import command

    settings.make_home()
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0001")
    engine.dispose()
    before = content_of(database)
    with ForkedProcess([sys.executable, "-c", KILLED, str(settings.home), statement]) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert content_of(database) == before
    with Store(settings) as store:
        assert store.list_providers() == []


THIRD_VERSION = """
INSERT INTO providers VALUES ('work', 'acme', '{"user": "me"}', '{}', '2026-01-01 00:00:00');
INSERT INTO providers VALUES ('odd', 'acme', '{', '{}', '2026-01-01 00:00:00');
INSERT INTO applications (name, provider, target, definition, secrets, revision, created_at,
  changed_at) VALUES
  ('shop', 'work', '/srv/shop', '{"name": "shop", "provider": "work", "repository": "team/shop",
   "ref": "main", "target": "/srv/shop", "host": "far"}', '{"A": "env:A"}', 1,
   '2026-01-02 00:00:00', '2026-01-02 00:00:00'),
  ('text', 'work', '/srv/text', CAST(x'7bff7d' AS TEXT), '{}', 1, '2026-01-02 00:00:00',
   '2026-01-02 00:00:00');
INSERT INTO webhooks (application, secret, created_at)
  VALUES ('shop', 'env:HOOK', '2026-01-02 00:00:00');
"""


def test_existing_rows_get_checksums_unless_they_are_damaged(settings, database):
    from alembic import command

    settings.make_home()
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0003")
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(THIRD_VERSION)
    with Store(settings) as store:
        shop = store.get_application("shop")
        assert [each.name for each in store.list_applications()] == ["shop"]
        assert [each.name for each in store.list_providers()] == ["work"]
        assert store.webhooks.get("shop").secret == "env:HOOK"
        store.triggers.add("shop", cause="push")
        assert store.triggers.pending(host="here") == []
        assert store.triggers.pending(host="far") == ["shop"]
    assert (shop.definition.host, shop.secrets) == ("far", {"A": "env:A"})
    columns = {
        "applications": "definition_checksum, secrets_checksum",
        "providers": "settings_checksum, secrets_checksum",
        "webhooks": "secret_checksum",
    }
    with closing(sqlite3.connect(database)) as connection:
        for table, names in columns.items():
            key = "application" if table == "webhooks" else "name"
            for name, *found in connection.execute(f"SELECT {key}, {names} FROM {table}"):
                assert all(map(bool, found)) == (name in ("shop", "work")), (table, name)


REFUSALS = (
    "database is locked",
    "attempt to write a readonly database",
    "database or disk is full",
    "disk I/O error",
)


def content_of(database) -> list:
    """Every table and index with its definition, whose constraints migrations write in any order,
    and the rows of each table."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT name, type, sql FROM sqlite_master ORDER BY name")
        return [
            (
                name,
                sorted(each.strip(" ,\t") for each in (sql or "").splitlines()),
                connection.execute(f'SELECT * FROM "{name}"').fetchall() if kind == "table" else [],
            )
            for name, kind, sql in found.fetchall()
            if name != "sqlite_sequence"  # the numbers that were used before
        ]


def schema_of(database) -> list:
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return [*tables, connection.execute("SELECT * FROM alembic_version").fetchall()]


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_migration_that_fails_at_any_statement_changes_nothing(settings, database, reason):
    from alembic import command

    settings.make_home()
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0003")
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(THIRD_VERSION)
        connection.execute("UPDATE webhooks SET hosts_id = '7'")
        connection.commit()
    before, refused_at, count = schema_of(database), 0, 0

    def refuse(connection, cursor, statement, *_):
        nonlocal count
        is_writing = not statement.lstrip().startswith(("SELECT", "PRAGMA", "BEGIN"))
        count += is_writing
        if is_writing and count == refused_at:
            raise sqlite3.OperationalError(reason)

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        for refused_at in range(1, 500, 11):
            count = 0
            error = None
            try:
                with Store(settings) as store:
                    store.list_providers()
            except StoreError as raised:
                error = raised
            if error is None:
                break
            assert str(database) in error.message
            assert error.hint
            assert schema_of(database) == before, refused_at
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    assert refused_at > 30
    with Store(settings) as store:
        assert store.webhooks.get("shop").repository == "team/shop"


def test_existing_webhooks_are_assigned_the_repository_of_their_application(unmade_settings):
    """Also where the definition of another application is damaged."""
    from alembic import command

    unmade_settings.make_home()
    engine = create_engine(unmade_settings.database_url)
    definition = '{"name": "%s", "provider": "work", "repository": "acme/%s"}'
    with engine.begin() as connection:
        command.upgrade(migrations.configuration(connection), "0009")
        at = {"at": "2026-01-02 00:00:00"}
        connection.execute(
            text("INSERT INTO providers (name, kind, settings, secrets, created_at)"
                 " VALUES ('work', 'acme', '{}', '{}', :at)"), at
        )  # fmt: skip
        for name, hosts_id in (("blog", "7"), ("damaged", "8"), ("shop", None)):
            stored = definition % (name, name) if name != "damaged" else '["no application"]'
            connection.execute(
                text("INSERT INTO applications (name, provider, target, definition, secrets,"
                     " revision, created_at, changed_at)"
                     " VALUES (:name, 'work', :target, :definition, '{}', 1, :at, :at)"),
                {"name": name, "target": f"/{name}", "definition": stored, **at},
            )  # fmt: skip
            connection.execute(
                text("INSERT INTO webhooks (application, secret, hosts_id, created_at)"
                     " VALUES (:name, 'env:HOOK', :hosts_id, :at)"),
                {"name": name, "hosts_id": hosts_id, **at},
            )  # fmt: skip
        command.upgrade(migrations.configuration(connection), "0010")
        found = connection.execute(
            text("SELECT application, provider, repository FROM webhooks ORDER BY application")
        ).all()
    engine.dispose()
    assert [tuple(each) for each in found] == [
        ("blog", "work", "acme/blog"),
        ("damaged", None, None),
        ("shop", None, None),
    ]
