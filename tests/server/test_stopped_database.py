"""A PostgreSQL server that is stopped, as on a machine that is out of memory or is being copied."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from deploycore.errors import StoreError
from deploycore.store import database, engine, waiting
from deploycore.store.drivers import wait_without_limit
from tests.postgresql import _children, running_server, why_not
from tests.server.test_waiting import client, deliver, installation, secrets
from tests.worker.conftest import wait_for

__all__ = ["client", "deliver", "installation", "secrets"]


@pytest.fixture(scope="module")
def server():
    if why_not():
        pytest.skip(why_not())
    with running_server() as running:
        yield running


@pytest.fixture
def postgresql(server):
    with server.database() as address:
        yield address


@pytest.fixture
def stopped(server):
    """Stops all processes of the server for the length of a block."""

    @contextmanager
    def stop():
        processes = [server._process.pid, *_children(server._process.pid)]
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in processes:
                os.kill(each, signal.SIGCONT)

    return stop


def test_a_stopped_database_is_reported_in_time_and_recovers(
    client, deliver, stopped, installation, monkeypatch
):
    assert {deliver(name).status_code for name in ("shop", "blog")} == {202}
    monkeypatch.setattr(waiting, "PING_SECONDS", 0.2)
    monkeypatch.setattr(database, "_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(engine, "NETWORK", {"connect_timeout": 2})
    installation.store.close()
    assert deliver("blog").status_code == 202
    with stopped():
        with pytest.raises(StoreError, match="did not answer in time"):
            installation.store.list_providers()
        with ThreadPoolExecutor(5) as pool:
            answers = [pool.submit(deliver, name) for name in ("shop", "blog", "none") * 4]
            readiness = pool.submit(client.get, "/readyz")
            assert {each.result().status_code for each in answers} == {503}
            assert readiness.result().json()["checks"]["database"] == "failed"
    for path in ("shop", "blog"):
        wait_for(lambda path=path: deliver(path).status_code == 202)
    wait_for(lambda: client.get("/readyz").status_code == 200)


def test_a_running_operation_times_out_but_a_migration_does_not(installation, stopped, monkeypatch):
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(database, "_SILENT_SECONDS", 60)
    with pytest.raises(StoreError, match="did not answer in time"):
        operate(installation, stopped)
    begun_at = time.monotonic()
    for _ in range(3):  # at once: others may be in a queue behind this one
        with pytest.raises(StoreError, match="did not answer in time"):
            installation.store.list_providers()
    installation.store._database._silent_until = begun_at
    assert installation.store.list_providers()
    with installation.store._database.reading() as connection:
        wait_without_limit(connection.connection.driver_connection)
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(0.5)")) == 1


def operate(installation, stopped) -> None:
    with installation.store._database.reading() as connection, stopped():
        connection.execute(text("SELECT 1"))
