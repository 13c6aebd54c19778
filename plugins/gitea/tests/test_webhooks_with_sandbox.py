"""Webhooks and statuses as the core calls them, over real sockets, and what the sandbox sends."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace
from uuid import UUID

import pytest
import requests
from deploycore.errors import (
    ConfigurationError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    UnexpectedAnswer,
)
from deploycore.events import CommitStatus
from deploycore.models import RepositoryId
from deploycore.testing.faults import Fault, answer
from deploycore.testing.messages import json_answer
from deploycore.testing.scenarios import ONE, Access
from deploycore.testing.webhooks import Hook, Listener
from pydantic import SecretStr

SHOP = RepositoryId(owner="ada", slug="shop")
SECRET = SecretStr("It's a Secret to Everybody")
OTHER = SecretStr("Another one")
URL = "https://deploy.example.com/webhook"
WANTED = ("delete", "push", "pull_request", "pull_request_sync")


@pytest.fixture
def start(sandbox):
    """The hash of the first commit of ada/shop."""
    return sandbox.publish("ada", "shop", "main", {"README.md": b"Shop"}, "Start")


@pytest.fixture
def ask(sandbox, start):
    """``ask("POST", "hooks", type="gitea", …)``: a request about ada/shop by a token."""
    token = sandbox.add_credential("token").secret.get_secret_value()

    def send(method, path, /, **body):
        return requests.request(
            method,
            f"{sandbox.url}/api/v1/repos/ada/shop/{path}",
            json=body or None,
            headers={"Authorization": f"token {token}"},
            timeout=10,
        )

    return send


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


@pytest.fixture
def everything(sandbox, listener, start):
    """The deliveries to a webhook with all events: event types and bodies."""
    kinds = ("create", *WANTED)
    sandbox.webhooks.put(Hook("99", "ada/shop", listener.address, kinds, SECRET))

    def read():
        assert sandbox.webhooks.wait()
        return [
            (found.headers["x-gitea-event-type"], json.loads(found.body))
            for found in listener.received
        ]

    return read


def status(start, **changes):
    values = {"commit": start, "key": "deploycore/shop", "state": "successful", "name": "shop"}
    return CommitStatus(**{**values, **changes})


def test_a_subscription_receives_pushes_deletions_and_pull_requests(sandbox, start, on_sandbox):
    on_sandbox().register_webhook(SHOP, URL, SECRET)
    (hook,) = sandbox.webhooks.of("ada/shop")
    assert set(hook.events) == set(WANTED)
    assert hook.secret == SECRET
    assert hook.active


def test_registering_again_replaces_the_webhook_as_its_secret_is_immutable(
    sandbox, start, on_sandbox
):
    provider = on_sandbox()
    former = provider.register_webhook(SHOP, URL, SECRET)
    elsewhere = provider.register_webhook(SHOP, f"{URL}/other", SECRET)
    chat = sandbox.webhooks.put(Hook("50", "ada/shop", URL, ("push",), description="slack"))
    made = provider.register_webhook(SHOP, URL, OTHER)
    left = {hook.id: hook.secret for hook in sandbox.webhooks.of("ada/shop")}
    assert left == {elsewhere.id: SECRET, chat.id: None, made.id: OTHER}
    assert former.id not in left


def test_a_lost_response_keeps_the_previous_webhook_and_a_retry_replaces_it(
    sandbox, start, on_sandbox
):
    provider = on_sandbox()
    former = provider.register_webhook(SHOP, URL, SECRET)
    sandbox.faults.add(Fault(answer(500, ""), method="POST"))
    with pytest.raises(ProviderUnavailable):
        provider.register_webhook(SHOP, URL, OTHER)
    assert former.id in [hook.id for hook in sandbox.webhooks.of("ada/shop")]
    sandbox.faults.clear()
    made = provider.register_webhook(SHOP, URL, OTHER)
    assert list(provider.list_webhooks(SHOP)) == [made]


def test_the_new_webhook_is_created_before_the_previous_one_is_removed(sandbox, start, on_sandbox):
    provider = on_sandbox()
    provider.register_webhook(SHOP, URL, SECRET)
    provider.register_webhook(SHOP, URL, OTHER)
    sent = [request.method for request in sandbox.requests]
    assert sent[-2:] == ["POST", "DELETE"]


def test_a_poll_finds_the_push_of_an_unreadable_delivery(sandbox, start, on_sandbox, listener):
    provider = on_sandbox()
    provider.register_webhook(SHOP, listener.address, SECRET)
    newest = sandbox.publish("ada", "shop", "main", {"README.md": b"More"}, "More")
    assert sandbox.webhooks.wait()
    (come,) = listener.received
    with pytest.raises(UnexpectedAnswer, match="documentation of webhooks") as caught:
        provider.parse_webhook(replace(come, body=come.body[:-9]))
    assert caught.value.hint == "Upgrade the plugin. Polling still works."
    assert [each.commit for each in provider.list_branches(SHOP)] == [newest]


def test_webhooks_are_listed_lazily_across_all_pages(sandbox, start, on_sandbox):
    for number in range(120):
        sandbox.webhooks.put(Hook(str(number), "ada/shop", f"{URL}/{number}", ("push",)))
    provider, before = on_sandbox(), sandbox.request_count
    listed = provider.list_webhooks(SHOP)
    assert sandbox.request_count == before
    assert next(listed).url == f"{URL}/0"
    assert sandbox.request_count == before + 1
    assert len(list(listed)) == 119


def test_pages_reduced_by_the_server_are_all_read(serve):
    rows = [
        {"id": number, "active": True, "config": {"url": f"{URL}/{number}"}} for number in range(7)
    ]

    def hooks(request, owner, slug):
        number = int(request.query["page"])
        return json_answer(rows[(number - 1) * 3 : number * 3])

    provider, _ = serve({"GET /api/v1/repos/{owner}/{slug}/hooks": hooks})
    assert [hook.id for hook in provider.list_webhooks(SHOP)] == [str(n) for n in range(7)]


def test_each_authentication_mode_has_the_permissions_of_the_account(sandbox, start, on_sandbox):
    for mode in ("token", "basic"):
        provider = on_sandbox(mode)
        made = provider.register_webhook(SHOP, URL, SECRET)
        assert list(provider.list_webhooks(SHOP)) == [made]
        provider.report_status(SHOP, status(start))
        assert [each.state for each in sandbox.statuses("ada", "shop", start)] == ["successful"]
        assert provider.remove_webhook(SHOP, made.id) is True
        assert provider.remove_webhook(SHOP, made.id) is False


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda it: it.register_webhook(SHOP, URL, SECRET), "register a webhook for"),
        (lambda it: it.remove_webhook(SHOP, "1"), "remove a webhook from"),
        (lambda it: it.report_status(SHOP, status("a" * 40)), "report a status to"),
    ],
    ids=["register", "remove", "report"],
)
def test_a_missing_scope_is_named(sandbox, start, on_sandbox, call, what):
    with pytest.raises(PermissionDenied) as caught:
        reading = sandbox.add_credential("token", scopes=["read:repository"])
        call(on_sandbox("token", token=reading.secret))
    assert caught.value.message == (
        f"The token may not {what} the repository ada/shop: it lacks the scope write:repository."
    )
    assert "write:repository and read:user" in caught.value.hint
    assert caught.value.details["missing_scopes"] == ["write:repository"]
    wanted = re.findall(r"\w+:\w+", caught.value.hint.partition(" at ")[0])
    made = sandbox.add_credential("token", scopes=wanted)
    provider = on_sandbox("token", token=made.secret)
    provider.report_status(SHOP, status(start))
    provider.remove_webhook(SHOP, provider.register_webhook(SHOP, URL, SECRET).id)


def test_a_user_who_is_not_an_administrator_is_referred_to_one(sandbox, start, on_sandbox):
    with pytest.raises(PermissionDenied, match="register a webhook for") as caught:
        on_sandbox("basic", Access.LEAST).register_webhook(SHOP, URL, SECRET)
    assert "administrators of the repository" in caught.value.hint
    assert "scope" not in caught.value.hint
    with pytest.raises(PermissionDenied, match="list the webhooks of") as caught:
        list(on_sandbox("token", Access.LEAST).list_webhooks(SHOP))
    assert "write:repository" in caught.value.hint
    with pytest.raises(PermissionDenied, match="report a status to") as caught:
        on_sandbox("basic", Access.LEAST).report_status(SHOP, status(start))
    assert "write access" in caught.value.hint
    administrator = on_sandbox("basic")
    assert administrator.register_webhook(SHOP, URL, SECRET)
    administrator.report_status(SHOP, status(start))


def test_an_address_rejected_by_gitea_is_reported_with_its_message(sandbox, start, on_sandbox):
    with pytest.raises(ProviderError, match="Invalid url") as caught:
        on_sandbox().register_webhook(SHOP, "ftp://deploy.example.com", SECRET)
    assert "https://" in caught.value.hint
    assert "Everybody" not in f"{caught.value} {caught.value.hint}"
    assert on_sandbox().register_webhook(SHOP, URL, SECRET)


def test_an_empty_secret_is_rejected_before_any_request(sandbox, on_sandbox):
    with pytest.raises(ConfigurationError):
        on_sandbox().register_webhook(SHOP, URL, SecretStr(""))
    assert sandbox.request_count == 0
    sandbox.publish("ada", "shop", "main", {"README.md": b"Shop"}, "Start")
    assert on_sandbox().register_webhook(SHOP, URL, SecretStr("5e" * 32))


def test_an_unknown_commit_is_distinguished_from_an_unknown_repository(sandbox, start, on_sandbox):
    provider = on_sandbox()
    with pytest.raises(NotFound, match=f"no commit {'0' * 40}"):
        provider.report_status(SHOP, status("0" * 40))
    with pytest.raises(NotFound, match="epository ada/nothing was not found"):
        provider.report_status(RepositoryId(owner="ada", slug="nothing"), status(start))
    sandbox.faults.add(Fault(answer(404, ""), method="POST"))
    with pytest.raises(NotFound, match=f"no commit {'1' * 40}"):
        provider.report_status(SHOP, status("1" * 40))
    sandbox.faults.clear()
    provider.report_status(SHOP, status(start))  # of the newest commit, by the names in the address


def test_a_host_error_with_an_existing_commit_is_reported_as_such(sandbox, start, on_sandbox):
    sandbox.faults.add(Fault(answer(500, ""), method="POST"))
    with pytest.raises(ProviderUnavailable):
        on_sandbox().report_status(SHOP, status(start))


def test_all_branch_events_arrive_in_the_order_of_gitea(sandbox, start, everything):
    after = sandbox.publish("ada", "shop", "main", {"a": b"1"}, "Next")
    made = sandbox.publish("ada", "shop", "topic", {"a": b"2"}, "Topic")
    sandbox.delete_branches("ada", "shop", ["topic", "nothing"])
    told = [
        (kind, body["ref"], body.get("before"), body.get("after")) for kind, body in everything()
    ]
    assert told == [
        ("push", "refs/heads/main", start, after),
        ("create", "topic", None, None),
        ("push", "refs/heads/topic", "0" * 40, made),
        ("delete", "topic", None, None),
    ]


def test_a_tag_is_always_new_and_its_deletion_is_delivered_twice(sandbox, start, everything):
    after = sandbox.publish("ada", "shop", "main", {"a": b"1"}, "Next")
    sandbox.add_tag("ada", "shop", "v1", at=start)
    sandbox.add_tag("ada", "shop", "v1", at=after)
    sandbox.delete_tag("ada", "shop", "v1")
    told = [(kind, body.get("before"), body.get("after")) for kind, body in everything()][1:]
    assert told == [
        ("push", "0" * 40, start),
        ("create", None, None),
        ("push", "0" * 40, after),
        ("create", None, None),
        ("push", after, "0" * 40),
        ("delete", None, None),
    ]


def test_a_delivery_has_the_headers_and_signatures_of_gitea(sandbox, everything, listener):
    sandbox.publish("ada", "shop", "main", {"a": b"1"}, "Next")
    everything()
    (found,) = listener.received
    digest = hmac.new(SECRET.get_secret_value().encode(), found.body, hashlib.sha256).hexdigest()
    assert found.headers["x-gitea-signature"] == found.headers["x-gogs-signature"] == digest
    assert found.headers["x-hub-signature-256"] == f"sha256={digest}"
    assert found.headers["x-gitea-event"] == found.headers["x-github-event"] == "push"
    assert UUID(found.headers["x-gitea-delivery"])


def test_without_a_secret_the_signature_is_empty_and_verifies_nothing(
    sandbox, start, listener, on_sandbox
):
    sandbox.webhooks.put(Hook("1", "ada/shop", listener.address, ("push",)))
    sandbox.publish("ada", "shop", "main", {"a": b"1"}, "Next")
    assert sandbox.webhooks.wait()
    (found,) = listener.received
    assert found.headers["x-gitea-signature"] == ""
    assert not on_sandbox().verify_webhook(found, (SECRET, SecretStr("")))


def test_a_failed_delivery_is_not_retried(sandbox, everything, listener):
    listener.faults.add(Fault(answer(500), times=1))
    sandbox.publish("ada", "shop", "main", {"a": b"1"}, "Next")
    assert sandbox.webhooks.wait()
    assert len(listener.received) == 1
    (sent,) = sandbox.webhooks.deliveries
    assert sent.statuses == (500,)


def test_each_change_of_a_pull_request_is_an_event(sandbox, start, listener, on_sandbox):
    provider = on_sandbox()
    commit = sandbox.publish("ada", "shop", "topic", {"a": b"1"}, "Topic")
    provider.register_webhook(SHOP, listener.address, SECRET)
    row = sandbox.open_pull_request("ada", "shop", "topic", "main", title="Anvils")
    after = sandbox.publish("ada", "shop", "topic", {"a": b"2"}, "More")
    sandbox.close_pull_request(row)
    sandbox.reopen_pull_request(row)
    sandbox.merge_pull_request(row)
    assert sandbox.webhooks.wait()
    assert all(provider.verify_webhook(found, (SECRET,)) for found in listener.received)
    told = [event for found in listener.received for event in provider.parse_webhook(found).events]
    requests_ = [event for event in told if hasattr(event, "number")]
    assert [(event.action, event.commit) for event in requests_] == [
        ("opened", commit),
        ("updated", after),
        ("declined", after),
        ("opened", after),
        ("merged", after),
    ]
    assert {(event.source_branch, event.target_branch) for event in requests_} == {
        ("topic", "main")
    }
    assert not any(event.is_from_fork for event in requests_)
    pushes = [event.changes[0] for event in told if event not in requests_]
    assert [(change.name, change.after) for change in pushes] == [("topic", after), ("main", after)]


def test_fork_events_are_marked_and_deleting_the_branch_closes_them(
    sandbox, start, listener, on_sandbox
):
    provider = on_sandbox()
    fork = sandbox.fork("ada", "shop", into="eve")
    sandbox.publish("eve", "shop", "topic", {"a": b"1"}, "Topic")
    provider.register_webhook(SHOP, listener.address, SECRET)
    sandbox.open_pull_request("ada", "shop", "topic", "main", source=fork)
    sandbox.delete_branches("eve", "shop", ["topic"])
    assert sandbox.webhooks.wait()
    told = [provider.parse_webhook(found).events[0] for found in listener.received]
    assert [event.action for event in told] == ["opened", "declined"]
    assert {event.source for event in told} == {RepositoryId(owner="eve", slug="shop")}
    assert {event.source_branch for event in told} == {"topic"}
    assert all(event.is_from_fork for event in told)


def test_changing_a_webhook_keeps_its_secret_and_resets_its_events(sandbox, ask):
    config = {"url": URL, "content_type": "json", "secret": SECRET.get_secret_value()}
    made = ask("POST", "hooks", type="gitea", active=True, config=config, events=["pull_request"])
    assert made.status_code == 201
    assert "secret" not in made.text
    assert {"pull_request", "pull_request_sync", "pull_request_label"} <= set(made.json()["events"])
    at = f"hooks/{made.json()['id']}"
    changed = ask("PATCH", at, config={"url": f"{URL}/2", "secret": "new"}, active=False).json()
    assert (changed["config"]["url"], changed["active"]) == (f"{URL}/2", False)
    assert changed["events"] == ["push"]
    assert [hook.secret for hook in sandbox.webhooks.of("ada/shop")] == [SECRET]
    assert ask("GET", at).json() == changed
    assert ask("DELETE", at).status_code == 204
    assert ask("DELETE", at).status_code == ask("GET", at).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"type": "unknown", "config": {"url": URL, "content_type": "json"}},
        {"type": "gitea", "config": {"content_type": "json"}},
        {"type": "gitea", "config": {"url": URL}},
        {"type": "gitea", "config": {"url": "nowhere", "content_type": "json"}},
        {"type": "gitea", "config": {"url": URL, "content_type": "xml"}},
        {"type": "gitea"},
    ],
)
def test_invalid_webhook_requests_are_rejected(ask, body):
    assert ask("POST", "hooks", **body).status_code == 422


def test_a_webhook_is_inactive_unless_requested_otherwise(ask):
    made = ask("POST", "hooks", type="gitea", config={"url": URL, "content_type": "json"}).json()
    assert made["active"] is False
    assert made["events"] == ["push"]


def test_pages_of_webhooks_have_no_links(sandbox, ask):
    sandbox.arrange(ONE)
    for number in range(60):
        sandbox.webhooks.put(Hook(str(number), "ada/shop", URL, ("push",)))
    page = ask("GET", "hooks")
    assert len(page.json()) == 30
    assert page.headers["X-Total-Count"] == "60"
    assert "Link" not in page.headers
