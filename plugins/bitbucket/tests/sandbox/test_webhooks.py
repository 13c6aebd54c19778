"""The sandbox's webhooks and build statuses: the API, and what is sent when something happens."""

from __future__ import annotations

import hashlib
import hmac
import json
from uuid import UUID

import pytest
from deploycore_bitbucket.sandbox import DeliveryRules, Fault, faults

from deploycore.errors import NotFound
from deploycore.testing.webhooks import Listener

SECRET = "It's a Secret to Everybody"
PULL_REQUESTS = [f"pullrequest:{what}" for what in ("created", "updated", "push", "fulfilled")]
EVENTS = ["repo:push", *PULL_REQUESTS, "pullrequest:rejected"]


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


@pytest.fixture
def start(sandbox):
    """The hash of the first commit of acme/shop."""
    return sandbox.commit("acme", "shop", "main", {"README.md": b"Shop"}, "Start")


@pytest.fixture
def ask(sandbox, session, ada, authorization_for):
    """``ask("POST", "hooks", url=…)``: a request about acme/shop by ada's API token."""
    token = sandbox.add_api_token(ada)

    def send(method, path, /, credential=token, **body):
        return session.request(
            method,
            f"{sandbox.api_url}/repositories/acme/shop/{path}",
            json=body or None,
            headers=authorization_for(credential),
            timeout=10,
        )

    return send


@pytest.fixture
def register(ask, listener, start):
    def add(**changes):
        body = {"url": listener.address, "active": True, "secret": SECRET, "events": EVENTS}
        answer = ask("POST", "hooks", **{**body, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return add


@pytest.fixture
def received(sandbox, listener):
    """What came to the listener once everything is delivered: event keys and bodies."""

    def read():
        assert sandbox.webhooks.wait()
        return [
            (found.headers["x-event-key"], json.loads(found.body)) for found in listener.received
        ]

    return read


def changes(body):
    return [
        tuple(side and (side["type"], side["name"], side["target"]["hash"]) for side in pair)
        for pair in ((change["old"], change["new"]) for change in body["push"]["changes"])
    ]


def test_a_webhook_is_created_listed_changed_and_deleted(sandbox, ask, register, listener):
    made = register(description="deploycore")
    assert made["secret_set"] is True
    assert "secret" not in made
    assert ask("GET", "hooks").json()["values"] == [made]
    at = f"hooks/{made['uuid']}"
    assert ask("GET", at).json() == made
    changed = ask("PUT", at, active=False, events=["repo:push"]).json()
    assert (changed["active"], changed["events"], changed["secret_set"]) == (
        False,
        ["repo:push"],
        True,
    )
    assert ask("PUT", at, secret=None).json()["secret_set"] is False
    assert ask("DELETE", at).status_code == 204
    assert ask("DELETE", at).status_code == 404
    assert ask("GET", at).status_code == 404
    assert ask("GET", "hooks").json()["values"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "no address"),
        ("url", 7),
        ("events", []),
        ("events", ["repo:nothing"]),
        ("secret", "s" * 129),
    ],
)
def test_an_invalid_webhook_is_rejected_with_the_field(ask, start, listener, field, value):
    body = {"url": listener.address, "events": EVENTS, field: value}
    answer = ask("POST", "hooks", **body)
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ((), 401),
        (("read:webhook:bitbucket",), 403),
        (("read:webhook:bitbucket", "write:webhook:bitbucket"), 403),
        (
            (
                "read:webhook:bitbucket",
                "write:webhook:bitbucket",
                "read:repository:bitbucket",
                "read:pullrequest:bitbucket",
            ),
            201,
        ),
    ],
)
def test_creating_a_webhook_requires_the_scopes_of_its_events(
    sandbox, ada, ask, start, listener, scopes, status
):
    token = sandbox.add_api_token(ada, scopes=scopes)
    answer = ask("POST", "hooks", token, url=listener.address, events=EVENTS)
    assert answer.status_code == status


