"""The sandbox's pull requests over REST, as Gitea's API description has them."""

from __future__ import annotations

import json

import pytest
import requests
from deploycore.testing.scenarios import Access

from deploycore_gitea.sandbox import GiteaSandbox


@pytest.fixture
def sandbox():
    with GiteaSandbox() as running:
        running.publish("ada", "shop", "main", {"a": b"1\n"}, "Open")
        running.publish("ada", "shop", "feature", {"a": b"2\n"}, "Change")
        yield running


@pytest.fixture
def ask(sandbox):
    token = sandbox.add_credential("token").secret.get_secret_value()

    def ask(method, path="", token=token, **body):
        return requests.request(
            method,
            f"{sandbox.url}/api/v1/repos/ada/shop/pulls{path}",
            data=json.dumps(body) if body else None,
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            timeout=30,
        )

    return ask


def numbers(answer):
    return [row["number"] for row in answer.json()]


def test_a_pull_request_is_opened_listed_and_merged(sandbox, ask):
    made = ask("POST", head="feature", base="main", title="Change it")
    assert made.status_code == 201
    row = made.json()
    assert (row["number"], row["state"], row["merged"], row["title"]) == (
        1,
        "open",
        False,
        "Change it",
    )
    assert (row["head"]["ref"], row["base"]["ref"]) == ("feature", "main")
    assert numbers(ask("GET")) == [1]
    assert ask("GET", "/1").json() == row
    assert ask("GET", "/1/merge").status_code == 404
    assert ask("POST", "/1/merge", Do="merge").status_code == 200
    assert ask("GET", "/1/merge").status_code == 204
    assert ask("GET", "/1").json()["merged"] is True
    branches = dict(sandbox.branches(sandbox.find("ada", "shop")))
    assert branches["main"] == branches["feature"] == row["head"]["sha"]
    assert ask("POST", "/1/merge", Do="merge").status_code == 405
    assert ask("PATCH", "/1", state="open").status_code == 412


def test_a_pull_request_is_closed_edited_and_opened_again(ask):
    ask("POST", head="feature", base="main")
    assert ask("PATCH", "/1", state="closed").json()["state"] == "closed"
    assert numbers(ask("GET")) == []
    assert numbers(ask("GET", "?state=closed")) == [1]
    assert numbers(ask("GET", "?state=all")) == [1]
    changed = ask("PATCH", "/1", state="open", title="Another").json()
    assert (changed["state"], changed["title"]) == ("open", "Another")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"head": "gone", "base": "main"}, 404),
        ("POST", "", {"head": "feature", "base": "gone"}, 404),
        ("POST", "", {"head": "nobody:feature", "base": "main"}, 404),
        ("POST", "", {"base": "main"}, 422),
        ("GET", "/7", {}, 404),
        ("GET", "/x", {}, 404),
        ("PATCH", "/7", {"state": "closed"}, 404),
        ("POST", "/7/merge", {"Do": "merge"}, 404),
    ],
)
def test_requests_for_unknown_resources_are_rejected(ask, method, path, body, status):
    assert ask(method, path, **body).status_code == status


def test_the_same_pull_request_is_not_opened_twice(ask):
    assert ask("POST", head="feature", base="main").status_code == 201
    assert ask("POST", head="feature", base="main").status_code == 409


def test_a_read_only_user_cannot_open_or_merge_pull_requests(sandbox, ask):
    reader = sandbox.add_credential("token", Access.LEAST).secret.get_secret_value()
    ask("POST", head="feature", base="main")
    assert ask("GET", "/1", reader).status_code == 200
    assert ask("POST", "", reader, head="feature", base="main").status_code == 403
    assert ask("POST", "/1/merge", reader, Do="merge").status_code == 403
    assert ask("GET", "", "made-up").status_code == 401
