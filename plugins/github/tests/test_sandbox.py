"""The sandbox responds like GitHub. The kit's checks rely on that."""

from __future__ import annotations

import base64
import json

import pytest
import requests
from urllib3.util import SKIP_HEADER

from deploycore.testing.repositories import RefUpdate
from deploycore.testing.scenarios import MANY, ONE, Access
from deploycore.testing.webhooks import Listener


@pytest.fixture
def ask(sandbox):
    """Sends a request with a credential: ``ask("/user", "classic", Access.LEAST)``."""

    def send(path, mode="token", access=Access.FULL, *, method="GET", body=None, **headers):
        secret = sandbox.add_credential(mode, access).secret.get_secret_value()
        return requests.request(
            method,
            f"{sandbox.url}/api/v3{path}",
            headers={"Authorization": f"Bearer {secret}", **headers},
            json=body,
            allow_redirects=False,
        )

    return send


def test_links_contain_numbers_in_place_of_names_and_all_relations(sandbox, ask):
    sandbox.arrange(MANY)
    link = ask("/repos/ada/branches/branches?per_page=100&page=2").headers["Link"]
    number = sandbox.repository("ada", "branches").number
    at = f"{sandbox.url}/api/v3/repositories/{number}/branches?per_page=100"
    assert link == ", ".join(
        f'<{at}&page={page}>; rel="{name}"'
        for name, page in [("prev", 1), ("next", 3), ("last", 3), ("first", 1)]
    )


def test_a_single_page_has_no_links(sandbox, ask):
    sandbox.arrange(ONE)
    assert "Link" not in ask("/user/repos").headers


@pytest.mark.parametrize(("asked", "given"), [("", 30), ("?per_page=250", 100)])
def test_pages_have_thirty_items_by_default_and_at_most_a_hundred(sandbox, ask, asked, given):
    sandbox.arrange(MANY)
    assert len(ask(f"/user/repos{asked}").json()) == given


def test_errors_have_the_format_of_github(ask):
    answer = ask("/repos/ada/nowhere")
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "Not Found",
        "documentation_url": "https://docs.github.com/rest",
        "status": "404",
    }


def test_every_response_contains_the_rate_limit(ask):
    for path in ("/user", "/nowhere"):
        headers = ask(path).headers
        assert int(headers["X-RateLimit-Remaining"]) < int(headers["X-RateLimit-Limit"]) == 5000


def test_scopes_are_only_returned_for_classic_tokens(sandbox, ask):
    sandbox.arrange(ONE)
    assert ask("/repos/ada/shop", "classic").headers["X-OAuth-Scopes"] == "repo"
    hidden = ask("/repos/ada/shop", "classic", Access.UNSCOPED)
    assert (hidden.status_code, hidden.headers["X-OAuth-Scopes"]) == (404, "")
    assert hidden.headers["X-Accepted-OAuth-Scopes"] == "repo"
    refused = ask("/repos/ada/shop", access=Access.UNSCOPED)
    assert refused.status_code == 403
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "metadata=read"
    assert "X-OAuth-Scopes" not in refused.headers


def test_a_missing_user_agent_and_an_unknown_version_are_rejected(ask):
    assert ask("/user", **{"User-Agent": SKIP_HEADER}).status_code == 403
    assert ask("/user", **{"X-GitHub-Api-Version": "1999-01-01"}).status_code == 400


def test_the_app_endpoint_rejects_a_wrong_key_and_a_token(sandbox, ask):
    answer = ask("/app/installations/5001")
    assert answer.status_code == 401
    assert answer.json()["message"] == "A JSON web token could not be decoded"