def test_only_administrators_can_manage_webhooks(sandbox, ask, start):
    grace = sandbox.add_user("grace")
    sandbox.add_member("acme", grace)
    assert ask("GET", "hooks", sandbox.add_api_token(grace)).status_code == 403
    assert ask("GET", "hooks", sandbox.add_access_token("acme")).status_code == 200


def test_a_commit_is_delivered_with_its_signature_and_headers(
    sandbox, register, received, start, listener
):
    hook = register()
    commit = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
    ((key, body),) = received()
    assert key == "repo:push"
    assert changes(body) == [(("branch", "main", start), ("branch", "main", commit))]
    assert body["repository"]["full_name"] == "acme/shop"
    (found,) = listener.received
    digest = hmac.new(SECRET.encode(), found.body, hashlib.sha256).hexdigest()
    assert found.headers["x-hub-signature"] == f"sha256={digest}"
    assert found.headers["x-hook-uuid"] == hook["uuid"].strip("{}")
    assert found.headers["x-attempt-number"] == "1"
    assert UUID(found.headers["x-request-uuid"])


def test_without_a_secret_there_is_no_signature(sandbox, register, received, listener):
    register(secret=None)
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
    assert len(received()) == 1
    assert "x-hub-signature" not in listener.received[0].headers


def test_several_refs_of_one_push_are_one_delivery(sandbox, register, received, start):
    register()
    sandbox.add_branches("acme", "shop", ["a", "b"], at=start)
    sandbox.delete_branches("acme", "shop", ["a", "nothing"])
    sandbox.add_tag("acme", "shop", "v1", at=start)
    sandbox.delete_tag("acme", "shop", "v1")
    assert [changes(body) for _, body in received()] == [
        [(None, ("branch", "a", start)), (None, ("branch", "b", start))],
        [(("branch", "a", start), None)],
        [(None, ("tag", "v1", start))],
        [(("tag", "v1", start), None)],
    ]


def test_a_push_by_stock_git_is_delivered_with_its_actor(
    sandbox, register, received, start, ada, git, tmp_path, joined_url
):
    register()
    clone = tmp_path / "clone"
    assert (
        git("clone", joined_url(sandbox.add_api_token(ada), "acme/shop"), "clone").returncode == 0
    )
    for number in range(7):
        git("commit", "--allow-empty", "-m", f"Commit {number}", at=clone)
    git("tag", "-a", "v2", "-m", "Two", at=clone)
    done = git("push", "--follow-tags", "origin", "main", "main:topic", at=clone)
    assert done.returncode == 0, done.stderr
    head = git("rev-parse", "HEAD", at=clone).stdout.strip()
    ((_, body),) = received()
    assert changes(body) == [
        (("branch", "main", start), ("branch", "main", head)),
        (None, ("branch", "topic", head)),
        (None, ("tag", "v2", head)),
    ]
    assert body["actor"]["nickname"] == "ada"
    moved = body["push"]["changes"][0]
    assert (len(moved["commits"]), moved["truncated"], moved["forced"]) == (5, True, False)


def test_a_forced_push_and_a_deleted_branch_are_delivered(
    sandbox, register, received, start, ada, git, tmp_path, joined_url
):
    second = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Second")
    sandbox.add_branches("acme", "shop", ["old"], at=start)
    register()
    clone = tmp_path / "clone"
    git("clone", joined_url(sandbox.add_api_token(ada), "acme/shop"), "clone")
    git("reset", "--hard", start, at=clone)
    done = git("push", "--force", "origin", "main", ":old", at=clone)
    assert done.returncode == 0, done.stderr
    ((_, body),) = received()
    assert changes(body) == [
        (("branch", "main", second), ("branch", "main", start)),
        (("branch", "old", start), None),
    ]
    forced, closed = body["push"]["changes"]
    assert forced["forced"]
    assert closed["closed"]


