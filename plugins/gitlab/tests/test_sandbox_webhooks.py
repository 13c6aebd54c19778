"""The sandbox's webhooks, statuses and deployments answer and refuse as GitLab does."""

from __future__ import annotations

import base64
import json

import pytest
import requests
from deploycore.errors import NotFound
from deploycore.testing.scenarios import ONE
from deploycore.testing.webhooks import Listener

TOKEN = "whsec_" + base64.b64encode(b"k" * 32).decode()
URL = "https://deploy.example.com/webhook"


@pytest.fixture
def start(sandbox):
    (shop,) = sandbox.arrange(ONE)
    return shop.branches["trunk"]


@pytest.fixture
def ask(sandbox, start):
    """``ask("POST", "hooks", url=…)``: a request about the shop by a maintainer's token."""
    secret = sandbox.add_credential("access-token").secret.get_secret_value()

    def send(method, path, /, project="acme%2Fplatform%2Fshop", **body):
        return requests.request(
            method,
            f"{sandbox.url}/api/v4/projects/{project}/{path}",
            json=body or None,
            headers={"PRIVATE-TOKEN": secret},
            timeout=10,
        )

    return send


@pytest.fixture
def listener():
    """The listener to which webhooks send."""
    with Listener() as running:
        yield running


def test_a_webhook_shows_which_secrets_it_has_but_never_their_values(ask):
    made = ask("POST", "hooks", url=URL, token="plain", signing_token=TOKEN)
    assert made.status_code == 201
    assert (made.json()["token_present"], made.json()["signing_token_present"]) == (True, True)
    assert "plain" not in made.text
    assert TOKEN not in made.text
    changed = ask("PUT", f"hooks/{made.json()['id']}", url=URL, token="")
    assert (changed.status_code, changed.json()["token_present"]) == (200, False)
    assert changed.json()["signing_token_present"]


def test_a_webhook_receives_branch_pushes_by_default(ask):
    made = ask("POST", "hooks", url=URL).json()
    assert (made["push_events"], made["tag_push_events"], made["merge_requests_events"]) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "400 Bad request"),
        ({"token": "plain"}, 400, "url is missing"),
        ({"url": "ftp://x"}, 422, "Invalid url given"),
        ({"url": URL, "signing_token": "whsec_short"}, 422, "encoding a 32-byte key"),
        ({"url": URL, "signing_token": TOKEN[6:]}, 422, "encoding a 32-byte key"),
    ],
    ids=["no-body", "no-url", "ftp", "short", "no-prefix"],
)
def test_an_invalid_webhook_is_rejected(ask, body, status, said):
    refused = ask("POST", "hooks", **body)
    assert refused.status_code == status
    assert said in refused.text


def test_webhooks_belong_to_one_project_and_are_identified_by_numbers(ask):
    number = ask("POST", "hooks", url=URL).json()["id"]
    assert ask("DELETE", "hooks/x").status_code == 400
    assert ask("DELETE", f"hooks/{number + 1}").status_code == 404
    assert ask("DELETE", f"hooks/{number}", project="acme%2Fplatform%2Fx").status_code == 404
    assert ask("DELETE", f"hooks/{number}").status_code == 204
    assert ask("GET", "hooks").json() == []


def test_an_old_project_path_cannot_be_written(sandbox, ask):
    sandbox.moved["acme/old"] = sandbox.find("acme/platform", "shop")
    assert ask("GET", "hooks", project="acme%2Fold").status_code == 200
    assert ask("POST", "hooks", project="acme%2Fold", url=URL).status_code == 404


def test_a_delivery_has_the_documented_headers(sandbox, ask, listener):
    ask("POST", "hooks", url=listener.address, token="plain", signing_token=TOKEN)
    sandbox.publish("acme/platform", "shop", "trunk", {"a": b"1"}, "Next")
    assert sandbox.webhooks.wait()
    (found,) = listener.received
    assert found.headers["x-gitlab-event"] == "Push Hook"
    assert found.headers["x-gitlab-token"] == "plain"
    assert found.headers["webhook-id"] == found.headers["idempotency-key"]
    assert found.headers["webhook-signature"].startswith("v1,")
    assert found.headers["x-gitlab-instance"] == sandbox.root
    body = json.loads(found.body)
    assert body["project"]["path_with_namespace"] == "acme/platform/shop"
    assert [commit["title"] for commit in body["commits"]] == ["Next"]


