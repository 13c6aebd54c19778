"""The sandbox's pull requests over REST, as GitHub's documentation has them."""

from __future__ import annotations

import json

import pytest
import requests

from deploycore.testing.scenarios import Access
from deploycore.testing.webhooks import Hook

# What the schema "pull-request" of GitHub's documentation has, and the plugin's users may read.
NEEDED = {
    "url",
    "id",
    "html_url",
    "diff_url",
    "patch_url",
    "issue_url",
    "commits_url",
    "statuses_url",
    "number",
    "state",
    "locked",
    "title",
    "user",
    "body",
    "labels",
    "milestone",
    "created_at",
    "updated_at",
    "closed_at",
    "merged_at",
    "merge_commit_sha",
    "assignee",
    "head",
    "base",
    "draft",
    "author_association",
}
ONLY_ALONE = {"merged", "mergeable", "mergeable_state", "rebaseable", "merged_by", "comments"}


@pytest.fixture
def shop(sandbox):
    sandbox.publish("ada", "shop", "main", {"a": b"1\n"}, "Open")
    sandbox.publish("ada", "shop", "feature", {"a": b"2\n"}, "Change")
    return sandbox.find("ada", "shop")


@pytest.fixture
def ask(sandbox, shop):
    token = sandbox.add_credential("token").secret.get_secret_value()

    def send(method, path="", *, token=token, **body):
        return requests.request(
            method,
            f"{sandbox.url}/api/v3/repos/ada/shop/pulls{path}",
            json=body or None,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )

    return send


def numbers(answer):
    return [row["number"] for row in answer.json()]


def test_a_pull_request_is_opened_listed_and_merged(sandbox, shop, ask):
    before = dict(sandbox.branches(shop))
    made = ask("POST", title="Change it", head="feature", base="main")
    assert made.status_code == 201
    row = made.json()
    assert row.keys() >= NEEDED | ONLY_ALONE
    assert (row["number"], row["state"], row["title"]) == (1, "open", "Change it")
    assert (row["head"]["sha"], row["base"]["sha"]) == (before["feature"], before["main"])
    assert row["head"]["repo"]["full_name"] == "ada/shop"
    assert ask("GET", "/1").json() == row
    [listed] = ask("GET").json()
    assert listed == {name: value for name, value in row.items() if name not in ONLY_ALONE}
    assert ask("GET", "/1/merge").status_code == 404

    merged = ask("PUT", "/1/merge", sha=before["feature"], merge_method="squash")
    assert merged.status_code == 200
    assert merged.json()["merged"] is True
    assert dict(sandbox.branches(shop))["main"] == merged.json()["sha"]
    assert ask("GET", "/1/merge").status_code == 204
    now = ask("GET", "/1").json()
    assert (now["state"], now["merged"], now["base"]["sha"]) == ("closed", True, before["main"])
    assert now["merged_at"]
    assert now["merged_by"]["login"] == "ada"
    assert ask("PUT", "/1/merge").status_code == 405
    assert ask("PATCH", "/1", state="open").status_code == 422


def test_the_response_has_the_same_fields_as_the_webhook(sandbox, shop, ask):
    hooks = []
    sandbox.webhooks.put(Hook("1", "ada/shop", "http://127.0.0.1:9/", ("pull_request",)))
    sandbox.webhooks.fire = lambda _, event: hooks.append(event)
    row = ask("POST", title="Change it", head="feature", base="main").json()
    told = json.loads(hooks[0].body)["pull_request"]
    assert told.items() <= row.items()


def test_a_pull_request_is_closed_edited_and_opened_again(ask):
    ask("POST", title="Change it", head="feature", base="main")
    assert ask("PATCH", "/1", state="closed").json()["state"] == "closed"
    assert numbers(ask("GET")) == []
    assert numbers(ask("GET", "?state=closed")) == numbers(ask("GET", "?state=all")) == [1]
    changed = ask("PATCH", "/1", state="open", title="Another").json()
    assert (changed["state"], changed["title"], changed["closed_at"]) == ("open", "Another", None)


def test_lists_are_filtered_by_head_and_base_and_have_pages(sandbox, ask):
    for name in ("second", "third"):
        sandbox.publish("ada", "shop", name, {"a": name.encode()}, "Change")
        ask("POST", title=name, head=name, base="main")
    assert numbers(ask("GET", "?head=ada:second")) == [1]
    assert numbers(ask("GET", "?base=gone")) == []
    assert numbers(ask("GET", "?direction=asc")) == [1, 2]
    first = ask("GET", "?per_page=1")
    assert numbers(first) == [2]
    token = first.request.headers["Authorization"]
    following = requests.get(
        first.links["next"]["url"], headers={"Authorization": token}, timeout=30
    )
    assert numbers(following) == [1]


def test_a_pull_request_can_come_from_a_fork_that_is_deleted_later(sandbox, shop, ask):
    fork = sandbox.fork("ada", "shop", into="eve")
    sandbox.publish("eve", "shop", "feature", {"a": b"3\n"}, "Change")
    assert ask("POST", title="Fork", head="eve:feature", base="main").status_code == 201
    assert ask("GET", "/1").json()["head"]["label"] == "eve:feature"
    sandbox.delete(fork)
    assert ask("GET", "/1").json()["head"]["repo"] is None
    assert ask("PUT", "/1/merge").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "", {"title": "x", "head": "gone", "base": "main"}, 422, "head"),
        ("POST", "", {"title": "x", "head": "feature", "base": "gone"}, 422, "base"),
        ("POST", "", {"title": "x", "head": "nobody:feature", "base": "main"}, 422, "head"),
        ("POST", "", {"title": "x", "head": "main", "base": "main"}, 422, "No commits between"),
        ("POST", "", {"head": "feature", "base": "main"}, 422, "missing_field"),
        ("GET", "/7", {}, 404, "Not Found"),
        ("GET", "/x", {}, 404, "Not Found"),
        ("PATCH", "/7", {"state": "closed"}, 404, "Not Found"),
        ("PUT", "/7/merge", {}, 404, "Not Found"),
    ],
)
def test_requests_for_unknown_resources_are_rejected(ask, method, path, body, status, said):
    answer = ask(method, path, **body)
    assert answer.status_code == status
    assert said in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"title": "x", "head": "feature", "base": "main"}, 422),
        ("PUT", "/1/merge", {"sha": "0" * 40}, 409),
        ("PUT", "/1/merge", {"merge_method": "magic"}, 422),
        ("PATCH", "/1", {"state": "gone"}, 422),
    ],
)
def test_invalid_changes_to_an_open_pull_request_are_rejected(ask, method, path, body, status):
    ask("POST", title="Change it", head="feature", base="main")
    assert ask(method, path, **body).status_code == status


def test_a_user_with_read_access_to_contents_cannot_open_or_merge(sandbox, ask):
    reader = sandbox.add_credential("token", Access.LEAST).secret.get_secret_value()
    ask("POST", title="Change it", head="feature", base="main")
    asked = [
        ask("POST", token=reader, title="x", head="feature", base="main"),
        ask("PUT", "/1/merge", token=reader),
        ask("GET", "/1", token=reader),
    ]
    assert [answer.status_code for answer in asked] == [403, 403, 403]
    needed = [answer.headers["X-Accepted-GitHub-Permissions"] for answer in asked]
    assert needed == ["pull_requests=write", "contents=write", "pull_requests=read"]
    assert ask("GET", token="made-up").status_code == 401
