"""The responses to requests of git hosts and of attackers to a webhook."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event

from deploycore.errors import StoreError
from deploycore.events import WebhookDelivery
from deploycore.provider import connection
from deploycore.server import deliveries as acceptance
from deploycore.server import storage_locks as turns
from deploycore.store.direct import DirectStatements
from tests.server import asgi
from tests.server.acme import body_of, pull_request, push, signed

KNOWN = {
    "status": "known",
    "message": "A delivery with this identifier or this body was accepted before. To deploy again,"
    " run: deploycore deploy shop",
}


def code_of(answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code
    assert found["message"] == found["detail"]
    return found["code"]


def test_a_push_to_the_configured_ref_is_accepted_with_its_trigger_id(deliver, triggers):
    answer = deliver(push(), delivery="d-1")
    [trigger] = triggers()
    assert (answer.status_code, answer.json()) == (
        202,
        {"status": "accepted", "trigger": trigger.id},
    )
    assert (trigger.cause, trigger.ref, trigger.commit) == ("push", "main", "b" * 40)
    assert (trigger.actor, trigger.delivery, trigger.settled_at) == ("ada", "d-1", None)


def test_an_accepted_delivery_is_on_disk_before_the_response(deliver, home):
    number = deliver(push()).json()["trigger"]
    with closing(sqlite3.connect(home / "deploycore.db")) as other:
        found = other.execute("SELECT application FROM triggers WHERE id = ?", [number])
        assert found.fetchall() == [("shop",)]


def test_a_tag_that_is_the_configured_ref_is_accepted(create, serving, triggers):
    secret = create("shop", ref="v1")
    body = body_of(push("v1", kind="tag", before=None))
    answer = serving().post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.status_code == 202
    assert [trigger.ref for trigger in triggers()] == ["v1"]


@pytest.mark.parametrize(
    ("ref", "unresolved", "is_it"),
    [
        ("main", ["refs/heads/develop", "refs/heads/main"], True),
        ("refs/heads/main", ["refs/heads/main"], True),
        ("main", ["refs/tags/main"], True),
        ("refs/heads/main", ["refs/tags/main"], False),
        ("main", ["refs/heads/develop"], False),
        ("main", ["refs/heads/topic/main"], False),
    ],
)
def test_a_ref_without_its_commit_is_compared_too(
    create, serving, triggers, ref, unresolved, is_it
):
    secret = create("shop", ref=ref)
    body = body_of({"repository": "acme/shop", "changes": [], "unresolved": unresolved})
    answer = serving().post("/webhooks/shop", content=body, headers=signed(body, secret))
    told = answer.json()
    assert (answer.status_code, told.get("reason")) == (202, None if is_it else "another_ref")
    assert [(each.ref, each.commit) for each in triggers()] == [(ref, None)] * is_it


@pytest.mark.parametrize(
    ("ref", "kind", "is_it"),
    [
        ("refs/heads/main", "branch", True),
        ("refs/tags/main", "tag", True),
        ("refs/tags/main", "branch", False),
    ],
)
def test_a_ref_may_be_written_in_full(create, serving, triggers, ref, kind, is_it):
    secret = create("shop", ref=ref)
    body = body_of(push("main", kind=kind))
    answer = serving().post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert (answer.json()["status"] == "accepted") == is_it
    assert [trigger.ref for trigger in triggers()] == [ref] * is_it


def test_a_branch_recreated_at_its_previous_commit_creates_a_trigger(deliver, triggers):
    made = push(before=None, after="a" * 40)
    deliver(made, delivery="d-1")
    deliver(push(before="a" * 40, after="b" * 40), delivery="d-2")
    assert deliver(made, delivery="d-3").json()["status"] == "accepted"
    assert deliver(made, delivery="d-4").json()["status"] == "known"
    assert [each.commit[0] for each in triggers()] == ["a", "b", "a"]


@pytest.mark.parametrize("name", ["nope", "Shop", "a%00b", "%F0%9F%8C%8D", "x" * 300])
def test_an_unknown_application_is_refused(client, name):
    answer = client.post(f"/webhooks/{name}", content=b"{}")
    assert (answer.status_code, code_of(answer)) == (404, "unknown_application")


def test_an_application_without_a_webhook_is_rejected_as_unknown(installation, client, tmp_path):
    installation.add_application(
        "bare", provider="work", repository="acme/bare", ref="main", target=tmp_path / "bare"
    )
    known, unknown = (client.post(f"/webhooks/{name}", content=b"{}") for name in ("bare", "none"))
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_the_body_for_an_unknown_application_is_not_read(client):
    async def receive():
        raise AssertionError("the body was read")

    assert asgi.post(client.app, "/webhooks/nope", receive) == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Acme-Signature": ""},
        {"X-Acme-Signature": "sha256="},
        {"X-Acme-Signature": "sha1=" + "0" * 64},
        {"X-Acme-Signature": "sha256=" + "0" * 64},
        {"X-Acme-Signature": "sha256=" + "é" * 64},
        {"X-Acme-Signature": "sha256=" + "0" * 10_000},
    ],
    ids=["none", "empty", "no digest", "another kind", "wrong", "not hexadecimal", "long"],
)
def test_an_invalid_or_missing_signature_is_rejected(client, secret, triggers, headers):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.post("/webhooks/shop", content=body_of(push()), headers=encoded)
    assert (answer.status_code, code_of(answer)) == (401, "bad_signature")
    assert "Give the git host the webhook's secret" in answer.json()["hint"]
    assert triggers() == []
    body = body_of(push())
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert (answer.status_code, len(triggers())) == (202, 1)


def test_a_signature_with_the_secret_of_another_application_is_rejected(create, client, triggers):
    other = create("blog", repository="acme/blog")
    body = body_of(push())
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, other))
    assert (answer.status_code, triggers()) == (401, [])


def test_two_signatures_are_rejected(client, secret):
    body = body_of(push())
    right = signed(body, secret)["X-Acme-Signature"]
    headers = [("X-Acme-Signature", right), ("X-Acme-Signature", "sha256=" + "0" * 64)]
    assert client.post("/webhooks/shop", content=body, headers=headers).status_code == 401


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 5_000_000])
def test_a_body_declared_too_large_is_rejected(client, serving, secret, size):
    body = b" " * size
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert (answer.status_code, code_of(answer)) == (413, "too_large")
    assert answer.headers["connection"] == "close"
    assert "deploycore serve --body-limit KIB" in answer.json()["hint"]
    raised = serving(body_bytes_most=size)
    answer = raised.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert code_of(answer) == "malformed"  # so it was read


def test_a_body_of_unknown_size_is_read_only_up_to_the_limit(serving, secret):
    taken = []

    async def receive():
        taken.append(1000)
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    assert asgi.post(serving(body_bytes_most=10_000).app, "/webhooks/shop", receive) == 413
    assert sum(taken) == 11_000


def test_a_body_declared_too_large_is_not_read(client):
    async def receive():
        raise AssertionError("the body was read")

    for length in ("1048577", "9" * 30):
        headers = {"Content-Length": length}
        assert asgi.post(client.app, "/webhooks/shop", receive, headers) == 413


def test_reading_a_slow_body_times_out(serving, secret):
    async def receive():
        await asyncio.sleep(3600)

    client = serving(body_seconds_most=0.05)
    assert asgi.post(client.app, "/webhooks/shop", receive) == 408
    body = body_of(push())
    answer = serving().post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.status_code == 202  # sent again, by a faster network


def test_request_bodies_share_a_memory_limit_and_release_it(serving, secret):
    client = serving(bodies_bytes_most=1000)
    for _ in range(3):
        answer = client.post("/webhooks/shop", content=b" " * 900)
        assert answer.status_code == 401  # so it was read, each time
    answer = client.post("/webhooks/shop", content=b" " * 1001)
    assert (answer.status_code, code_of(answer)) == (503, "busy")
    assert answer.headers["retry-after"] == "60"
    assert "again in a minute" in answer.json()["hint"]
    assert client.post("/webhooks/shop", content=b" " * 1000).status_code == 401


def test_the_name_of_the_pusher_is_stored_as_one_line_of_limited_length(
    installation, deliver, triggers
):
    assert deliver(push(actor="Ada\0\n" + "x" * 500)).status_code == 202
    (trigger,) = installation.store.triggers.list("shop")
    assert trigger.actor == "Ada" + "x" * 197


def test_a_truncated_body_creates_no_trigger(client, triggers):
    async def receive():
        return {"type": "http.disconnect"}

    assert asgi.post(client.app, "/webhooks/shop", receive) == 400
    assert triggers() == []


def test_a_body_of_exactly_the_limit_is_accepted(serving, secret):
    body = body_of(push())
    client = serving(body_bytes_most=len(body))
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.status_code == 202


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"events": 3}', b"\xff\xfe", b"[" * 50_000])
def test_a_signed_but_malformed_delivery_is_rejected(client, secret, triggers, body):
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert (answer.status_code, code_of(answer)) == (422, "malformed")
    assert triggers() == []


def test_the_reason_for_an_invalid_delivery_is_returned_and_logged(client, secret, caplog):
    body = b'{"events": 3}'
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert "nothing that Acme sends" in answer.text
    assert "a webhook delivery for shop was rejected: This is nothing that Acme" in caplog.text


def test_a_redelivery_is_recognized_by_the_identifier_of_the_host(deliver, triggers):
    first = deliver(push(), delivery="same")
    again = deliver(push(after="c" * 40), delivery="same")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == KNOWN
    assert len(triggers()) == 1


def test_a_replay_with_another_identifier_is_recognized_by_its_body(deliver, triggers):
    deliver(push())
    assert [deliver(push()).json() for _ in range(3)] == [KNOWN] * 3
    assert len(triggers()) == 1


def test_a_replay_after_newer_pushes_is_recognized(deliver, triggers):
    deliver(push(before="a" * 40, after="b" * 40))
    deliver(push(before="b" * 40, after="c" * 40))
    assert deliver(push(before="a" * 40, after="b" * 40)).json() == KNOWN
    assert len(triggers()) == 2


def test_a_push_that_was_undone_and_repeated_is_not_a_replay(deliver, triggers):
    there, back = push(before="a" * 40, after="b" * 40), push(before="b" * 40, after="a" * 40)
    pushed = [there, back, there, back, there]
    assert [deliver(each).status_code for each in pushed] == [202] * 5
    assert deliver(there).json() == KNOWN
    assert [trigger.commit[0] for trigger in triggers()] == list("babab")


def test_two_applications_of_one_repository_accept_the_same_delivery(create, serving, triggers):
    secrets = {name: create(name) for name in ("shop", "stage")}
    client, body = serving(), body_of(push())
    for name, secret in secrets.items():
        headers = signed(body, secret, delivery="one")
        assert client.post(f"/webhooks/{name}", content=body, headers=headers).status_code == 202
    assert (len(triggers("shop")), len(triggers("stage"))) == (1, 1)


@pytest.mark.parametrize("hours", [-25, 25])
def test_an_old_delivery_is_rejected(deliver, triggers, hours):
    at = datetime.now(UTC) + timedelta(hours=hours)
    answer = deliver(push(), sent_at=at.isoformat())
    assert (answer.status_code, code_of(answer), triggers()) == (422, "stale", [])


def test_a_recent_delivery_is_accepted(deliver):
    at = datetime.now(UTC) - timedelta(hours=23)
    assert deliver(push(), sent_at=at.isoformat()).status_code == 202


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "no_event"),
        ([push(repository="acme/other")], "another_repository"),
        ([push("develop")], "another_ref"),
        ([push("main2")], "another_ref"),
        ([push(after=None)], "deleted"),
        ([pull_request()], "no_previews"),
        ([pull_request(repository="acme/other")], "another_repository"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_irrelevant_event_is_acknowledged_and_creates_no_trigger(
    deliver, triggers, events, reason
):
    answer = deliver(*events)
    assert (answer.status_code, answer.json()) == (202, {"status": "ignored", "reason": reason})
    assert triggers() == []


@pytest.mark.parametrize("auto_deploy", [None, {"push": False}])
def test_pushes_are_acknowledged_when_push_deployments_are_disabled(create, serving, auto_deploy):
    secret = create("shop", auto_deploy=auto_deploy)
    body = body_of(push())
    answer = serving().post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.json() == {"status": "ignored", "reason": "auto_deploy_is_off"}


def test_repository_names_are_compared_case_insensitively(deliver):
    assert deliver(push(repository="ACME/Shop")).status_code == 202


def test_a_truncated_list_of_changes_may_include_the_configured_ref(deliver, triggers):
    assert deliver(push("develop", truncated=True)).status_code == 202
    assert [(each.ref, each.commit) for each in triggers()] == [("main", None)]


def test_one_relevant_event_among_several_is_enough(deliver, triggers):
    answer = deliver(push("develop"), push("main"), pull_request())
    assert answer.json()["status"] == "accepted"
    assert len(triggers()) == 1


def test_deleting_a_branch_does_not_affect_a_tag_of_the_same_name(deliver, triggers):
    event = push(after=None)
    event["changes"].append({"kind": "tag", "name": "main", "before": None, "after": "d" * 40})
    assert deliver(event).status_code == 202
    assert [each.commit for each in triggers()] == ["d" * 40]


def test_a_pull_request_is_passed_to_previews(serving, secret, installation):
    seen = []
    client = serving(previews=lambda *given: seen.append(given))
    body = body_of(pull_request())
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert answer.json() == {"status": "accepted", "reason": "pull_request"}
    [(given, application, event)] = seen
    assert (given, application.name, event.number) == (installation, "shop", 7)
    assert installation.store.triggers.open("shop") == []


def test_a_replayed_pull_request_is_recognized_by_its_body(serving, secret, installation):
    seen = []
    client = serving(previews=lambda *given: seen.append(given))
    body = body_of(pull_request(), pull_request(number=8))

    def send():
        return client.post("/webhooks/shop", content=body, headers=signed(body, secret))

    assert send().json() == {"status": "accepted", "reason": "pull_request"}
    assert send().json() == KNOWN
    assert [event.number for _, _, event in seen] == [7, 8]
    assert installation.store.triggers.open("shop") == []


def test_a_pull_request_that_could_not_be_stored_is_accepted_when_resent(serving, secret):
    outcomes = iter([StoreError("The database is busy."), "made"])

    def previews(*given):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    client, body = serving(previews=previews), body_of(pull_request())
    statuses = [
        client.post("/webhooks/shop", content=body, headers=signed(body, secret)).status_code
        for _ in range(2)
    ]
    assert statuses == [503, 202]


def test_a_recent_change_by_another_process_applies_before_a_push_is_ignored(
    installation, client, deliver, monkeypatch, tmp_path
):
    now = [1000.0]
    monkeypatch.setattr(client.application.directory, "_clock", lambda: now[0])
    client.application.directory.invalidate()
    event = push("release")
    assert deliver(event).json()["reason"] == "another_ref"
    definition = installation.store.get_application("shop").definition
    installation.apply([definition.model_copy(update={"ref": "release"})])
    now[0] += 1.5
    assert deliver(event).json()["status"] == "accepted"


def test_a_timestamp_without_a_time_zone_is_invalid(deliver):
    answer = deliver(push(), sent_at="2026-11-25T10:15:00")
    assert (answer.status_code, code_of(answer)) == (422, "malformed")


@pytest.fixture
def failing(installation, monkeypatch):
    """Has writing fail, after so many seconds; gives what would have been written."""

    def start(seconds: float) -> list:
        written = []

        def fail(*arguments, **more):
            written.append(arguments)
            time.sleep(seconds)
            raise StoreError("The database is busy.")

        monkeypatch.setattr(turns, "_LONG_SECONDS", 0.1)
        monkeypatch.setattr(installation.store.triggers, "add", fail)
        return written

    return start


@pytest.fixture
def judge(client, installation, secret):
    """The status of a push that has waited since then: ``judge(1, time.monotonic())``."""
    acceptor = acceptance.Acceptor(
        installation,
        client.application.directory,
        replay_window=timedelta(hours=24),
    )

    def run(number: int, came_at: float) -> int:
        body = body_of(push(after=f"{number:040x}"))
        headers = {name.lower(): value for name, value in signed(body, secret).items()}
        return acceptor.accept("shop", WebhookDelivery(headers, body), came_at=came_at).status

    return run


def test_a_delivery_does_not_wait_again_after_another_failed_to_write(failing, judge, monkeypatch):
    written, came_at = failing(0.2), time.monotonic()
    assert [judge(number, came_at) for number in range(4)] == [503] * 4
    assert len(written) == 1
    assert judge(4, time.monotonic()) == 503
    assert len(written) == 2
    monkeypatch.undo()  # the database can be written again, and the host delivers once more
    assert judge(0, time.monotonic()) == 202


def test_an_instant_failure_affects_only_one_delivery(failing, judge):
    written, came_at = failing(0), time.monotonic()
    assert [judge(number, came_at) for number in range(4)] == [503] * 4
    assert len(written) == 4


def test_a_hanging_plugin_does_not_delay_deliveries_of_other_applications(
    client, installation, create, monkeypatch
):
    secret = create("elsewhere", repository="acme/elsewhere")
    installation.add_provider("other", "acme", {}, {"token": SecretStr("hunter2-of-other")})
    definition = installation.store.get_application("elsewhere").definition
    installation.apply([definition.model_copy(update={"provider": "other"})])
    released, hanging = threading.Event(), threading.Event()
    open_provider = installation.open_provider

    def opening(name):
        if name == "work":
            hanging.set()
            released.wait(60)
        return open_provider(name)

    monkeypatch.setattr(installation, "open_provider", opening)
    threads = [
        threading.Thread(target=client.post, args=("/webhooks/shop",), kwargs={"content": b"{}"})
        for _ in range(4)
    ]
    try:
        for thread in threads:
            thread.start()
        assert hanging.wait(60)
        time.sleep(0.2)  # for the others to come that far
        body = body_of(push(repository="acme/elsewhere"))
        answer = client.post("/webhooks/elsewhere", content=body, headers=signed(body, secret))
        assert answer.status_code == 202
        assert all(thread.is_alive() for thread in threads)
    finally:
        released.set()
        for thread in threads:
            thread.join()


def test_a_new_secret_applies_at_once_and_the_previous_one_during_its_grace(
    installation, client, secret
):
    def status(with_secret: str, number: int) -> int:
        body = body_of(push(after=f"{number:040x}"))
        headers = signed(body, with_secret)
        return client.post("/webhooks/shop", content=body, headers=headers).status_code

    assert status(secret, 1) == 202
    record = installation.webhooks.rotate("shop", grace=timedelta(hours=1))
    new = installation.secrets.reveal(record.secret).get_secret_value()
    assert [status(new, 2), status(secret, 3)] == [202, 202]
    with installation.store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE webhooks SET former_until = '2020-01-01 00:00:00'")
    client.application.directory.invalidate()
    assert [status(new, 4), status(secret, 5)] == [202, 401]


def test_a_removed_webhook_is_unknown(installation, deliver, client):
    assert deliver(push()).status_code == 202
    installation.webhooks.remove("shop")
    client.application.directory.invalidate()
    assert deliver(push(after="c" * 40)).status_code == 404


def test_a_new_application_is_found_after_lookups_of_others(client, create):
    assert client.post("/webhooks/blog", content=b"").status_code == 404
    secret = create("blog", repository="acme/blog")
    client.application.directory.invalidate()
    body = body_of(push(repository="acme/blog"))
    answer = client.post("/webhooks/blog", content=body, headers=signed(body, secret))
    assert answer.status_code == 202


class Statements:
    """Counts what is sent to the database of an installation, and not to those of others: what
    other tests have left behind may still ask them."""

    def __init__(self, installation) -> None:
        self._home = str(installation.settings.home)
        self._patch = pytest.MonkeyPatch()
        self.seen: list[str] = []

    def __enter__(self):
        event.listen(Engine, "before_cursor_execute", self._note)
        fetched = DirectStatements._fetched

        def fetch(statements, name, text, bound):
            ((_, _, path), *_) = statements._connection.execute("PRAGMA database_list")
            if self._home in str(path):
                self.seen.append(_what_is_read(text))
            return fetched(statements, name, text, bound)

        self._patch.setattr(DirectStatements, "_fetched", fetch)
        return self

    def __exit__(self, *exception):
        event.remove(Engine, "before_cursor_execute", self._note)
        self._patch.undo()

    def _note(self, connection, cursor, statement, *rest):
        if self._home in str(connection.engine.url):
            self.seen.append(_what_is_read(statement))


def _what_is_read(statement):
    """The table of the first column that is selected, or the statement's first word."""
    word, *rest = statement.split()
    return rest[0].partition(".")[0] if word == "SELECT" else word


