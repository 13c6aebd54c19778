"""Times as text: one rule for people, one for programs, in every timezone."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploycore.deploy import DeployEvent
from deploycore.errors import RateLimited
from deploycore.text.log_format import LogFormatter
from deploycore.times import for_machines, for_people
from deploycore.worker import WorkerEvent

AT = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)


@pytest.fixture
def zone(monkeypatch):
    """Sets the timezone of this process: ``zone("Asia/Kolkata")``."""

    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "at", "shown"),
    [
        ("Europe/Berlin", AT, "2026-11-24 11:15:00 +01:00"),
        ("Asia/Kolkata", AT, "2026-11-24 15:45:00 +05:30"),
        ("America/St_Johns", AT, "2026-11-24 06:45:00 -03:30"),
        ("UTC", AT, "2026-11-24 10:15:00 +00:00"),
        # The hour that comes twice: the offset tells which one it is.
        ("Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 02:30:00 +02:00"),
        ("Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 02:30:00 +01:00"),
        # The hour that does not come.
        (
            "Europe/Berlin",
            datetime(2026, 3, 29, 0, 59, tzinfo=UTC),
            "2026-03-29 01:59:00 +01:00",
        ),
        ("Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "2026-03-29 03:00:00 +02:00"),
    ],
)
def test_people_see_local_time_with_its_offset(zone, name, at, shown):
    zone(name)
    elsewhere = at.astimezone(timezone(timedelta(hours=-7)))
    assert for_people(at) == for_people(elsewhere) == for_people(at.replace(tzinfo=None)) == shown


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_programs_get_utc_in_any_time_zone(zone, name):
    zone(name)
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    found = {for_machines(each) for each in (AT, elsewhere, AT.replace(tzinfo=None))}
    assert found == {"2026-11-24T10:15:00Z"}
    precise = AT.replace(microsecond=123456)
    assert for_machines(precise) == "2026-11-24T10:15:00.123456Z"
    assert datetime.fromisoformat(for_machines(precise)) == precise


@pytest.mark.parametrize("offset", [-14, 0, 14])
@pytest.mark.parametrize("at", [datetime.min, datetime.max])
def test_a_commit_can_have_any_time(at, offset):
    odd = at.replace(tzinfo=timezone(timedelta(hours=offset)))
    assert for_people(odd)[:4] in ("0001", "9999")
    assert for_machines(odd)[:4] in ("0001", "9999")


def test_all_times_in_json_are_in_utc(zone):
    zone("Asia/Kolkata")
    local = AT.astimezone()
    told = [
        DeployEvent(1, "shop", local, "state", "queued").as_dict()["at"],
        WorkerEvent("claimed", "shop", local).as_dict()["at"],
        RateLimited("Slow down.", retry_at=local).details["retry_at"],
    ]
    assert told == ["2026-11-24T10:15:00Z"] * 3


def test_log_lines_have_utc_times(zone):
    zone("Europe/Berlin")
    record = logging.LogRecord("deploycore", logging.INFO, "", 0, "it works", None, None)
    record.created = AT.timestamp() + 0.25
    line = LogFormatter("%(asctime)s %(message)s").format(record)
    assert line == "2026-11-24T10:15:00.250Z it works"