@pytest.mark.parametrize(
    ("mode", "access", "status", "said"),
    [
        ("token", Access.FULL, 200, ""),
        ("token", Access.WRONG, 401, "Invalid username or token."),
        ("token", Access.UNSCOPED, 403, "Write access to repository not granted."),
        ("classic", Access.LEAST, 200, ""),
        ("classic", Access.UNSCOPED, 404, "Repository not found."),
        (None, None, 401, "Repository not found."),
    ],
)
def test_the_git_server_rejects_with_the_messages_of_github(sandbox, mode, access, status, said):
    sandbox.arrange(ONE)
    headers = {}
    if mode is not None:
        secret = sandbox.add_credential(mode, access).secret.get_secret_value()
        pair = base64.b64encode(f"anything:{secret}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    answer = requests.get(
        f"{sandbox.url}/ada/shop.git/info/refs?service=git-upload-pack", headers=headers
    )
    assert answer.status_code == status
    assert said in answer.text
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="GitHub"'


# Webhooks


def hook(url, **changes):
    config = {"url": url, "content_type": "json", "secret": "made-up", **changes}
    return {"name": "web", "events": ["push"], "config": config}


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


def test_a_webhook_is_returned_without_its_secret(sandbox, ask):
    sandbox.arrange(ONE)
    answer = ask("/repos/ada/shop/hooks", method="POST", body=hook("https://x.example/hook"))
    assert answer.status_code == 201
    assert answer.json()["config"]["secret"] == "********"
    assert ask(f"/repos/ada/shop/hooks/{answer.json()['id']}").json() == answer.json()


def test_only_a_new_webhook_is_pinged(sandbox, ask, listener):
    sandbox.arrange(ONE)
    for name in ("first", "second"):
        body = hook(f"{listener.url}/{name}")
        made = ask("/repos/ada/shop/hooks", method="POST", body=body).json()
    ask(f"/repos/ada/shop/hooks/{made['id']}", method="PATCH", body={"active": False})
    assert sandbox.webhooks.wait()
    assert [json.loads(found.body)["hook_id"] for found in listener.received] == [
        made["id"] - 1,
        made["id"],
    ]
    assert {found.headers["x-github-event"] for found in listener.received} == {"ping"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (hook("x.example/hook"), "url is missing a scheme"),
        (hook("https://x.example", content_type="form"), "sends JSON alone"),
        ({**hook("https://x.example"), "events": ["pushes"]}, "not available"),
        ({**hook("https://x.example"), "name": "email"}, "name must be web"),
        ({"name": "web"}, "url is missing"),
    ],
)
def test_an_invalid_webhook_is_rejected_with_the_field(sandbox, ask, body, said):
    sandbox.arrange(ONE)
    answer = ask("/repos/ada/shop/hooks", method="POST", body=body)
    assert answer.status_code == 422
    assert answer.json()["message"] == "Validation Failed"
    assert said in answer.json()["errors"][0]["message"]


def test_each_ref_of_a_push_is_delivered_separately_with_both_signatures(sandbox, ask, listener):
    (shop,) = sandbox.arrange(ONE)
    commit = shop.branches["trunk"]
    ask("/repos/ada/shop/hooks", method="POST", body=hook(listener.address))
    row = sandbox.repository("ada", "shop")
    sandbox.git.add_branches(row, {"one": commit, "two": commit})
    sandbox.delete_branches("ada", "shop", ["one", "two"])
    assert sandbox.webhooks.wait()
    pushes = listener.received[1:]
    told = [json.loads(found.body) for found in pushes]
    nothing = "0" * 40
    assert [(body["ref"], body["before"], body["after"]) for body in told] == [
        ("refs/heads/one", nothing, commit),
        ("refs/heads/two", nothing, commit),
        ("refs/heads/one", commit, nothing),
        ("refs/heads/two", commit, nothing),
    ]
    assert [body["created"] for body in told] == [True, True, False, False]
    assert len({found.headers["x-github-delivery"] for found in pushes}) == 4
    for found in pushes:
        assert found.headers["x-hub-signature"].startswith("sha1=")
        assert found.headers["x-hub-signature-256"].startswith("sha256=")


