"""Pull requests over REST. All answers are held to Atlassian's description by the session."""

from __future__ import annotations

import pytest

SHOP = "/repositories/acme/shop/pullrequests"


@pytest.fixture
def shop(sandbox):
    row = sandbox.add_repository("acme", "shop", files={"a": b"1"})
    sandbox.commit("acme", "shop", "feature", {"a": b"2"}, "Change")
    return row


@pytest.fixture
def ask(sandbox, session, shop, ada, authorization_for):
    token = sandbox.add_api_token(ada)

    def send(method, path="", *, credential=token, query=None, **body):
        return session.request(
            method,
            f"{sandbox.api_url}{SHOP}{path}",
            params=query,
            json=body or None,
            headers=authorization_for(credential),
            timeout=10,
        )

    return send


def change(**more):
    source = {"branch": {"name": "feature"}}
    return {"type": "pullrequest", "title": "Change it", "source": source, **more}


def numbers(answer):
    return [row["id"] for row in answer.json()["values"]]


def test_a_pull_request_is_opened_listed_and_merged(sandbox, ask):
    branches = dict(sandbox.git.branches(sandbox.existing("acme", "shop")))
    made = ask("POST", **change())
    assert made.status_code == 201
    row = made.json()
    assert made.headers["Location"] == row["links"]["self"]["href"]
    assert (row["id"], row["state"], row["title"]) == (1, "OPEN", "Change it")
    assert row["destination"]["branch"]["name"] == "main"
    assert branches["feature"].startswith(row["source"]["commit"]["hash"])
    assert ask("GET", "/1").json() == row
    [listed] = ask("GET").json()["values"]
    assert row == {**listed, "participants": [], "reviewers": []}
    merged = ask("POST", "/1/merge", type="pullrequest_merge_parameters", message="Merge")
    assert (merged.status_code, merged.json()["state"]) == (200, "MERGED")
    assert merged.json()["merge_commit"]["hash"] == row["source"]["commit"]["hash"]
    assert sandbox.git.branches(sandbox.existing("acme", "shop"))["main"] == branches["feature"]
    assert numbers(ask("GET")) == []
    assert numbers(ask("GET", query={"state": "MERGED"})) == [1]
    for path in ("/1/merge", "/1/decline"):
        assert "already closed" in ask("POST", path).json()["error"]["message"]


def test_a_pull_request_is_edited_and_declined(ask):
    ask("POST", **change())
    assert ask("PUT", "/1", type="pullrequest", title="Another").json()["title"] == "Another"
    declined = ask("POST", "/1/decline").json()
    assert (declined["state"], declined["closed_by"]["nickname"]) == ("DECLINED", "ada")
    assert numbers(ask("GET")) == []
    assert numbers(ask("GET", query=[("state", "OPEN"), ("state", "DECLINED")])) == [1]
    assert ask("PUT", "/1", type="pullrequest", title="Late").status_code == 400


def test_opening_a_pull_request_for_the_same_branches_updates_it(ask):
    ask("POST", **change())
    assert ask("POST", **change(title="Once more")).json()["id"] == 1
    assert ask("GET", "/1").json()["title"] == "Once more"


def test_a_pull_request_can_come_from_a_fork_that_is_deleted_later(sandbox, ask):
    sandbox.fork("acme", "shop", into="ada")
    source = {"branch": {"name": "feature"}, "repository": {"full_name": "ada/shop"}}
    source["repository"]["type"] = "repository"
    made = ask("POST", **change(source=source))
    assert made.json()["source"]["repository"]["full_name"] == "ada/shop"
    sandbox.remove_repository("ada", "shop")
    assert ask("GET", "/1").json()["source"]["repository"] is None
    assert ask("POST", "/1/merge").status_code == 400


GONE = {"branch": {"name": "gone"}}
FOREIGN = {
    "branch": {"name": "feature"},
    "repository": {"type": "repository", "full_name": "nobody/shop"},
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "", change(source=GONE), 400, "source: branch not found: gone"),
        ("POST", "", change(destination=GONE), 400, "destination: branch not found: gone"),
        ("POST", "", change(source=FOREIGN), 400, "repository not found"),
        ("POST", "", change(source={"branch": {"name": "main"}}), 400, "no changes to be pulled"),
        ("POST", "", {"type": "pullrequest", "title": "x"}, 400, "source: This field is required"),
        ("GET", "/7", {}, 404, "not found"),
        ("GET", "/x", {}, 404, "not found"),
        ("PUT", "/7", {"title": "x"}, 404, "not found"),
        ("POST", "/7/merge", {}, 404, "not found"),
        ("POST", "/7/decline", {}, 404, "not found"),
    ],
)
def test_requests_for_unknown_resources_are_rejected(ask, method, path, body, status, said):
    answer = ask(method, path, **body)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_a_read_only_user_cannot_open_or_merge_pull_requests(sandbox, ada, ask):
    ask("POST", **change())
    reader = sandbox.add_api_token(ada, scopes=["read:pullrequest:bitbucket"])
    assert ask("GET", "/1", credential=reader).status_code == 200
    for path, body in (("", change()), ("/1/merge", {}), ("/1/decline", {})):
        refused = ask("POST", path, credential=reader, **body)
        assert refused.status_code == 403
        assert "write:pullrequest:bitbucket" in refused.json()["error"]["detail"]["required"]
    assert ask("GET", credential=None).status_code == 401
