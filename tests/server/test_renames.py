"""Deliveries about a repository by another name: followed by its identifier, or ignored."""

from __future__ import annotations

import pytest

from tests.server.acme import body_of, pull_request, push, signed


@pytest.fixture
def definition(installation, secret):
    return installation.store.get_application("shop").definition


@pytest.fixture
def known(installation, definition):
    """The host's identifier of the repository is known."""
    installation.store.repositories.learn(definition, "17")


def stored_repository(installation):
    (record,) = installation.store.repositories.list()
    return record


def test_a_delivery_under_a_new_name_is_accepted_by_the_repository_identifier(
    known, installation, deliver
):
    for _ in range(2):
        answer = deliver(push(repository="guild/store", repository_host_id="17"))
        assert answer.json()["status"] in ("accepted", "known")
    assert installation.store.get_application("shop").definition.repository == "acme/shop"
    assert stored_repository(installation).told_name == "guild/store"
    assert installation.store.polls.requested().keys() == {"shop"}


@pytest.mark.parametrize("name", ["acme/shop", "acme/store"])
def test_another_repository_is_ignored_even_under_the_same_name(known, installation, deliver, name):
    answer = deliver(push(repository=name, repository_host_id="18"))
    assert answer.status_code == 202
    assert answer.json() == {"status": "ignored", "reason": "another_repository"}
    assert installation.store.triggers.list() == []
    assert stored_repository(installation).told_name is None
    assert stored_repository(installation).other_host_id == ("18" if name == "acme/shop" else None)
    assert installation.store.polls.requested() == {}


@pytest.mark.parametrize(("learned", "identified"), [(True, False), (False, True), (False, False)])
def test_a_missing_identifier_is_requested_from_the_host_once(
    definition, installation, deliver, learned, identified
):
    if learned:
        installation.store.repositories.learn(definition, "17")
    more = {"repository_host_id": "17"} if identified else {}
    for _ in range(3):
        answer = deliver(push(repository="acme/store", **more))
        assert answer.json() == {"status": "ignored", "reason": "another_repository"}
    assert stored_repository(installation).ignored_name == "acme/store"
    assert installation.store.polls.requested().keys() == {"shop"}
    (taken,) = installation.store.polls.take(["shop"], lease=60)
    installation.store.polls.note("shop", after=60, seconds=60, checked=taken)
    deliver(push(repository="acme/store", **more))
    assert installation.store.polls.requested() == {}


@pytest.mark.parametrize("name", ["acme/a\0b", "acme/\x1b[31m", "acme/" + "x" * 5000])
def test_a_name_that_cannot_be_stored_is_another_repository(known, installation, deliver, name):
    answer = deliver(push(repository=name, repository_host_id="17"))
    assert answer.json() == {"status": "ignored", "reason": "another_repository"}
    assert stored_repository(installation).told_name is None


def test_without_an_identifier_names_are_compared_case_insensitively(deliver, installation):
    assert deliver(push(repository="Acme/SHOP")).json()["status"] == "accepted"
    assert installation.store.repositories.list() == []


def test_an_invalid_signature_renames_nothing(known, installation, client):
    body = body_of(push(repository="guild/store", repository_host_id="17"))
    headers = signed(body, "a guess")
    assert client.post("/webhooks/shop", content=body, headers=headers).status_code == 401
    assert stored_repository(installation).told_name is None


@pytest.mark.parametrize(
    ("event", "is_sign"),
    [
        (push(), True),
        (push("develop"), True),
        (push(after=None), True),
        (push(repository="acme/other"), False),
        (pull_request(), False),
        (pull_request(repository="acme/other"), False),
        (None, False),
    ],
)
def test_only_a_push_to_the_repository_confirms_its_webhook(installation, deliver, event, is_sign):
    assert deliver(*([event] if event else [])).status_code == 202
    heard = installation.store.webhooks.get("shop").delivered_at
    assert (heard is not None) == is_sign


def test_an_ignored_delivery_requests_no_check_of_other_applications(installation, deliver, create):
    create("blog")
    deliver(push(repository="acme/store"))
    assert installation.store.polls.requested().keys() == {"shop"}