@pytest.mark.parametrize(
    ("kind", "count", "told"),
    [("tag", 3, 3), ("tag", 4, 0), ("branch", 5000, 5000), ("branch", 5001, 0)],
)
def test_a_push_of_very_many_refs_is_not_delivered(sandbox, monkeypatch, kind, count, told):
    made = []
    monkeypatch.setattr(
        "deploycore_github.sandbox.events.push",
        lambda repository, update, **more: made.append(update.name),
    )
    (shop,) = sandbox.arrange(ONE)
    commit = shop.branches["trunk"]
    updates = [RefUpdate(kind, str(number), None, commit) for number in range(count)]
    sandbox.push_events(sandbox.repository("ada", "shop"), updates)
    assert len(made) == told


def test_a_push_contains_whether_it_was_forced_and_which_commits_are_new(sandbox, ask, listener):
    (shop,) = sandbox.arrange(ONE)
    ask("/repos/ada/shop/hooks", method="POST", body=hook(listener.address))
    newer = sandbox.publish("ada", "shop", "trunk", {"a": b"1"}, "Next")
    row = sandbox.repository("ada", "shop")
    sandbox.git.add_branches(row, {"trunk": shop.branches["trunk"]})
    assert sandbox.webhooks.wait()
    ahead, back = (json.loads(found.body) for found in listener.received[1:])
    assert [commit["id"] for commit in ahead["commits"]] == [newer]
    assert (ahead["forced"], back["forced"]) == (False, True)
    assert back["head_commit"]["id"] == shop.branches["trunk"]


def test_a_write_request_is_redirected_with_another_status(sandbox, ask):
    sandbox.arrange(ONE)
    sandbox.rename("ada", "old", "shop")
    assert ask("/repos/ada/old/hooks").status_code == 301
    answer = ask("/repos/ada/old/hooks", method="POST", body=hook("https://x.example"))
    assert answer.status_code == 307
    assert answer.headers["Location"].endswith("/hooks")


# Reports


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/repos/ada/shop/hooks", "admin:repo_hook, public_repo, repo, write:repo_hook"),
        ("/repos/ada/shop/statuses/x", "repo, repo:status"),
        ("/repos/ada/shop/deployments", "repo, repo_deployment"),
        ("/repos/ada/hooks", "repo"),
        ("/user", ""),
    ],
)
def test_an_error_lists_the_scopes_that_would_be_accepted(sandbox, ask, path, accepted):
    sandbox.arrange(ONE)
    assert ask(path, "classic").headers["X-Accepted-OAuth-Scopes"] == accepted


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("statuses/{commit}", {"state": "successful"}, "not included in the list"),
        ("statuses/{commit}", {"state": "success", "description": "x" * 141}, "maximum is 140"),
        ("statuses/{commit}", {"state": "success", "target_url": "ftp://x"}, "http(s)"),
        ("statuses/main", {"state": "success"}, "No commit found for SHA: main"),
        ("deployments", {"ref": "nowhere"}, "No ref found for: nowhere"),
        ("deployments", {"ref": "trunk"}, "neither merges nor checks"),
    ],
)
def test_an_invalid_report_is_rejected(sandbox, ask, path, body, said):
    (shop,) = sandbox.arrange(ONE)
    place = path.format(commit=shop.branches["trunk"])
    answer = ask(f"/repos/ada/shop/{place}", method="POST", body=body)
    assert answer.status_code == 422
    assert said in answer.text


def test_a_successful_deployment_replaces_the_previous_one(sandbox, ask):
    (shop,) = sandbox.arrange(ONE)
    wanted = {"ref": "trunk", "environment": "shop", "auto_merge": False, "required_contexts": []}
    for _ in range(2):
        made = ask("/repos/ada/shop/deployments", method="POST", body=wanted).json()
        place = f"/repos/ada/shop/deployments/{made['id']}/statuses"
        assert ask(place, method="POST", body={"state": "success"}).status_code == 201
    listed = ask("/repos/ada/shop/deployments?environment=shop").json()
    assert [found["id"] for found in listed] == [made["id"], made["id"] - 1]
    assert {found["sha"] for found in listed} == {shop.branches["trunk"]}
    assert ask("/repos/ada/shop/deployments?environment=other").json() == []
    unknown = ask("/repos/ada/shop/deployments/99/statuses", method="POST", body={"state": "error"})
    assert unknown.status_code == 404
