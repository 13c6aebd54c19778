"""Tokens of providers: only one process renews a token, and no token is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store.tables import provider_tokens, providers


@pytest.fixture
def tokens(store, provider):
    store.add_provider(provider("work"))
    return store.provider_tokens


def set_row(store, **values):
    with store._database.writing() as connection:
        connection.execute(update(provider_tokens).values(values))


def test_initially_there_is_no_token(tokens):
    assert tokens.load("work", "") is None


def test_a_renewal_replaces_the_token_and_keeps_the_previous_one(tokens):
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


def test_only_one_process_at_a_time_renews_a_token(tokens):
    assert tokens.begin_renewal("work", "", 0, 90)
    assert not tokens.begin_renewal("work", "", 0, 90)
    assert tokens.begin_renewal("work", "other", 0, 90)
    tokens.give_up_renewal("work", "")
    assert tokens.begin_renewal("work", "", 0, 90)
    tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    assert not tokens.begin_renewal("work", "", 0, 90)  # it was renewed meanwhile


def test_a_lease_expires(tokens):
    assert tokens.begin_renewal("work", "", 0, -1)
    assert tokens.begin_renewal("work", "", 0, 90)


def test_a_lease_with_a_future_time_is_void(tokens, store):
    assert tokens.begin_renewal("work", "", 0, 90)
    ahead = datetime.now(UTC) + timedelta(days=1)
    set_row(store, leased_at=ahead, leased_until=ahead + timedelta(seconds=90))
    assert tokens.begin_renewal("work", "", 0, 90)


def test_a_token_of_the_same_generation_is_not_stored_twice(tokens):
    tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    assert not tokens.finish_renewal("work", "", 1, "another", 3600)
    assert tokens.load("work", "").token == "sealed-1"


def test_a_token_from_a_sign_in_replaces_all_earlier_tokens(tokens):
    tokens.put("work", "", "sealed-1", 60)
    tokens.put("work", "", "sealed-2", None)
    found = tokens.load("work", "")
    assert (found.token, found.generation, found.former) == ("sealed-2", 2, None)


def test_a_sign_in_counts_as_a_change_of_the_provider(tokens, store):
    tokens.put("work", "", "sealed-1", 60, provider_generation=1)
    assert store.get_provider("work").generation == 2
    with pytest.raises(ConfigurationError, match="by another command at the same time"):
        tokens.put("work", "", "sealed-2", 60, provider_generation=1)
    assert tokens.load("work", "").token == "sealed-1"
    with pytest.raises(ConfigurationError, match="nope"):
        tokens.put("nope", "", "sealed-1", 60)


def test_the_previous_token_is_not_used_once_reuse_looks_like_theft(tokens, store):
    tokens.finish_renewal("work", "", 1, "sealed-1", 3600)
    tokens.finish_renewal("work", "", 2, "sealed-2", 3600)
    for minutes, former in ((9, "sealed-1"), (11, None)):
        set_row(store, renewed_at=datetime.now(UTC) - timedelta(minutes=minutes))
        assert tokens.load("work", "").former == former


def test_tokens_of_a_damaged_provider_are_not_given_to_its_replacement(tokens, store, provider):
    """They may be of another host."""
    tokens.put("work", "", "sealed-1", 60)
    with store._database.writing() as connection:
        connection.execute(update(providers).values(settings_checksum="0" * 64))
    store.add_provider(provider("work"))
    assert tokens.load("work", "") is None


def test_removing_a_provider_deletes_its_tokens(tokens, store, provider):
    tokens.put("work", "", "sealed-1", 60)
    store.remove_provider("work")
    store.add_provider(provider("work"))
    assert tokens.load("work", "") is None


def test_a_removed_provider_has_no_tokens(tokens):
    with pytest.raises(ConfigurationError, match="nope"):
        tokens.begin_renewal("nope", "", 0, 90)


def test_a_damaged_token_is_named(tokens, store):
    tokens.put("work", "", "sealed-1", 60)
    set_row(store, token="sealed-X")
    with pytest.raises(StoreError, match="damaged") as caught:
        tokens.load("work", "")
    assert "sealed" not in caught.value.message


def test_tokens_of_a_previous_client_are_deleted_even_during_a_renewal(tokens, store):
    tokens.put("work", "", "sealed-1", 3600)
    assert tokens.begin_renewal("work", "", 1, 90)
    record = store.get_provider("work")
    store.change_provider(
        record, settings={"user": "me"}, secrets=record.secrets, forget_tokens=True
    )
    assert tokens.load("work", "") is None
    assert not tokens.finish_renewal("work", "", 2, "sealed-2", 3600)
    assert tokens.load("work", "") is None
    assert tokens.begin_renewal("work", "", 0, 90)  # nothing waits for the former renewal
    assert tokens.providers_with_one() == set()
    tokens.put("work", "", "sealed-3", 3600)
    assert tokens.load("work", "").token == "sealed-3"
    assert tokens.providers_with_one() == {"work"}
