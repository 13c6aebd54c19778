"""The git cache, recovery, and a repository that another one has replaced, over REST."""

from __future__ import annotations

import threading

import pytest

from deploycore.deploy import Releases
from deploycore.server.rest import recovery

V1 = "/api/v1"


@pytest.fixture
def api(client, token):
    """Sends a request as an administrator."""
    admin = token("admin")

    def send(method, path, body=None):
        return client.request(method, f"{V1}{path}", json=body, headers=admin)

    return send


@pytest.fixture
def cached(installation):
    """Puts a repository into the cache; gives its URL."""

    def put(name):
        url = f"https://acme.example/{name}.git"
        repository = installation.git_cache.repository(url)
        with repository.incoming():
            (repository.path / "objects" / "pack" / "left").write_bytes(b"x" * 5000)
        return url

    return put


def test_the_cache_is_listed_pruned_and_cleared(api, cached, installation):
    assert api("GET", "/cache").json() == {"items": [], "bytes": 0}
    shop, blog = cached("shop"), cached("blog")
    found = api("GET", "/cache").json()
    assert {each["url"] for each in found["items"]} == {shop, blog}
    assert found["bytes"] == sum(each["bytes"] for each in found["items"])
    assert api("DELETE", f"/cache?url={shop}").status_code == 204
    missing = api("DELETE", f"/cache?url={shop}")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "deploycore cache list" in missing.json()["hint"]
    assert api("POST", "/cache/prune", {"bytes": 2**40}).json() == {"items": []}
    assert [each["url"] for each in api("POST", "/cache/prune").json()["items"]] == [blog]
    assert installation.git_cache.entries() == []
    assert api("DELETE", "/cache").status_code == 422


def test_an_interrupted_deployment_is_recovered(api, installation):
    started = installation.store.deployments.request("shop", ref="main", home="")
    installation.store.deployments.advance(started.id, "authenticating")
    [found] = api("POST", "/recover").json()["items"]
    assert (found["id"], found["state"]) == (started.id, "failed")
    assert api("POST", "/recover").json() == {"items": []}
    entries = api("GET", "/audit").json()["items"]
    assert {each["operation"] for each in entries} == {"recover_deployments"}


def test_only_one_request_recovers_at_a_time_and_none_waits_forever(api, installation, monkeypatch):
    running, may_end = threading.Event(), threading.Event()

    def recover():
        running.set()
        may_end.wait(60)
        return []

    monkeypatch.setattr(installation, "recover", recover)
    monkeypatch.setattr(recovery, "_SECONDS", 0.01)
    late = api("POST", "/recover")
    assert (late.status_code, late.json()["code"]) == (504, "timed_out")
    assert "It continues." in late.json()["message"]
    assert running.wait(60)
    monkeypatch.setattr(recovery, "_SECONDS", 60)
    busy = api("POST", "/recover")
    assert (busy.status_code, busy.json()["code"]) == (503, "busy")
    may_end.set()
    with recovery._recovering:
        pass
    assert api("POST", "/recover").json() == {"items": []}


def test_a_repository_that_replaced_another_is_accepted(api, installation):
    definition = installation.store.get_application("shop").definition
    installation.store.repositories.learn(definition, "17")
    installation.store.repositories.note_other(definition, "18")
    known = api("GET", "/applications/shop").json()["host_repository"]
    assert (known["host_id"], known["replaced_by"]) == ("17", "18")
    done = api("POST", "/applications/shop/accept-repository").json()
    assert done == {"application": "shop", "repository": "acme/shop"}
    assert api("GET", "/applications/shop").json()["host_repository"] is None
    assert api("POST", "/applications/nope/accept-repository").status_code == 404


def test_an_application_has_its_live_release(api, installation):
    target = installation.store.get_application("shop").definition.target
    assert api("GET", "/applications/shop").json()["current"] is None
    (target / "releases" / "one").mkdir(parents=True)
    (target / "current").symlink_to("releases/one")
    current = api("GET", "/applications/shop").json()["current"]
    assert current == str(Releases(target).current)
    (target / "current").unlink()
    (target / "current").symlink_to("/etc")
    broken = api("GET", "/applications/shop").json()
    assert (broken["current"], broken["problem"]["code"]) == (None, "configuration")
    assert "is not one of its releases" in broken["problem"]["message"]
