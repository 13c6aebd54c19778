"""Previous secrets of a provider, while they are valid, on each kind of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from deploycore.store.tables import providers

HOUR = timedelta(hours=1)


@pytest.fixture
def rotated(store, provider):
    """A provider whose secret was replaced; the former one is kept for an hour."""
    store.add_provider(provider(secrets={"token": "env:OLD"}))
    record = store.get_provider("acme")
    return store.change_provider(
        record, settings=record.settings, secrets={"token": "env:NEW"}, keep_former=HOUR
    )


def set_times(store, *, until, changed):
    now = datetime.now(UTC)
    values = {"former_until": now + until, "changed_at": now + changed}
    with store._database.writing() as connection:
        connection.execute(update(providers).values(values))


def kept(store):
    return store.get_provider("acme").former_secrets


def test_previous_secrets_are_kept_for_the_requested_time(store, rotated):
    assert kept(store) == {"token": "env:OLD"}
    assert abs(rotated.former_until - rotated.changed_at - HOUR) < timedelta(seconds=1)


def test_changing_other_fields_keeps_the_previous_secrets(store, rotated):
    now = store.change_provider(rotated, settings={"url": "x"}, secrets=rotated.secrets)
    assert kept(store) == {"token": "env:OLD"}
    assert now.former_until == rotated.former_until
    store.change_provider(now, settings={}, secrets={"token": "env:THIRD"})
    assert kept(store) is None


@pytest.mark.parametrize(
    ("until", "changed"),
    [
        (timedelta(seconds=-1), -HOUR),
        (timedelta(days=365), timedelta(0)),  # no such time can be asked for
        (timedelta(days=1), timedelta(days=1) - HOUR),  # by a clock that was a day ahead
    ],
)
def test_expired_or_invalid_previous_secrets_are_not_used_and_then_deleted(
    store, rotated, until, changed
):
    set_times(store, until=until, changed=changed)
    assert kept(store) is None
    store.forget_former_secrets()
    with store._database.reading() as connection:
        row = connection.execute(select(providers)).mappings().one()
    assert (row["former_secrets"], row["former_until"]) == (None, None)
    assert store.get_provider("acme").secrets == {"token": "env:NEW"}  # and the row can be read


def test_unexpired_previous_secrets_are_not_deleted(store, rotated):
    store.forget_former_secrets()
    assert kept(store) == {"token": "env:OLD"}
