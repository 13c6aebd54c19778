"""Expiry of credentials, and the process that gives the warnings, on each kind of database."""

from __future__ import annotations

import threading
from datetime import timedelta

from tests.store.conftest import AT


def test_only_one_of_many_concurrent_processes_sends_a_warning(store, provider):
    store.add_provider(provider(expires_at=AT))
    barrier, taken = threading.Barrier(6), []

    def take():
        barrier.wait()
        taken.append(store.take_expiry_warning("acme", AT, 7))

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 5 + [True]
    assert store.get_provider("acme").expiry_warned == 7


def test_warnings_advance_in_order_and_only_for_the_current_expiry(store, provider):
    store.add_provider(provider(expires_at=AT))
    assert not store.take_expiry_warning("acme", AT + timedelta(seconds=1), 30)
    assert not store.take_expiry_warning("nope", AT, 30)
    assert [store.take_expiry_warning("acme", AT, days) for days in (7, 30, 7, 1, 1, 0, 0)] == [
        True, False, False, True, False, True, False,
    ]  # fmt: skip


def test_only_a_different_expiry_resets_the_warning(store, provider):
    store.add_provider(provider(expires_at=AT))
    store.take_expiry_warning("acme", AT, 7)
    store.note_expiry("acme", AT)
    assert store.get_provider("acme").expiry_warned == 7
    store.note_expiry("acme", AT + timedelta(days=1))
    found = store.get_provider("acme")
    assert (found.expires_at, found.expiry_warned) == (AT + timedelta(days=1), None)
    store.take_expiry_warning("acme", found.expires_at, 7)
    store.note_expiry("acme", None)
    found = store.get_provider("acme")
    assert (found.expires_at, found.expiry_warned) == (None, None)


def test_a_changed_provider_resets_the_warning(store, provider):
    store.add_provider(provider(expires_at=AT))
    store.take_expiry_warning("acme", AT, 0)
    record = store.get_provider("acme")
    now = store.change_provider(
        record, settings=record.settings, secrets=record.secrets, expires_at=AT
    )
    assert (now.expires_at, now.expiry_warned) == (AT, None)
