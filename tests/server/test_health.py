"""Health, readiness and metrics."""

from __future__ import annotations

import errno
import re
from types import SimpleNamespace

import pytest

from deploycore.errors import StoreError
from deploycore.worker import Worker
from tests.server.acme import push


@pytest.fixture
def worker(installation, monkeypatch):
    """A worker that runs, and deploys nothing."""
    monkeypatch.setattr(Worker, "_dispatch", lambda self: self._ended.wait())
    made = Worker(installation, threads=3)
    made.start()
    yield made
    made.stop(0)


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} does not exist"
    return float(found[1])


def test_the_health_check_queries_nothing(client, monkeypatch):
    monkeypatch.setattr("deploycore.store.database.Database.reading", None)
    assert client.get("/healthz").json() == {"status": "ok", "checks": {}, "missing": {}}


def test_the_health_check_responds_while_all_threads_are_busy(client, monkeypatch):
    async def wait(*arguments):
        raise AssertionError("it waited for a thread")

    monkeypatch.setattr("deploycore.server.rest.service.run_in_threadpool", wait)
    assert client.get("/healthz").status_code == 200


def test_a_server_is_ready_when_all_requirements_are_met(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok", "disk": "ok", "key": "ok"}


def test_a_server_without_its_key_is_not_ready(client, installation):
    (installation.settings.home / "secret.key").unlink()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["key"]) == (503, "failed")
    assert str(installation.settings.home) not in answer.text


def test_a_server_without_its_database_is_not_ready(client, installation, monkeypatch):
    def fail():
        raise StoreError("gone")

    monkeypatch.setattr(installation.store.triggers, "seconds_to_next", fail)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed")


def _full(directory):
    return SimpleNamespace(f_bavail=100, f_frsize=4096, f_files=1000, f_favail=900)


def _without_inodes(directory):
    return SimpleNamespace(f_bavail=10**9, f_frsize=4096, f_files=1000, f_favail=0)


def _refuse(descriptor):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("statvfs", _full), ("statvfs", _without_inodes), ("fsync", _refuse)],
    ids=["full", "no inodes", "read-only"],
)
def test_a_server_whose_disk_cannot_be_written_is_not_ready(
    client, installation, monkeypatch, caplog, name, fault
):
    monkeypatch.setattr("deploycore.server.health._FRESH_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(f"deploycore.server.health.os.{name}", fault)
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["disk"]) == (503, "failed")
    assert "disk" in answer.json()["missing"]["disk"]
    assert str(installation.settings.home) not in answer.text
    assert not list(installation.settings.home.glob(".ready-*"))
    assert "Next: Free space on that disk, or correct the directory's permissions." in caplog.text
    assert client.get("/readyz").status_code == 200


def test_a_server_with_a_read_only_database_is_not_ready(client, installation):
    with installation.store._database.reading() as connection:
        connection.connection.dbapi_connection.execute("PRAGMA query_only = ON")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "failed")
    assert list(answer.json()["missing"]) == ["database"]


def test_the_check_of_the_database_writes_to_the_disk_and_changes_nothing(client, installation):
    written = installation.settings.home / "deploycore.db-wal"
    client.get("/readyz")
    before = written.read_bytes()
    installation.store.check_writing(patience=5)
    assert written.read_bytes() != before
    assert client.get("/readyz").status_code == 200


def test_deliveries_are_rejected_immediately_while_the_disk_is_full(client, installation, deliver):
    assert deliver(push()).status_code == 202
    with installation.store._database.reading() as connection:
        own = connection.connection.dbapi_connection
        own.execute("PRAGMA max_page_count = 1")  # it can't grow any more
    with installation.store._database.writing_by_name() as statements:
        statements._connection.execute("PRAGMA max_page_count = 1")
    statuses = {deliver(push(after=f"{n:040x}", actor="x" * 200)).status_code for n in range(60)}
    assert statuses <= {202, 503}
    assert 503 in statuses


def test_readiness_includes_the_worker(serving, secret, worker):
    assert serving(worker=worker).get("/readyz").json()["checks"]["workers"] == "ok"
    worker.stop(0)
    answer = serving(worker=worker).get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["workers"]) == (503, "failed")


def test_a_worker_is_healthy_once_it_has_processed_the_backlog(installation, secret, monkeypatch):
    def settle(installation, *rest):
        installation.store.triggers.settle([trigger.id])

    monkeypatch.setattr("deploycore.worker.worker.process_application", settle)
    trigger = installation.store.triggers.add("shop", cause="push")
    with Worker(installation) as worker:
        assert worker.wait_until_idle(60)
        assert worker.is_well


def test_a_worker_with_a_dead_thread_is_not_healthy(installation, monkeypatch):
    monkeypatch.setattr(Worker, "_dispatch", lambda self: None)
    with Worker(installation) as worker:
        worker._running[0].join(60)
        assert not worker.is_well


def test_readiness_is_checked_at_most_once_a_second(client, installation, monkeypatch):
    asked = []
    original = installation.store.triggers.seconds_to_next
    monkeypatch.setattr(
        installation.store.triggers, "seconds_to_next", lambda: asked.append(1) or original()
    )
    monkeypatch.setattr("deploycore.server.health._FRESH_SECONDS", 1e9)
    for _ in range(20):
        client.get("/readyz")
    assert len(asked) == 1


def test_metrics_require_a_token_unless_they_are_public(client, serving, token):
    header = token("read")
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=header).status_code == 200
    assert serving(metrics_open=True).get("/metrics").status_code == 200


def test_metrics_report_the_current_state(serving, create, installation, worker):
    from tests.server.acme import body_of, signed

    secret = create("shop")
    client = serving(metrics_open=True, worker=worker)
    for each in (push(), push(after="c" * 40), push("develop")):
        body = body_of(each)
        client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    client.post("/webhooks/shop", content=b"")
    client.post("/webhooks/nope", content=b"")
    client.get("/some/strange/path")
    record = installation.store.deployments.request("shop", ref="main")
    installation.store.deployments.advance(record.id, "failed")
    text = client.get("/metrics").text
    webhooks = "deploycore_webhooks_total"
    assert value(text, f'{webhooks}{{outcome="accepted",reason=""}}') == 2
    assert value(text, f'{webhooks}{{outcome="ignored",reason="another_ref"}}') == 1
    assert value(text, f'{webhooks}{{outcome="refused",reason="bad_signature"}}') == 1
    assert value(text, f'{webhooks}{{outcome="refused",reason="unknown_application"}}') == 1
    assert value(text, 'deploycore_triggers_waiting{due="now"}') == 2
    assert value(text, "deploycore_triggers_oldest_seconds") >= 0
    assert value(text, 'deploycore_deployments{state="failed"}') == 1
    assert value(text, 'deploycore_deployments{state="healthy"}') == 0
    assert value(text, "deploycore_worker_threads") == 3
    route = 'method="POST",route="/webhooks/{application}",status="202"'
    assert value(text, f"deploycore_http_request_seconds_count{{{route}}}") == 3
    assert "strange" not in text
    assert "nope" not in text
    assert secret not in text


def test_without_a_database_only_process_metrics_are_reported(
    serving, secret, installation, monkeypatch
):
    def fail():
        raise StoreError("gone")

    client = serving(metrics_open=True)
    monkeypatch.setattr(installation.store.triggers, "counts", fail)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "deploycore_worker_threads 0.0" in answer.text
    assert "deploycore_triggers_waiting" not in answer.text
