"""A deployment's log has complete lines, can be followed, and its failures do not affect the
deployment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from deploycore.deploy import DeployEvent, Logs
from deploycore.git import Progress

AT = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)


def event(text: str, kind="output") -> DeployEvent:
    return DeployEvent(7, "shop", AT, kind, "building", text)


@pytest.fixture
def logs(tmp_path) -> Logs:
    return Logs(tmp_path / "logs")


def test_written_events_are_read_back(logs):
    with logs.open("shop", 7) as log:
        log.write(event("größe\x1b[2J \ud800"))
        log.write(event("", "state"))
        log.write(DeployEvent(7, "shop", AT, "progress", "fetching", "", Progress("x", 1, 2, 3)))
    first, second = logs.read("shop", 7)
    assert (first.at, first.kind, first.phase, first.text) == (
        AT,
        "output",
        "building",
        "größe\x1b[2J \ud800",
    )
    assert second.kind == "state"
    assert list(logs.read("shop", 8)) == []


def test_a_line_truncated_by_a_crash_is_skipped(logs, tmp_path):
    with logs.open("shop", 7) as log:
        log.write(event("one"))
    path = tmp_path / "logs" / "shop" / "7.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at": "2026')
    with logs.open("shop", 7) as log:
        log.write(event("two"))
    assert [line.text for line in logs.read("shop", 7)] == ["one", "two"]


def test_a_log_is_followed_until_its_deployment_ends(logs):
    over, told = threading.Event(), []

    def follow():
        told.extend(line.text for line in logs.follow("shop", 7, until=over.is_set))

    reader = threading.Thread(target=follow)
    reader.start()
    with logs.open("shop", 7) as log:
        for number in range(5):
            log.write(event(str(number)))
        log.write(event("last"))
        over.set()
    reader.join(10)
    assert told == ["0", "1", "2", "3", "4", "last"]


def test_logs_are_only_readable_by_their_owner(logs, tmp_path):
    logs.open("shop", 7).close()
    for path in (tmp_path / "logs").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "logs").stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_is_reported_once(logs, tmp_path, caplog):
    (tmp_path / "logs").write_text("in the way")
    with logs.open("shop", 7) as log:
        log.write(event("one"))
        log.write(event("two"))
    assert caplog.text.count("cannot be written") == 1


def test_logs_are_removed_individually_or_with_their_application(logs):
    for number in (1, 2):
        with logs.open("shop", number) as log:
            log.write(event("x"))
    logs.remove("shop", [1, 99])
    assert (len(list(logs.read("shop", 1))), len(list(logs.read("shop", 2)))) == (0, 1)
    logs.remove("shop")
    assert list(logs.read("shop", 2)) == []


def test_an_event_is_serialized_as_one_json_object():
    assert event("x").as_dict() == {
        "event": "output",
        "deployment": 7,
        "application": "shop",
        "at": "2026-11-24T10:15:00Z",
        "phase": "building",
        "text": "x",
    }
    git = DeployEvent(7, "shop", AT, "progress", "fetching", "", Progress("receiving", 1, 2, None))
    assert git.as_dict() | {"at": ""} == {
        "event": "progress",
        "deployment": 7,
        "application": "shop",
        "at": "",
        "phase": "fetching",
        "step": "receiving",
        "received_bytes": 1,
        "files": 2,
        "files_total": None,
    }
