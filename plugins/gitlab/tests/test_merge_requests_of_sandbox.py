"""The sandbox's merge requests over the API, as GitLab's documentation has them."""

from __future__ import annotations

import json

import pytest
import requests
from deploycore.testing.scenarios import Access


@pytest.fixture
def shop(sandbox):
    sandbox.publish(sandbox.OWNER, "shop", "main", {"a": b"1\n"}, "Open")
    sandbox.publish(sandbox.OWNER, "shop", "feature", {"a": b"2\n"}, "Change")
    return sandbox.find(sandbox.OWNER, "shop")


@pytest.fixture
def ask(sandbox, shop):
    token = sandbox.add_credential("access-token").secret.get_secret_value()

    def send(method, path="", *, project=shop, token=token, **body):
        return requests.request(
            method,
            f"{sandbox.url}/api/v4/projects/{project.number}/merge_requests{path}",
            json=body or None,
            headers={"PRIVATE-TOKEN": token},
            timeout=30,
        )

    return send


def numbers(answer):
    return [row["iid"] for row in answer.json()]


def test_a_merge_request_is_opened_listed_and_merged(sandbox, shop, ask):
    made = ask("POST", source_branch="feature", target_branch="main", title="Change it")
    assert made.status_code == 201
    row = made.json()
    assert (row["iid"], row["state"], row["title"]) == (1, "opened", "Change it")
    branches = dict(sandbox.branches(shop))
    assert (row["sha"], row["project_id"]) == (branches["feature"], shop.number)
    assert ask("GET", "/1").json() == row
    assert ask("GET").json() == [row]
    merged = ask("PUT", "/1/merge", sha=branches["feature"])
    assert (merged.status_code, merged.json()["state"]) == (200, "merged")
    assert merged.json()["merged_at"]
    assert dict(sandbox.branches(shop))["main"] == branches["feature"]
    assert numbers(ask("GET", "?state=merged")) == [1]
    assert numbers(ask("GET", "?state=opened")) == []
    assert ask("PUT", "/1/merge").status_code == 405
    assert ask("PUT", "/1", state_event="reopen").json()["state"] == "merged"


def test_the_response_has_the_same_fields_as_the_webhook(sandbox, ask, monkeypatch):
    told = []
    monkeypatch.setattr(sandbox.webhooks, "of", lambda name: [name])
    monkeypatch.setattr(sandbox.webhooks, "fire", lambda _, event: told.append(event))
    row = ask("POST", source_branch="feature", target_branch="main", title="Change it").json()
    attributes = json.loads(told[0].body)["object_attributes"]
    shared = ("iid", "state", "title", "source_branch", "target_branch", "draft")
    shared += ("source_project_id", "target_project_id")
    assert {name: row[name] for name in shared} == {name: attributes[name] for name in shared}
    assert (row["web_url"], row["sha"]) == (attributes["url"], attributes["last_commit"]["id"])


def test_a_merge_request_is_closed_edited_and_opened_again(ask):
    ask("POST", source_branch="feature", target_branch="main", title="Change it")
    assert ask("PUT", "/1", state_event="close").json()["state"] == "closed"
    changed = ask("PUT", "/1", state_event="reopen", title="Another").json()
    assert (changed["state"], changed["title"]) == ("opened", "Another")


def test_lists_are_filtered_by_branches_and_have_pages(sandbox, ask):
    for name in ("second", "third"):
        sandbox.publish(sandbox.OWNER, "shop", name, {"a": name.encode()}, "Change")
        ask("POST", source_branch=name, target_branch="main", title=name)
    assert numbers(ask("GET", "?source_branch=second")) == [1]
    assert numbers(ask("GET", "?target_branch=gone")) == []
    first = ask("GET", "?per_page=1")
    assert (numbers(first), first.headers["X-Total"]) == ([2], "2")


def test_a_merge_request_can_come_from_a_fork(sandbox, shop, ask):
    fork = sandbox.fork(sandbox.OWNER, "shop", into="acme/eve")
    made = ask(
        "POST",
        project=fork,
        source_branch="feature",
        target_branch="main",
        title="Fork",
        target_project_id=shop.number,
    ).json()
    assert (made["source_project_id"], made["target_project_id"]) == (fork.number, shop.number)
    assert numbers(ask("GET")) == [1]
    assert numbers(ask("GET", project=fork)) == []


WHOLE = {"source_branch": "feature", "target_branch": "main", "title": "x"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "", {**WHOLE, "source_branch": "gone"}, 400, "source_branch"),
        ("POST", "", {**WHOLE, "target_branch": "gone"}, 400, "target_branch"),
        ("POST", "", {**WHOLE, "target_branch": "feature"}, 422, "same project/branch"),
        ("POST", "", {**WHOLE, "target_project_id": 999}, 404, "Project Not Found"),
        ("POST", "", {"title": "x"}, 400, "source_branch is missing, target_branch is missing"),
        ("POST", "", WHOLE, 409, "already exists for this source branch: !1"),
        ("GET", "?state=gone", {}, 400, "state"),
        ("GET", "/7", {}, 404, "404 Not found"),
        ("GET", "/x", {}, 400, "merge_request_iid is invalid"),
        ("PUT", "/7", {"state_event": "close"}, 404, "404 Not found"),
        ("PUT", "/1", {"state_event": "gone"}, 400, "state_event"),
        ("PUT", "/7/merge", {}, 404, "404 Not found"),
        ("PUT", "/1/merge", {"sha": "0" * 40}, 409, "SHA does not match"),
    ],
)
def test_unknown_resources_and_invalid_operations_are_rejected(
    ask, method, path, body, status, said
):
    assert ask("POST", **WHOLE).status_code == 201
    answer = ask(method, path, **body)
    assert answer.status_code == status
    assert said in answer.text


def test_operations_without_the_required_role_or_scope_are_rejected(sandbox, ask):
    ask("POST", **WHOLE)
    reporter = sandbox.add_credential("access-token", Access.LEAST).secret.get_secret_value()
    assert ask("GET", "/1", token=reporter).status_code == 200
    assert ask("POST", token=reporter, **WHOLE).status_code == 403
    developer = sandbox.add_credential("access-token", role="Developer").secret.get_secret_value()
    assert ask("PUT", "/1/merge", token=developer).status_code == 401
    assert ask("GET", token="glpat-made-up").status_code == 401