def test_a_push_that_changes_nothing_is_not_delivered(
    sandbox, register, received, start, ada, git, tmp_path, joined_url
):
    register()
    git("clone", joined_url(sandbox.add_api_token(ada), "acme/shop"), "clone")
    assert git("push", "origin", "main", at=tmp_path / "clone").returncode == 0
    assert received() == []


def test_a_failed_delivery_is_retried_twice_with_the_same_request(
    sandbox, register, received, listener
):
    register()
    listener.faults.add(Fault(faults.answer(503), times=2))
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
    assert len(received()) == 3
    headers = [found.headers for found in listener.received]
    assert [found["x-attempt-number"] for found in headers] == ["1", "2", "3"]
    assert len({found["x-request-uuid"] for found in headers}) == 1
    (told,) = sandbox.deliveries
    assert told.statuses == (503, 503, 202)
    assert told.is_accepted


def test_delivery_stops_after_three_attempts(sandbox, register, received, listener):
    register()
    listener.faults.add(Fault(faults.connection_reset()))
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
    received()
    assert sandbox.deliveries[0].statuses == (None, None, None)


def test_an_oversized_delivery_is_not_sent(make_populated, listener, authorization_for, session):
    rules = DeliveryRules(body_bytes_most=10)
    sandbox = make_populated(webhook_rules=rules)
    token = sandbox.add_access_token("acme")
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Start")
    body = {"url": listener.address, "events": EVENTS}
    url = f"{sandbox.api_url}/repositories/acme/shop/hooks"
    session.post(url, json=body, headers=authorization_for(token), timeout=10)
    sandbox.commit("acme", "shop", "main", {"a": b"2"}, "Next")
    assert sandbox.webhooks.wait()
    assert listener.received == []
    assert [(told.done, told.is_accepted) for told in sandbox.deliveries] == [(True, False)]


def test_other_repositories_and_inactive_webhooks_receive_nothing(sandbox, register, received):
    register(active=False)
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "Next")
    sandbox.commit("acme", "other", "main", {"a": b"1"}, "Next")
    assert received() == []


def test_all_events_of_a_pull_request_are_delivered(sandbox, register, received, start):
    sandbox.commit("acme", "shop", "topic", {"a": b"1"}, "Topic")
    register(events=[*PULL_REQUESTS, "pullrequest:rejected"])
    row = sandbox.open_pull_request("acme", "shop", "topic", "main", title="Anvils")
    newest = sandbox.commit("acme", "shop", "topic", {"a": b"2"}, "More")
    sandbox.update_pull_request(row, title="Better anvils")
    merged = sandbox.merge_pull_request(row)
    other = sandbox.open_pull_request("acme", "shop", "topic", "main")
    sandbox.decline_pull_request(other)
    told = received()
    assert [key for key, _ in told] == [*PULL_REQUESTS[:3], *PULL_REQUESTS[1:2], *PULL_REQUESTS[3:],
                                        "pullrequest:created", "pullrequest:rejected"]  # fmt: skip
    requests = [body["pullrequest"] for _, body in told]
    assert [found["id"] for found in requests] == [1, 1, 1, 1, 1, 2, 2]
    assert requests[0]["title"] == "Anvils"
    assert requests[3]["title"] == "Better anvils"
    assert requests[4]["source"]["commit"]["hash"] == newest[:12]
    assert requests[-1]["state"] == "DECLINED"
    assert merged.state == "MERGED"
    assert sandbox.git.branches(sandbox.existing("acme", "shop"))["main"] == newest


def test_a_pull_request_contains_its_fork_until_it_is_deleted(sandbox, register, received, start):
    fork = sandbox.fork("acme", "shop", into="ada")
    register(events=["pullrequest:created", "pullrequest:push", "pullrequest:rejected"])
    commit = sandbox.commit("ada", "shop", "topic", {"a": b"1"}, "Topic")
    row = sandbox.open_pull_request("acme", "shop", "topic", "main", source=fork)
    sandbox.commit("ada", "shop", "topic", {"a": b"2"}, "More")
    sandbox.remove_repository("ada", "shop")
    sandbox.decline_pull_request(row)
    sources = [body["pullrequest"]["source"] for _, body in received()]
    names = [found["repository"] and found["repository"]["full_name"] for found in sources]
    assert names == ["ada/shop", "ada/shop", None]
    assert sources[0]["commit"]["hash"] == commit[:12]
    with pytest.raises(NotFound):
        sandbox.merge_pull_request(row)


