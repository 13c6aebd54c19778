"""Tokens that change by themselves: one process renews, and none is lost."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store.tables import provider_tokens


@pytest.fixture
def tokens(store, provider):
    store.add_provider(provider("work"))
    return store.provider_tokens


def set_row(store, **values):
    with store._database.writing() as connection:
        connection.execute(update(provider_tokens).values(values))


def test_there_is_no_token_at_first(tokens):
    assert tokens.load("work", "") is None


def test_a_renewal_replaces_the_token_and_keeps_the_former_one(tokens):
    assert tokens.begin_renewal("work", "", 0, 90)
    assert tokens.load("work", "") is None
    assert tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    found = tokens.load("work", "")
    assert (found.token, found.generation, found.lifetime, found.former) == (
        "sealed-1", 1, 3600.0, None,
    )  # fmt: skip
    assert 3500 < found.seconds_left <= 3600
    assert tokens.begin_renewal("work", "", 1, 90)
    assert tokens.finish_renewal("work", "", 2, "sealed-2", None)
    found = tokens.load("work", "")
    assert (found.token, found.former, found.seconds_left) == ("sealed-2", "sealed-1", None)


def test_one_process_at_a_time_renews(tokens):
    assert tokens.begin_renewal("work", "", 0, 90)
    assert not tokens.begin_renewal("work", "", 0, 90)
    assert tokens.begin_renewal("work", "other", 0, 90)
    tokens.give_up_renewal("work", "")
    assert tokens.begin_renewal("work", "", 0, 90)
    tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    assert not tokens.begin_renewal("work", "", 0, 90)  # it was renewed meanwhile


def test_a_lease_ends_by_itself(tokens):
    assert tokens.begin_renewal("work", "", 0, -1)
    assert tokens.begin_renewal("work", "", 0, 90)


def test_a_lease_of_a_clock_that_was_ahead_is_void(tokens, store):
    from datetime import UTC, datetime, timedelta

    assert tokens.begin_renewal("work", "", 0, 90)
    ahead = datetime.now(UTC) + timedelta(days=1)
    set_row(store, leased_at=ahead, leased_until=ahead + timedelta(seconds=90))
    assert tokens.begin_renewal("work", "", 0, 90)


def test_a_token_of_the_same_generation_is_not_stored_twice(tokens):
    tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    assert not tokens.finish_renewal("work", "", 1, "another", 3600)
    assert tokens.load("work", "").token == "sealed-1"


def test_what_a_person_obtained_replaces_all(tokens):
    tokens.put("work", "", "sealed-1", 60)
    tokens.put("work", "", "sealed-2", None)
    found = tokens.load("work", "")
    assert (found.token, found.generation, found.former) == ("sealed-2", 2, "sealed-1")


def test_tokens_go_with_their_provider(tokens, store, provider):
    tokens.put("work", "", "sealed-1", 60)
    store.remove_provider("work")
    store.add_provider(provider("work"))
    assert tokens.load("work", "") is None


def test_a_provider_that_is_gone_has_no_tokens(tokens):
    with pytest.raises(ConfigurationError, match="nope"):
        tokens.begin_renewal("nope", "", 0, 90)


def test_a_damaged_token_is_named(tokens, store):
    tokens.put("work", "", "sealed-1", 60)
    set_row(store, token="sealed-X")
    with pytest.raises(StoreError, match="damaged") as caught:
        tokens.load("work", "")
    assert "sealed" not in caught.value.message
