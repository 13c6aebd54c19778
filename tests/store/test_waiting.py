"""Nothing waits endlessly for PostgreSQL, and a locked row of one application does not delay
others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text

from deploycore.applications.application import AutoDeploy
from deploycore.errors import StoreError
from deploycore.settings import Settings
from deploycore.store import Store, drivers, triggers, waiting
from deploycore.store import engine as engine_module
from deploycore.store.direct import SqliteFile
from deploycore.store.polls import Wait
from tests.forked import ForkedProcess

HOLDER = """
import sys
from deploycore.settings import Settings
from deploycore.store import Store
from deploycore.store.lookup import named_row
from deploycore.store.tables import applications

with Store(Settings.from_environment()) as store, store._database.writing() as connection:
    named_row(connection, "application", "shop", locked=True)
    connection.exec_driver_sql("SELECT 1 FROM polls WHERE application = 'shop' FOR UPDATE")
    if "FOR UPDATE" in sys.argv:
        connection.exec_driver_sql("SELECT 1 FROM applications WHERE name = 'shop' FOR UPDATE")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path, made_postgresql) -> Settings:
    return Settings.from_environment(
        {"DEPLOYCORE_HOME": str(tmp_path / "home"), "DEPLOYCORE_DATABASE_URL": made_postgresql}
    )


@pytest.fixture
def store(settings, provider, application):
    with Store(settings) as store:
        store.add_provider(provider())
        for name in ("blog", "shop"):
            store.add_application(application(name, auto_deploy=AutoDeploy()))
        yield store


@contextmanager
def frozen(settings: Settings, *arguments: str):
    """A process that is stopped while it holds the row of ``shop``."""
    environ = {
        **os.environ,
        "DEPLOYCORE_HOME": str(settings.home),
        "DEPLOYCORE_DATABASE_URL": settings.database_url,
    }
    process = ForkedProcess(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_row_locked_by_a_frozen_process_does_not_block_a_push(store, settings):
    with frozen(settings):
        for name in ("blog", "shop"):
            assert store.triggers.add(name, cause="push", digest=name)
        assert list(store.triggers.pending(host="here")) == ["blog", "shop"]
        assert store.claims.take("blog", "worker", lease=30)
        assert store.claims.take("shop", "worker", lease=30) is None
        assert [each.application for each in store.polls.take(["blog", "shop"], lease=5)] == [
            "blog"
        ]
        store.polls.pause({"blog": 60, "shop": 60})
        store.polls.note_all([Wait(name, 3600, 60) for name in ("blog", "shop")])
        assert [each.name for each in store.polls.due(host="here") if each.is_due] == ["shop"]


@pytest.mark.parametrize("arguments", [(), ("FOR UPDATE",)])
def test_waiting_for_a_row_times_out(store, settings, arguments, monkeypatch):
    monkeypatch.setattr("deploycore.store.triggers.DELIVERY_SECONDS", 0.2)
    store.close()
    limits = {**waiting.SERVER_SETTINGS, "lock_timeout": 200}
    monkeypatch.setattr(drivers, "limit_server", lambda: waiting.limit_server(limits))
    with frozen(settings, *arguments):
        with pytest.raises(StoreError, match="waiting for a row that another process has locked"):
            store.deployments.request("shop", ref="main")
        if arguments:
            with pytest.raises(StoreError, match="locked"):
                store.triggers.add("shop", cause="push")
        assert store.deployments.request("blog", ref="main")


def test_the_server_ends_an_idle_transaction(store, settings, monkeypatch):
    limits = {**waiting.SERVER_SETTINGS, "idle_in_transaction_session_timeout": 200}
    held = threading.Event()
    monkeypatch.setattr(drivers, "limit_server", lambda: waiting.limit_server(limits))

    def stop_in_the_middle(other: Store) -> None:
        with other._database.writing() as connection:
            connection.execute(text("SELECT 1 FROM applications WHERE name = 'shop' FOR UPDATE"))
            # It is not ours any more once another worker has it.
            assert store.deployments.request("shop", ref="main")
            held.set()
            connection.execute(text("SELECT 1"))

    with Store(settings) as other, pytest.raises(StoreError) as caught:
        stop_in_the_middle(other)
    assert held.is_set()
    assert "SELECT" not in caught.value.message


def test_every_connection_has_timeouts(store):
    with store._database.reading() as connection:
        for name, milliseconds in waiting.SERVER_SETTINGS.items():
            query = text("SELECT setting FROM pg_settings WHERE name = :name")
            assert int(connection.scalar(query, {"name": name})) == milliseconds > 0
        said = connection.connection.driver_connection.info.get_parameters()
    assert {name: said[name] for name in waiting.NETWORK} == {
        name: str(value) for name, value in waiting.NETWORK.items()
    }


def test_a_database_url_can_override_the_timeouts(made_postgresql):
    engine = engine_module.engine_of(f"{made_postgresql}?connect_timeout=17")
    with engine.connect() as connection:
        said = connection.connection.driver_connection.info.get_parameters()
    engine.dispose()
    assert (said["connect_timeout"], said["keepalives_idle"]) == ("17", "15")


def test_an_exhausted_connection_pool_is_reported_at_once(store, settings, monkeypatch):
    monkeypatch.setattr(
        engine_module, "POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    )
    with Store(settings) as small:
        small.list_providers()
        assert not small.is_exhausted
        with small._database.reading():
            assert small.is_exhausted
            with pytest.raises(StoreError, match="all connections of this process are in use"):
                small.list_providers()
        assert not small.is_exhausted


def test_a_database_server_without_free_connections_is_reported(store, settings, made_postgresql):
    role, name = "few", made_postgresql.rpartition("/")[2]
    engine = create_engine(made_postgresql)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT 0"))
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    try:
        url = made_postgresql.replace("deploycore:", f"{role}:")
        environ = {"DEPLOYCORE_HOME": str(settings.home), "DEPLOYCORE_DATABASE_URL": url}
        few = Store(Settings.from_environment(environ))
        with pytest.raises(StoreError, match="too many connections"):
            few.list_providers()
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))
        engine.dispose()


