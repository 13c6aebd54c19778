"""A deployment changes its state only as allowed, and one of several processes succeeds."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta

import pytest

from deploycore.errors import ConfigurationError, RateLimited, StoreError
from deploycore.store import FINAL_STATES
from deploycore.store.states import may_precede

COMMIT = "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"
WAY = ("authenticating", "resolving", "fetching", "building", "activating", "healthy")


@pytest.fixture
def shop(store, provider, application):
    """A store with the applications ``shop`` and ``blog`` of the provider ``acme``."""
    store.add_provider(provider())
    store.put_applications([application(), application("blog")])
    return store


@pytest.fixture
def deployments(shop):
    return shop.deployments


@pytest.fixture
def request_one(deployments):
    def make(application="shop", **options):
        return deployments.request(application, ref="main", requested_by="me", **options)

    return make


def through(deployments, deployment, *states):
    for state in states:
        record = deployments.advance(deployment.id, state)
    return record


def test_a_deployment_is_recorded_from_request_to_completion(deployments, request_one):
    before = datetime.now(UTC)
    asked = request_one()
    assert (asked.application, asked.kind, asked.state) == ("shop", "deploy", "queued")
    assert (asked.ref, asked.requested_by) == ("main", "me")
    assert (asked.started_at, asked.finished_at, asked.commit, asked.seconds) == (None,) * 3 + ({},)
    through(deployments, asked, "authenticating", "resolving")
    known = {"commit": COMMIT, "release": "r1"}
    fetching = deployments.advance(asked.id, "fetching", **known)
    assert (fetching.commit, fetching.release) == (COMMIT, "r1")
    done = through(deployments, asked, "building", "activating", "healthy")
    assert before <= asked.requested_at <= done.started_at <= done.finished_at
    assert done.is_finished
    assert deployments.get(asked.id) == done
    assert deployments.list() == [done]


def test_an_invalid_state_transition_is_rejected_and_changes_nothing(deployments, request_one):
    asked = request_one()
    with pytest.raises(StoreError, match="is queued, and cannot become healthy") as caught:
        deployments.advance(asked.id, "healthy")
    assert "See the list: deploycore deployments" in caught.value.hint
    assert [each.state for each in deployments.list()] == ["queued"]
    through(deployments, asked, *WAY)
    for state in ("authenticating", "failed", "cancelled"):
        with pytest.raises(StoreError, match="is healthy, and cannot become"):
            deployments.advance(asked.id, state)
    with pytest.raises(StoreError, match="is removed"):
        deployments.advance(999, "failed")
    assert deployments.get(asked.id).state == "healthy"


def test_a_final_state_cannot_change():
    for state in (*WAY, "failed", "cancelled", "rolled_back", "superseded", "skipped"):
        assert not FINAL_STATES & set(may_precede(state))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
@pytest.mark.parametrize("after", range(len(WAY)))
def test_a_deployment_can_fail_in_any_state_and_stores_the_reason(
    deployments, request_one, after, state
):
    asked = request_one()
    if after:
        through(deployments, asked, *WAY[:after])
    error = RateLimited("The host asks for fewer requests.", provider="acme")
    ended = deployments.advance(asked.id, state, error=error)
    assert (ended.state, ended.error_code) == (state, "rate_limited")
    assert ended.error == "The host asks for fewer requests."
    assert ended.finished_at is not None


def test_a_newer_request_supersedes_queued_requests_of_the_application(deployments, request_one):
    runs = request_one()
    deployments.advance(runs.id, "authenticating")
    waits, other, newer = request_one(), request_one("blog"), request_one()
    superseded = deployments.get(waits.id)
    assert (superseded.state, superseded.error_code) == ("superseded", "superseded")
    assert f"Deployment {newer.id}" in superseded.error
    assert deployments.get(runs.id).state == "authenticating"
    assert deployments.get(other.id).state == deployments.get(newer.id).state == "queued"


def test_only_one_of_many_concurrent_starts_of_a_deployment_succeeds(deployments, request_one):
    asked = request_one()
    barrier, won = threading.Barrier(8), []

    def begin():
        barrier.wait()
        try:
            deployments.advance(asked.id, "authenticating")
        except StoreError:
            return
        won.append(1)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_a_queued_deployment_is_cancelled_and_a_running_one_is_signaled(deployments, request_one):
    waits = request_one()
    assert not deployments.is_cancelled(waits.id)
    ended = deployments.request_cancellation(waits.id)
    assert (ended.state, ended.error_code) == ("cancelled", "cancelled")
    runs = request_one()
    deployments.advance(runs.id, "authenticating")
    asked = deployments.request_cancellation(runs.id)
    assert (asked.state, asked.cancel_requested, asked.finished_at) == (
        "authenticating",
        True,
        None,
    )
    assert deployments.is_cancelled(runs.id)
    with pytest.raises(ConfigurationError, match="has already ended"):
        deployments.request_cancellation(waits.id)
    with pytest.raises(ConfigurationError, match="There is no deployment 999"):
        deployments.request_cancellation(999)


def test_an_error_is_recorded_while_a_release_is_rolled_back(deployments, request_one):
    asked = request_one()
    error = RateLimited("why")
    with pytest.raises(StoreError):
        deployments.note_error(asked.id, error)
    through(deployments, asked, *WAY[:5])
    noted = deployments.note_error(asked.id, error)
    assert (noted.state, noted.error) == ("activating", "why")
    assert deployments.advance(asked.id, "rolled_back").error == "why"


def test_deployments_are_listed_newest_first(deployments, request_one):
    ids = [request_one(name).id for name in ("shop", "blog", "shop", "shop")]
    deployments.advance(ids[3], "failed")

    def listed(*arguments, **filters):
        return [record.id for record in deployments.list(*arguments, **filters)]

    assert listed() == ids[::-1]
    assert listed("shop") == [ids[3], ids[2], ids[0]]
    assert listed("shop", limit=2) == [ids[3], ids[2]]
    assert listed("shop", before=ids[2]) == [ids[0]]
    assert listed("shop", state="failed") == [ids[3]]
    assert listed("blog", state="healthy") == []
    assert [record.id for record in deployments.unfinished()] == [ids[1]]
    assert deployments.unfinished("shop") == []


def test_releases_map_to_the_deployment_that_created_them(deployments, request_one):
    first = request_one()
    through(deployments, first, "authenticating", "resolving")
    deployments.advance(first.id, "fetching", release="r1")
    back = request_one(kind="rollback")
    deployments.advance(back.id, "activating", release="r1")
    found = deployments.of_releases("shop", ["r1", "r2"])
    assert {name: record.id for name, record in found.items()} == {"r1": first.id}
    assert deployments.of_releases("blog", ["r1"]) == {}


def test_old_deployments_without_a_release_are_deleted(deployments, request_one, monkeypatch):
    from deploycore.store import deployments as module

    ids = []
    for number in range(4):
        asked = request_one()
        through(deployments, asked, "authenticating", "resolving")
        deployments.advance(asked.id, "fetching", release=f"r{number}")
        deployments.advance(asked.id, "failed")
        ids.append(asked.id)
    assert deployments.forget("shop", days=30, before=ids[3], but=()) == []

    class Later(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(days=31)

    monkeypatch.setattr(module, "datetime", Later)
    assert deployments.forget("shop", days=30, before=ids[3], but=["r1"]) == [ids[0], ids[2]]
    assert [record.id for record in deployments.list("shop")] == [ids[3], ids[1]]


def test_removing_an_application_deletes_deployments_but_reuses_no_numbers(
    shop, request_one, application
):
    first = request_one()
    with pytest.raises(ConfigurationError, match="has not ended"):
        shop.remove_application("shop")
    shop.deployments.advance(first.id, "failed")
    shop.remove_application("shop")
    assert shop.deployments.list() == []
    shop.add_application(application())
    assert request_one().id > first.id


def test_records_are_frozen(request_one):
    with pytest.raises(dataclasses.FrozenInstanceError):
        request_one().state = "healthy"
