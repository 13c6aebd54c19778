"""Deliveries while one of them waits for the database: the others are answered."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from deploycore import Installation, Settings
from deploycore.store import engine
from tests.server import acme


@pytest.fixture
def installation(tmp_path, install_distribution, postgresql):
    install_distribution("deploycore-acme", "acme", acme.PLUGIN)
    environ = {"DEPLOYCORE_HOME": str(tmp_path / "home"), "DEPLOYCORE_DATABASE_URL": postgresql}
    with Installation(Settings.from_environment(environ)) as opened:
        opened.add_provider("work", "acme", {}, {"token": SecretStr("hunter2-of-acme")})
        yield opened


@pytest.fixture
def secrets(create):
    return {name: create(name) for name in ("shop", "blog")}


@pytest.fixture
def client(serving, secrets):
    return serving()


@pytest.fixture
def deliver(client, secrets):
    counted = iter(range(10_000))
    lock = threading.Lock()

    def send(name):
        with lock:
            number = next(counted)
        body = acme.body_of(acme.push(after=f"{number:040x}"))
        return client.post(
            f"/webhooks/{name}", content=body, headers=acme.signed(body, secrets.get(name, "x"))
        )

    return send


@pytest.fixture
def holding(postgresql):
    """A transaction of somebody else that has the row of ``shop``, and does nothing."""
    engine = create_engine(postgresql)
    connection = engine.connect()

    def hold(how: str = "FOR UPDATE"):
        connection.execute(text(f"SELECT 1 FROM applications WHERE name = 'shop' {how}"))
        return connection

    yield hold
    connection.close()
    engine.dispose()


def test_a_locked_application_row_delays_only_its_own_deliveries(
    client, deliver, holding, installation
):
    for name in ("shop", "blog"):
        assert deliver(name).status_code == 202
    held = holding()
    over = threading.Event()

    def flood() -> set[int]:
        found = set()
        while not over.is_set():
            answer = deliver("shop")
            found.add(answer.status_code)
            assert answer.headers.get("retry-after") == "60"
        return found

    with ThreadPoolExecutor(6) as pool:
        floods = [pool.submit(flood) for _ in range(6)]
        try:
            assert {deliver("blog").status_code for _ in range(20)} == {202}
            assert client.get("/readyz").status_code == 200
            installation.store.deployments.request("blog", ref="main")
        finally:
            over.set()
        assert [each.result() for each in floods] == [{503}] * 6
    held.rollback()
    assert deliver("shop").status_code == 202


def test_recording_a_deployment_does_not_block_deliveries(deliver, holding):
    holding("FOR NO KEY UPDATE")
    assert {deliver(name).status_code for name in ("shop", "blog", "shop")} == {202}


def test_without_a_database_connection_deliveries_are_rejected_at_once(
    client, deliver, installation, monkeypatch
):
    assert deliver("blog").status_code == 202
    monkeypatch.setattr(engine, "POOL", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 600})
    installation.store.close()
    with installation.store._database.reading():
        answer = deliver("blog")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert deliver("blog").status_code == 202


def test_a_server_with_a_read_only_database_is_not_ready(client, installation):
    with installation.store._database.writing() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    installation.store.close()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed")