@pytest.mark.parametrize(("name", "status"), [("nope", 404), ("shop", 401)])
def test_rejecting_an_unsigned_request_reads_one_row_and_opens_no_provider(
    installation, client, monkeypatch, name, status
):
    now = [1000.0]
    monkeypatch.setattr(client.application.directory, "_clock", lambda: now[0])
    monkeypatch.setattr(connection, "_FRESH_SECONDS", float("inf"))
    client.application.directory.invalidate()
    opened = []
    monkeypatch.setattr(
        installation, "open_provider", _counting(installation.open_provider, opened)
    )
    with Statements(installation) as statements:
        for _ in range(50):
            assert client.post(f"/webhooks/{name}", content=b"{}").status_code == status
    # The webhook each time; once the rest of what is known of the application, and its provider,
    # which is otherwise read again each second.
    rest = {"webhooks": 51, "applications": 1, "providers": 2, "repositories": 1}
    assert Counter(statements.seen) == (rest if name == "shop" else {"webhooks": 50})
    assert len(opened) == (name == "shop")
    with Statements(installation) as statements:
        for odd in ("x" * 64, "a%00b", "%C3%A4"):
            assert client.post(f"/webhooks/{odd}", content=b"{}").status_code == 404
    assert statements.seen == []  # no application can have such a name