def test_a_merge_request_update_has_oldrev_only_if_commits_changed(sandbox, ask, start, listener):
    ask("POST", "hooks", url=listener.address, merge_requests_events=True, push_events=False)
    sandbox.publish("acme/platform", "shop", "topic", {"a": b"1"}, "Next")
    request = sandbox.open_pull_request("acme/platform", "shop", "topic", "trunk")
    sandbox.publish("acme/platform", "shop", "topic", {"a": b"2"}, "More")
    sandbox.edit_pull_request(request, title="Anvils")
    assert sandbox.webhooks.wait()
    told = [json.loads(found.body) for found in listener.received]
    assert [body["object_attributes"]["action"] for body in told] == ["open", "update", "update"]
    assert [body["object_attributes"].get("oldrev") for body in told] == [
        None,
        request.commit,
        None,
    ]
    assert told[2]["changes"] == {"title": {"previous": "topic", "current": "Anvils"}}


def test_a_merge_request_needs_an_existing_project_and_branches(sandbox, start):
    for arguments in (
        ("acme/platform", "x", "trunk", "trunk"),
        ("acme/platform", "shop", "x", "y"),
    ):
        with pytest.raises(NotFound):
            sandbox.open_pull_request(*arguments)
    request = sandbox.open_pull_request("acme/platform", "shop", "trunk", "trunk")
    sandbox.arrange(ONE)
    with pytest.raises(NotFound):
        sandbox.close_pull_request(request)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "x"}, "state is missing"),
        ({"state": "successful"}, "state does not have a valid value"),
        ({"state": "success", "description": "x" * 256}, "too long"),
        ({"state": "success", "target_url": "https://x/" + "x" * 256}, "too long"),
    ],
    ids=["missing", "unknown", "description", "address"],
)
def test_an_invalid_status_is_rejected(ask, start, body, said):
    refused = ask("POST", f"statuses/{start}", **body)
    assert refused.status_code == 400
    assert said in refused.text


def test_a_running_status_cannot_be_set_to_running(ask, start):
    assert ask("POST", f"statuses/{start}", state="running").status_code == 201
    refused = ask("POST", f"statuses/{start}", state="running")
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("Cannot transition status via :run from :running")
    assert ask("POST", f"statuses/{start}", state="success").json()["status"] == "success"
    assert ask("POST", f"statuses/{start}", state="running").status_code == 201


def test_an_invalid_deployment_is_rejected(ask, start):
    body = {"environment": "x", "sha": start, "ref": "trunk", "tag": False, "status": "running"}
    for field in body:
        refused = ask("POST", "deployments", **{k: v for k, v in body.items() if k != field})
        assert refused.json() == {"error": f"{field} is missing"}
    wrong = ask("POST", "deployments", **{**body, "sha": "0" * 40, "ref": "x"})
    assert (wrong.status_code, set(wrong.json()["message"])) == (400, {"sha", "ref"})
    assert ask("POST", "deployments", **{**body, "status": "done"}).status_code == 400
    number = ask("POST", "deployments", **body).json()["id"]
    assert ask("PUT", f"deployments/{number}", status="running").status_code == 400
    assert ask("PUT", f"deployments/{number + 1}", status="success").status_code == 404
    assert ask("PUT", f"deployments/{number}", status="success").json()["status"] == "success"


def test_deployments_are_listed_by_environment_oldest_first_by_default(ask, start):
    body = {"sha": start, "ref": "trunk", "tag": False, "status": "success"}
    for environment in ("live", "test", "live"):
        ask("POST", "deployments", environment=environment, **body)
    listed = ask("GET", "deployments?environment=live").json()
    assert [each["id"] for each in listed] == [1, 3]
    newest = ask("GET", "deployments?environment=live&sort=desc&per_page=1").json()
    assert [each["id"] for each in newest] == [3]
