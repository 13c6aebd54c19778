"""Webhooks over REST, and the deliveries that were received."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event

from deploycore.errors import StoreError
from deploycore.server.recorder import Recorder
from deploycore.server.verdicts import BAD_SIGNATURE, STALE, Subject, Verdict
from deploycore.store.deliveries import DELIVERIES_MOST
from tests.server.acme import body_of, pull_request, push, signed

PATH = "/api/v1/applications/shop/webhook"
DELIVERIES = "/api/v1/applications/shop/deliveries"
AT = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def admin(token):
    return token("admin")


@pytest.fixture
def deliveries(client, token):
    """The recorded deliveries, as a client reads them."""
    header = token("read")
    return lambda path=DELIVERIES: client.get(path, headers=header).json()


@contextmanager
def writes():
    """The statements of a block that write."""
    seen = []

    def note(connection, cursor, statement, *_):
        if statement.split()[0] in ("INSERT", "UPDATE", "DELETE"):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_a_webhook_is_registered_rotated_revealed_and_removed(
    client, admin, secret, installation, monkeypatch, tmp_path
):
    monkeypatch.setenv("ACME_NOTES", str(tmp_path / "notes"))
    first = client.get(PATH, headers=admin).json()
    assert (first["exists"], first["hosts_id"], first["deploys_pushes"]) == (True, None, True)
    body = {"server_url": "https://deploy.example.com"}
    made = client.post(PATH, json=body, headers=admin).json()
    assert (made["hosts_id"], made["url"]) == (
        "hook-1",
        "https://deploy.example.com/webhooks/shop",
    )
    rotated = client.post(f"{PATH}/rotate", json={"grace_seconds": 60}, headers=admin).json()
    assert rotated["is_former_valid"] is True
    revealed = client.post(f"{PATH}/reveal", json={}, headers=admin).json()["secret"]
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert [each[0] for each in notes] == ["register", "register"]
    assert (notes[0][3], notes[1][3]) == (secret, revealed)
    assert revealed not in client.get(PATH, headers=admin).text
    removed = client.delete(PATH, headers=admin).json()
    assert removed == {"removed_at_host": True, "remains": None}
    assert client.get(PATH, headers=admin).json()["exists"] is False
    for method, path in (("post", f"{PATH}/rotate"), ("post", f"{PATH}/reveal"), ("delete", PATH)):
        assert getattr(client, method)(path, headers=admin).status_code == 404


def test_a_manually_configured_webhook_only_has_a_secret(client, admin, create):
    create("blog")
    path = PATH.replace("shop", "blog")
    client.delete(path, headers=admin)
    missing = client.post(path, json={"by_hand": True}, headers=admin)
    assert (missing.status_code, "public address" in missing.json()["message"]) == (422, True)
    body = {"by_hand": True, "server_url": "https://deploy.example.com"}
    made = client.post(path, json=body, headers=admin).json()
    assert (made["exists"], made["hosts_id"]) == (True, None)
    removed = client.delete(path, headers=admin).json()
    assert removed["removed_at_host"] is False
    assert "set up by hand" in removed["remains"]


def test_an_error_of_the_host_keeps_the_webhook(client, admin, monkeypatch):
    body = {"server_url": "https://deploy.example.com"}
    client.post(PATH, json=body, headers=admin)
    monkeypatch.setenv("ACME_FAILS", "1")
    for method, path in (("post", f"{PATH}/rotate"), ("post", PATH), ("delete", PATH)):
        answer = client.request(method, path, headers=admin, json=body if path == PATH else {})
        if method != "delete":
            assert answer.json()["code"] == "provider_unavailable"
    assert client.get(PATH, headers=admin).json()["hosts_id"] == "hook-1"


def test_only_administrators_can_change_webhooks_and_see_the_secret(client, token):
    for header in [token(role) for role in ("read", "deploy")]:
        assert client.get(PATH, headers=header).status_code == 200
        assert client.get(DELIVERIES, headers=header).status_code == 200
        for method, path in (
            ("post", PATH),
            ("delete", PATH),
            ("post", f"{PATH}/rotate"),
            ("post", f"{PATH}/reveal"),
        ):
            assert getattr(client, method)(path, headers=header).status_code == 403


def test_each_delivery_is_recorded_with_its_verdict(deliver, deliveries, installation):
    deliver(push(), delivery="one")
    deliver(push(), delivery="one")
    deliver(push("other", after="c" * 40))
    deliver(push(repository="acme/else"))
    deliver(pull_request())
    deliver()
    found = deliveries()["items"][::-1]
    told = [(each["outcome"], each["reason"], each["event"], each["ref"]) for each in found]
    assert told == [
        ("accepted", "", "push", "main"),
        ("known", "", "push", "main"),
        ("ignored", "another_ref", "push", "other"),
        ("ignored", "another_repository", "push", "main"),
        ("ignored", "no_previews", "pull_request", "feature"),
        ("ignored", "no_event", "", ""),
    ]
    accepted = found[0]
    assert (accepted["commit"], accepted["actor"], accepted["sender"]) == (
        "b" * 40,
        "ada",
        "testclient",
    )
    assert all(each["message"] for each in found[1:])
    trigger, deployment = (
        accepted["trigger"],
        installation.store.deployments.request("shop", ref="main"),
    )
    installation.store.triggers.settle([trigger], deployment=deployment.id)
    assert deliveries()["items"][-1]["deployment"] == deployment.id


def test_rejected_deliveries_are_counted_by_reason(client, secret, deliver, deliveries):
    body = body_of(push())
    for _ in range(3):
        client.post("/webhooks/shop", content=body, headers=signed(body, "wrong"))
    deliver(push(), sent_at="2020-01-01T00:00:00Z")
    wrong = b"nothing"
    client.post("/webhooks/shop", content=wrong, headers=signed(wrong, secret))
    client.post("/webhooks/nope", content=body)
    found = deliveries()
    assert found["items"] == []
    counted = {each["reason"]: each["count"] for each in found["refused"]}
    assert counted == {"bad_signature": 3, "stale": 1, "malformed": 1}
    messages = {each["reason"]: each["message"] for each in found["refused"]}
    assert messages["malformed"] == "This is nothing that Acme sends."


def test_deliveries_are_read_page_by_page(deliver, deliveries):
    for number in range(5):
        deliver(push(f"branch-{number}"))
    page = deliveries(f"{DELIVERIES}?limit=2")
    refs = [each["ref"] for each in page["items"]]
    while page["next"]:
        page = deliveries(page["next"])
        refs += [each["ref"] for each in page["items"]]
    assert refs == [f"branch-{number}" for number in range(4, -1, -1)]


def test_a_flood_of_rejected_deliveries_does_not_write_per_request(
    client, deliveries, installation
):
    body, recorder = body_of(push()), client.application.recorder
    with writes() as seen:
        for _ in range(200):
            client.post("/webhooks/shop", content=body, headers=signed(body, "wrong"))
    assert seen == []
    with writes() as seen:
        recorder.flush()
        recorder.flush()
    assert len(seen) <= 2
    assert [each["count"] for each in deliveries()["refused"]] == [200]


def test_a_flood_of_signed_deliveries_keeps_the_most_recent_ones(installation, create):
    create("shop")
    recorder = Recorder(installation.store, now=lambda: AT)
    for number in range(1000):
        recorder.note("shop", ignored(f"branch-{number}"), "192.0.2.1")
    with writes() as seen:
        recorder.flush()
    assert len(seen) < 10
    found = installation.store.deliveries.list("shop")
    assert [each.ref for each in found] == [
        f"branch-{number}" for number in range(999, 999 - DELIVERIES_MOST, -1)
    ]
    (dropped,) = installation.store.deliveries.list_refused("shop")
    assert (dropped.outcome, dropped.count) == ("dropped", 1000 - DELIVERIES_MOST)


def test_buffered_deliveries_are_bounded_for_any_number_of_applications(installation):
    recorder = Recorder(installation.store, now=lambda: AT)
    for number in range(5000):
        recorder.note(f"app-{number}", ignored("main"), "")
        recorder.note(f"app-{number}", BAD_SIGNATURE, "")
    assert len(recorder._judged) + len(recorder._counted) <= 2000
    with writes() as seen:
        recorder.flush()
    assert len(seen) < 20  # none of these applications exists


def test_no_count_is_lost_on_a_database_error(installation, create, monkeypatch, caplog):
    create("shop")
    recorder, store = Recorder(installation.store, now=lambda: AT), installation.store.deliveries
    original = store.add

    def fail(records, **options):
        raise StoreError("The database is locked.", hint="Wait.")

    monkeypatch.setattr(store, "add", fail)
    for _ in range(3):
        recorder.note("shop", STALE, "192.0.2.1")
        recorder.note("shop", ignored("main"), "192.0.2.1")
        recorder.flush()
    assert caplog.text.count("cannot be recorded") == 1
    monkeypatch.setattr(store, "add", original)
    recorder.flush()
    assert len(store.list("shop")) == 3
    assert [each.count for each in store.list_refused("shop")] == [3]


def test_delivery_texts_are_printable_and_short(installation, create):
    create("shop")
    recorder = Recorder(installation.store, now=lambda: AT)
    hostile = "\x1b[31m\0\ud83d\u202e" + "x" * 10_000
    subject = Subject("push", hostile, "a" * 40, hostile, hostile)
    recorder.note("shop", Verdict(202, "ignored", "another_ref", subject=subject), hostile)
    recorder.flush()
    (found,) = installation.store.deliveries.list("shop")
    for text in (found.ref, found.actor, found.sender, found.delivery):
        assert text.isprintable()
        assert len(text) <= 300


def test_the_last_deliveries_are_written_when_the_server_stops(installation, create):
    create("shop")
    with Recorder(installation.store, now=lambda: AT) as recorder:
        recorder.start()
        recorder.note("shop", ignored("main"), "")
    assert [each.ref for each in installation.store.deliveries.list("shop")] == ["main"]


def ignored(ref):
    return Verdict(202, "ignored", "another_ref", subject=Subject("push", ref))


def test_responses_never_contain_a_webhook_secret(client, token, secret, installation):
    installation.add_provider("other", "acme", {}, {"token": SecretStr("hunter2-of-other")})
    header = token("read")
    for path in (PATH, DELIVERIES, "/api/v1/applications/shop", "/api/v1/providers"):
        text = client.get(path, headers=header).text
        assert secret not in text
        assert "hunter2" not in text
