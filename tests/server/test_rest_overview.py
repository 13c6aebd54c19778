"""The current state of applications, their releases, and the changes of a rollback, over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import BoundedSemaphore

import pytest
from sqlalchemy import update

from deploycore.deploy.events import DeployEvent
from deploycore.server.rest import releases
from deploycore.store.tables import deployments

V1 = "/api/v1"
AT = datetime(2026, 11, 25, 10, tzinfo=UTC)
COMMITS = [f"{number}" * 40 for number in range(10)]


@pytest.fixture
def read(client, token):
    """Asks an operation as a reader: ``read("/overview", which="failed")``."""
    header = token("read")

    def ask(path, *, status=200, **query):
        answer = client.get(V1 + path, headers=header, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


@pytest.fixture
def release(installation, secret):
    """Makes a release on disk with its deployment: ``release(3, {"a": "1"}, live=True)``."""
    target = installation.store.get_application("shop").definition.target

    def make(number, files=None, *, state="healthy", live=False, **values):
        asked = installation.store.deployments.request("shop", ref="main", requested_by="ada")
        name = f"20261125T10{number:02}00Z-{COMMITS[number][:12]}"
        given = {
            "state": state,
            "commit": COMMITS[number],
            "release": name,
            "subject": f"Change {number}",
            "started_at": AT,
            "finished_at": AT + timedelta(seconds=10 + number),
            "seconds": {"queued": 1.0, "fetching": 2.0, "building": float(number)},
        }
        with installation.store._database.writing() as connection:
            is_this = deployments.c.id == asked.id
            connection.execute(update(deployments).where(is_this).values(given | values))
        if files is not None:
            folder = Path(target) / "releases" / name
            for path, text in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
            if live:
                (Path(target) / "current").symlink_to(Path("releases") / name)
        return name

    return make


def test_one_response_has_all_the_overview_shows(read, release):
    release(1)
    release(2, state="failed", error_code="step_failed", error="The step failed.")
    found = read("/overview")
    [item] = found["items"]
    assert (item["name"], item["repository"], item["ref"]) == ("shop", "acme/shop", "main")
    assert (item["state"], item["attention"]) == ("failed", "failed")
    assert item["last"]["error"] == "The step failed."
    assert (item["live"]["commit"], item["live"]["subject"]) == (COMMITS[1], "Change 1")
    assert item["live"]["requested_by"] == "ada"
    assert found["counts"] == {"all": 1, "attention": 1, "running": 0, "never": 0}
    one = read("/applications/shop/overview")
    assert {**item, "position": found["position"]} == one


def test_pages_of_the_overview_are_followed_by_their_links(read, create):
    for name in ("blog", "docs", "wiki"):
        create(name)
    found, address, query = [], "/overview", {"limit": 3, "search": "a"}
    while address:
        page = read(address, **query)
        found += [each["name"] for each in page["items"]]
        address, query = (page["next"] or "").removeprefix(V1), {}
    assert sorted(found) == ["blog", "docs", "shop", "wiki"]
    assert read("/overview", after="x", status=422)["code"] == "configuration"


@pytest.mark.parametrize("path", ["overview", "previews", "releases", "statistics"])
def test_requests_for_an_unknown_application_return_not_found(read, path):
    for name in ("nothing", "a%20b"):
        assert read(f"/applications/{name}/{path}", status=404)["code"] == "not_found"


def test_the_number_of_search_words_is_limited(read):
    assert read("/overview", search="shop main work acme s h o p m a")["items"]
    problem = read("/overview", status=422, search="a b c d e f g h i j k")
    assert problem["details"]["fields"] == ["search: should have at most 10 words"]


def test_releases_are_listed_with_the_deployment_that_created_them(read, release):
    names = [
        release(1, {"a": "1"}),
        release(2, {"a": "2"}, state="failed"),
        release(3, {"a": "3"}, live=True),
    ]
    found = read("/applications/shop/releases")
    assert (found["is_here"], found["count"]) == (True, 3)
    states = [(each["name"], each["state"], each["commit"]) for each in found["items"]]
    assert states == [
        (names[2], "live", COMMITS[3]),
        (names[1], "failed", COMMITS[2]),
        (names[0], "kept", COMMITS[1]),
    ]


def test_releases_on_another_machine_are_not_read(read, create, client, token):
    create("far", host="elsewhere")
    assert read("/applications/far/releases") == {"items": [], "is_here": False, "count": 0}


def test_a_rollback_preview_lists_commits_and_files(read, release):
    same = {"same": "0", "sub/same": "0"}
    first = release(1, {**same, "old": "1", "changed": "1"})
    release(2)
    release(3, {**same, "new": "3", "sub/new": "3", "changed": "3"}, live=True)
    found = read(f"/applications/shop/releases/{first}/changes")
    assert found["direction"] == "older"
    assert [each["commit"] for each in found["commits"]] == [COMMITS[3], COMMITS[2]]
    files = found["files"]
    assert (files["added"], files["changed"]) == (["old"], ["changed"])
    assert files["removed"] == ["new", "sub/new"]
    assert (files["counts"], files["is_all"]) == ({"added": 1, "changed": 1, "removed": 2}, True)


def test_release_comparisons_do_not_use_all_threads(read, release, monkeypatch):
    first = release(1, {"a": "1"})
    release(2, {"a": "2"}, live=True)
    path = f"/applications/shop/releases/{first}/changes"

    def compare(*given):
        monkeypatch.setattr(releases, "compare_releases", compared)
        refused.append(read(path, status=503))  # meanwhile
        return compared(*given)

    compared, refused = releases.compare_releases, []
    monkeypatch.setattr(releases, "_comparing", BoundedSemaphore(1))
    monkeypatch.setattr(releases, "compare_releases", compare)
    assert read(path)["files"]["is_all"]
    assert (refused[0]["code"], "few seconds" in refused[0]["hint"]) == ("busy", True)
    assert read(path)["files"]["is_all"]


def test_rolling_forward_to_a_newer_release_lists_the_commits_it_restores(read, release):
    release(1, {"a": "1"}, live=True)
    newer = release(2, {"a": "1"})
    found = read(f"/applications/shop/releases/{newer}/changes")
    assert found["direction"] == "newer"
    assert [each["commit"] for each in found["commits"]] == [COMMITS[2]]
    assert sum(found["files"]["counts"].values()) == 0


def test_an_unknown_release_is_named_in_the_error(read, release):
    release(1, {"a": "1"}, live=True)
    problem = read("/applications/shop/releases/20990101T000000Z-none/changes", status=404)
    assert "20990101T000000Z-none" in problem["message"]
    assert "/applications/shop/releases" in problem["hint"]
    for name in ("..", "%2e%2e"):
        assert read(f"/applications/shop/releases/{name}/changes", status=404)


def test_statistics_cover_only_finished_deployments(read, release, installation):
    release(4)
    release(5, state="failed")
    release(6, state="cancelled")
    installation.store.deployments.request("shop", ref="main")
    found = read("/applications/shop/statistics")
    assert [each["state"] for each in found["items"]] == ["healthy", "failed", "cancelled"]
    assert (found["succeeded"], found["failed"], found["success_rate"]) == (1, 1, 0.5)
    assert found["median_seconds"] == 14.0
    assert found["items"][0]["seconds"] == {"fetching": 2.0, "building": 4.0}
    assert len(read("/applications/shop/statistics", limit=1)["items"]) == 1


@pytest.fixture
def log(installation, release):
    """Writes the log of a new deployment; gives its number: ``log("one", "two")``."""

    def make(*texts, hint=""):
        release(1, state="failed", error_code="step_failed", error="It failed.")
        record = installation.store.deployments.list("shop", limit=1)[0]
        with installation.engine.logs.open("shop", record.id) as written:
            for text in texts:
                written.write(DeployEvent(record.id, "shop", AT, "output", "building", text))
            if hint:
                written.write(DeployEvent(record.id, "shop", AT, "hint", "failed", hint))
        return record.id

    return make


def test_a_failed_deployment_includes_the_next_step(read, log):
    number = log("one", hint="Correct the step.")
    assert read(f"/deployments/{number}")["hint"] == "Correct the step."
    assert read("/deployments")["items"][0]["hint"] is None


def test_a_log_can_be_read_from_its_end_and_searched(read, log):
    number = log(*(f"Line {each}" for each in range(3000)))
    path = f"/deployments/{number}/log"
    last = read(path, last=2)
    assert [each["text"] for each in last["items"]] == ["Line 2998", "Line 2999"]
    assert last["start"] > 0
    assert read(path, after=last["position"])["items"] == []
    found = read(path, search="line 29", last=5)
    assert [each["text"] for each in found["items"]] == [
        "Line 29",
        *(f"Line 29{n}" for n in range(4)),
    ]
    more = read(path, search="line 29", after=found["position"])
    assert more["items"][0]["text"] == "Line 294"
    assert read(path, search="nothing")["items"] == []
    assert read(path, last=1000)["items"][0]["text"] == "Line 2000"


def test_a_log_is_downloaded_as_plain_text(client, token, log):
    number = log("\x1b[31mred\x1b[0m", "\x1b]0;title\x07done\x9b\u202e", hint="Go on.")
    answer = client.get(f"{V1}/deployments/{number}/log/text", headers=token("read"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    disposition = answer.headers["content-disposition"]
    assert disposition == f'attachment; filename="shop-{number}.log"'
    assert [line.split(None, 2)[2] for line in answer.text.splitlines()] == [
        "red",
        "done",
        "Next: Go on.",
    ]


def test_responses_contain_no_secrets(client, token, release, installation):
    release(1, {"a": "1"}, live=True)
    header = token("admin")
    for path in ("overview", "applications/shop/overview", "applications/shop/releases", "events"):
        text = json.dumps(client.get(f"{V1}/{path}", headers=header).json())
        assert "hunter2" not in text
        assert "secret" not in text