def test_writing_to_a_standby_is_rejected(store):
    with store._database.reading() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    with store._database.writing() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    store.check_writing(patience=1)  # the connection of before
    store.close()
    with pytest.raises(StoreError, match="is read-only"):
        store.check_writing(patience=1)


def test_only_one_of_two_identical_deliveries_is_added(store):
    gate = threading.Barrier(8)
    added = []

    def add() -> None:
        gate.wait()
        added.append(store.triggers.add("shop", cause="push", digest="same", delivery="one"))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len([each for each in added if each]) == 1
    assert len(store.triggers.open("shop")) == 1


def test_sqlite_waits_for_another_writer_only_up_to_the_timeout(tmp_path, provider):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "sqlite")})
    with Store(settings) as one, Store(settings) as other:
        one.add_provider(provider())
        with one._database.writing():
            began = time.monotonic()
            with pytest.raises(StoreError, match="busy"):
                other.check_writing(patience=0.1)
            assert time.monotonic() - began < waiting.BUSY_SECONDS
            assert other.list_providers()  # who reads waits for nobody


def test_a_push_waits_for_another_writer_of_sqlite_only_up_to_its_own_timeout(
    tmp_path, provider, application, monkeypatch
):
    monkeypatch.setattr(triggers, "DELIVERY_SECONDS", 0.1)
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "sqlite")})
    with Store(settings) as one, Store(settings) as other:
        one.add_provider(provider())
        one.add_application(application("shop"))
        with one._database.writing(), pytest.raises(StoreError, match="busy"):
            other.triggers.add("shop", cause="push")
        assert other.triggers.add("shop", cause="push") is not None


@pytest.mark.parametrize(("patience", "milliseconds"), [(0.25, 250), (60, 7000), (None, 7000)])
def test_a_transaction_of_sqlite_has_its_own_timeout(tmp_path, patience, milliseconds):
    (tmp_path / "file").touch()
    file = SqliteFile(tmp_path / "file", wait=7)

    def wait(**options) -> int:
        with file.transaction(writes=True, **options) as statements:
            ((found,),) = statements._connection.execute("PRAGMA busy_timeout")
            return found

    assert (wait(patience=patience), wait()) == (milliseconds, 7000)
    file.close()
