"""Warnings before credentials expire: each once, whichever worker gives it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from deploycore import Settings
from deploycore.hookspecs import hookimpl
from deploycore.provider.observers import Observers
from deploycore.store import ProviderRecord, Store
from deploycore.worker.expiry import ExpiryWatch, tell_of_expiry

END = datetime(2027, 1, 31, tzinfo=UTC)


class Recorder:
    """An observer.

    Attributes:
        told: What it was told.
        done: Set whenever it was.
    """

    def __init__(self):
        self.told = []
        self.done = threading.Event()

    @hookimpl
    def credential_expiring(self, provider, expires_at, days):
        self.told.append((provider, expires_at, days))
        self.done.set()


class Failing:
    @hookimpl
    def credential_expiring(self, provider):
        raise RuntimeError("no")


@pytest.fixture
def settings(tmp_path):
    return Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path)})


@pytest.fixture
def store(settings):
    with Store(settings) as store:
        for name, expires_at in (("work", END), ("for-ever", None)):
            store.add_provider(
                ProviderRecord(name, "acme", {}, {}, datetime.now(UTC), expires_at=expires_at)
            )
        yield store


@pytest.fixture
def observer():
    return Recorder()


def look(store, observer, days):
    before = len(observer.told)
    observers = Observers([("failing", Failing()), ("recorder", observer)])
    tell_of_expiry(store, observers, END - timedelta(days=days))
    return [days for _, _, days in observer.told[before:]]


def test_each_warning_is_sent_once(store, observer, caplog):
    caplog.set_level(logging.WARNING)
    seen = {days: look(store, observer, days) for days in (31, 30, 29, 7.5, 7, 6, 1, 0.5, 0, -1)}
    assert seen == {31: [], 30: [30], 29: [], 7.5: [], 7: [7], 6: [], 1: [1], 0.5: [], 0: [0],
                    -1: []}  # fmt: skip
    assert {told[:2] for told in observer.told} == {("work", END)}
    assert "provider work expire in 7 days (2027-01-31). Next: deploycore provider rotate work" in (
        caplog.text
    )


def test_a_late_check_sends_only_the_last_warning(store, observer):
    assert look(store, observer, 3) == [7]
    assert look(store, observer, 3) == []


def test_only_one_of_several_workers_sends_a_warning(store, observer, settings, monkeypatch):
    with Store(settings) as other:
        known = other.list_providers()
        assert look(store, observer, 7) == [7]
        monkeypatch.setattr(other, "list_providers", lambda: known)  # read at the same time
        assert look(other, observer, 7) == []
    with Store(settings) as later:
        assert look(later, observer, 7) == []


def test_a_new_expiry_triggers_new_warnings(store, observer):
    assert look(store, observer, 7) == [7]
    store.note_expiry("work", END)
    assert look(store, observer, 7) == []
    store.note_expiry("work", END - timedelta(days=1))
    assert look(store, observer, 7) == [7]
    store.note_expiry("work", None)
    assert look(store, observer, 7) == []


def test_an_expiry_read_with_previous_credentials_is_not_stored(store):
    record = store.get_provider("work")
    now = store.change_provider(record, settings={}, secrets={}, expires_at=None)
    store.note_expiry("work", END, generation=record.generation)
    assert store.get_provider("work").expires_at is None
    store.note_expiry("work", END, generation=now.generation)
    assert store.get_provider("work").expires_at == END


def test_expiry_is_checked_at_start(store, observer):
    watch = ExpiryWatch(
        store, observers=Observers([("recorder", observer)]), clock=lambda: END - timedelta(hours=1)
    )
    record = store.get_provider("work")
    kept = store.change_provider(
        record,
        settings={},
        secrets={"token": "env:NEW"},
        keep_former=timedelta(microseconds=1),
        expires_at=END,
    )
    assert kept.former_until is not None
    watch.start()
    assert observer.done.wait(60)
    watch.stop()
    assert observer.told == [("work", END, 1)]
    (found,) = [each for each in store.list_providers() if each.name == "work"]
    assert found.former_until is None  # the time of the former secrets is over


def test_the_next_step_for_a_sign_in_is_to_authorize_again(store, observer, caplog):
    caplog.set_level(logging.WARNING)
    store.provider_tokens.put("work", "client", "sealed", None)
    tell_of_expiry(store, Observers([]), END)
    assert "Next: deploycore provider authorize work" in caplog.text