def test_a_webhook_registered_by_another_process_is_recognized_at_once(
    installation, client, create, triggers
):
    assert client.post("/webhooks/nope", content=b"{}").status_code == 404
    other = create("other")
    body = body_of(push())
    assert client.post("/webhooks/other", content=body, headers=signed(body, other)).is_success
    assert len(triggers("other")) == 1


def _counting(function, calls):
    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


def test_rejections_are_logged_without_the_body_and_are_rate_limited(client, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(200):
            client.post(
                "/webhooks/shop",
                content=b"very-private-content",
                headers={"X-Acme-Signature": "sha256=very-private"},
            )
    ours = [each for each in caplog.records if each.name.startswith("deploycore.server")]
    assert 0 < len(ours) < 50
    assert "bad_signature" in caplog.text
    assert "very-private" not in caplog.text


def test_the_host_is_asked_to_retry_when_the_database_is_unavailable(
    deliver, installation, monkeypatch
):
    deliver(push())

    def fail(*arguments, **more):
        raise StoreError("The database /private/place is gone.")

    monkeypatch.setattr(installation.store.triggers, "add", fail)
    answer = deliver(push(after="e" * 40))
    assert (answer.status_code, code_of(answer)) == (503, "unavailable")
    assert answer.headers["retry-after"] == "60"
    assert "private" not in answer.text


def test_unsigned_requests_cannot_write_to_the_log_during_a_database_outage(
    client, installation, monkeypatch, caplog
):
    def fail(name):
        raise StoreError("The database is gone.")

    async def receive():
        raise AssertionError("the body was read")

    monkeypatch.setattr(installation.store, "find_webhook", fail)
    client.application.directory.invalidate()
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            assert asgi.post(client.app, "/webhooks/nope", receive) == 503
            path = "/webhooks/nope\n2026-11-25 10:15:30 ERROR forged"
            assert asgi.post(client.app, path, receive) == 404  # no application has such a name
    ours = [each for each in caplog.records if each.name.startswith("deploycore.server")]
    assert 0 < len(ours) <= 50  # of 200, ten of each of five kinds
    assert "The database is gone." in caplog.text
    assert "forged" not in caplog.text


def test_failures_to_verify_deliveries_are_not_logged_for_each_request(
    client, installation, monkeypatch, caplog
):
    def fail(*arguments, **more):
        raise StoreError("The key is gone.")

    monkeypatch.setattr(installation.webhooks, "secrets", fail)
    with caplog.at_level(logging.WARNING, "deploycore.server.deliveries"):
        for _ in range(50):
            assert client.post("/webhooks/shop", content=b"").status_code == 503
    ours = [each for each in caplog.records if each.name == "deploycore.server.deliveries"]
    assert 0 < len(ours) <= 10


def test_a_provider_that_cannot_be_opened_is_not_a_server_error(
    installation, client, secret, monkeypatch
):
    installation.secrets.reveal(installation.store.get_provider("work").secrets["token"])
    (installation.settings.home / "secret.key").unlink()
    body = body_of(push())
    answer = client.post("/webhooks/shop", content=body, headers=signed(body, secret))
    assert (answer.status_code, code_of(answer)) == (503, "unavailable")


def test_the_time_of_a_delivery_is_recorded(installation, deliver):
    assert installation.store.webhooks.get("shop").delivered_at is None
    deliver(push("develop"))
    assert installation.store.webhooks.get("shop").delivered_at is not None


def test_other_methods_are_refused(client):
    answer = client.get("/webhooks/shop")
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_a_pull_request_with_an_unstorable_number_is_invalid(deliver, number):
    assert deliver(pull_request(number=number)).status_code == 422
    assert deliver(pull_request(number=2**63 - 1)).status_code == 202