def test_a_pull_request_from_a_fork_can_be_merged(sandbox, register, received, start):
    fork = sandbox.fork("acme", "shop", into="ada")
    commit = sandbox.commit("ada", "shop", "topic", {"a": b"1"}, "Topic")
    register()
    row = sandbox.open_pull_request("acme", "shop", "topic", "main", source=fork)
    sandbox.merge_pull_request(row)
    assert [key for key, _ in received()] == [
        "pullrequest:created",
        "repo:push",
        "pullrequest:fulfilled",
    ]
    assert sandbox.git.branches(sandbox.existing("acme", "shop")) == {"main": commit}


def test_an_unknown_branch_cannot_have_a_pull_request(sandbox, start):
    with pytest.raises(NotFound, match="nothing"):
        sandbox.open_pull_request("acme", "shop", "nothing", "main")


def test_removing_a_repository_deletes_its_webhooks(sandbox, register, received):
    register()
    sandbox.remove_workspace("acme")
    assert list(sandbox.webhooks.of("acme/shop")) == []
    assert list(sandbox.webhooks.secrets) == []


def test_the_log_contains_no_webhook_secret(sandbox, register):
    register()
    assert SECRET not in repr(sandbox.requests)
    assert SECRET in [secret.get_secret_value() for secret in sandbox.secrets]


def test_a_build_status_is_shown_and_replaced_by_its_key(sandbox, ask, start):
    at = f"commit/{start}/statuses"
    made = ask("POST", f"{at}/build", key="shop", state="INPROGRESS", refname="main")
    assert made.status_code == 201
    ask("POST", f"{at}/build", key="other", state="FAILED", url="https://deploy.example.com")
    ask("POST", f"{at}/build", key="shop", state="SUCCESSFUL", name="Shop")
    listed = ask("GET", at).json()
    assert [(row["key"], row["state"]) for row in listed["values"]] == [
        ("shop", "SUCCESSFUL"),
        ("other", "FAILED"),
    ]
    one = ask("GET", f"{at}/build/shop").json()
    assert (one["name"], one["refname"]) == ("Shop", "main")
    assert [status.state for status in sandbox.statuses("acme", "shop", start)] == [
        "successful",
        "failed",
    ]
    assert ask("GET", f"{at}?refname=topic").json()["size"] == 1
    assert ask("GET", f"{at}/build/nothing").status_code == 404


def test_a_build_status_requires_a_key_a_state_and_a_commit(ask, start):
    at = f"commit/{start}/statuses/build"
    long = ask("POST", at, key="k" * 41, state="FAILED")
    assert long.status_code == 400
    assert "at most 40 characters (it has 41)" in long.json()["error"]["message"]
    for body, field in (({"state": "FAILED"}, "key"), ({"key": "k"}, "state")):
        answer = ask("POST", at, **body)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])
    unknown = ask("POST", f"commit/{'0' * 40}/statuses/build", key="k", state="FAILED")
    assert unknown.status_code == 404
    assert ask("POST", "commit/main/statuses/build", key="k", state="FAILED").status_code == 404


def test_a_build_status_requires_the_repository_scope(sandbox, ada, ask, start):
    token = sandbox.add_api_token(ada, scopes=["read:webhook:bitbucket"])
    answer = ask("POST", f"commit/{start}/statuses/build", token, key="k", state="FAILED")
    assert answer.status_code == 403
    assert answer.json()["error"]["detail"]["required"] == ["read:repository:bitbucket"]
