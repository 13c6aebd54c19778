"""Signatures and events of deliveries, without a request: samples in the shapes of Gitea's
sources."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress

import pytest
from deploycore.errors import ConfigurationError, UnexpectedAnswer
from deploycore.events import (
    CommitStatus,
    Delivered,
    PullRequestEvent,
    PushEvent,
    RefChange,
    WebhookDelivery,
)
from deploycore.http import parse_answer
from deploycore.models import RepositoryId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.damage import NO_JSON, anything, broken, paths

from deploycore_gitea.statuses import commit_status
from deploycore_gitea.webhooks import HookAnswer, delivered, is_signed, subscription

OLD = "1e65c05c1d5171631d92438a13901ca7dae9618c"
NEW = "709d658dc5b6d6afcd46049c2f332ee3f515a67d"
TAG = "5d5a6d1d2ec34e3cd35a5b5d5e4f2b4f0a3b1f77"
NONE = "0" * 40
SHOP = RepositoryId(owner="ada", slug="shop")
UUID = "5b2a1c58-6e0c-4f28-9c26-0f1c6a1f4b54"
SECRET = SecretStr("It's a Secret to Everybody")
BODY = b"Hello World!"
KNOWN = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"

USER = {"id": 1, "login": "ada", "full_name": "Ada Lovelace", "email": "ada@example.com"}
REPOSITORY = {"id": 7, "owner": USER, "name": "shop", "full_name": "ada/shop", "private": True}


def push(before=OLD, after=NEW, ref="refs/heads/main", **more):
    head = None if after == NONE else {"id": after, "message": "Next\n", "added": None}
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "compare_url": "",
        "commits": [],
        "total_commits": 0,
        "head_commit": head,
        "repository": REPOSITORY,
        "pusher": USER,
        "sender": USER,
        **more,
    }


def delete(ref="topic", ref_type="branch"):
    return {
        "ref": ref,
        "ref_type": ref_type,
        "pusher_type": "user",
        "repository": REPOSITORY,
        "sender": USER,
    }


def pull_request(action="opened", **changes):
    told = {
        "id": 12,
        "number": 7,
        "title": "Anvils",
        "body": "Heavier ones",
        "state": "open",
        "merged": False,
        "base": {"label": "main", "ref": "main", "sha": OLD, "repo_id": 7, "repo": REPOSITORY},
        "head": {"label": "topic", "ref": "topic", "sha": NEW, "repo_id": 7, "repo": REPOSITORY},
        **changes,
    }
    about = {"repository": REPOSITORY, "sender": USER, "commit_id": "", "review": None}
    return {"action": action, "number": 7, "pull_request": told, **about}


def delivery(body, kind="push"):
    content = body if isinstance(body, bytes) else json.dumps(body, indent=2).encode()
    headers = {"x-gitea-event": kind, "x-gitea-event-type": kind, "x-gitea-delivery": UUID}
    return WebhookDelivery(headers, content)


def event(body, kind="push"):
    (found,) = delivered(delivery(body, kind)).events
    return found


def change(body, kind="push"):
    (found,) = event(body, kind).changes
    return found


def test_a_push_contains_branch_commits_and_actor():
    moved = RefChange(kind="branch", name="main", before=OLD, after=NEW)
    event = PushEvent(
        repository=SHOP, changes=(moved,), actor="Ada Lovelace", repository_host_id="7"
    )
    assert delivered(delivery(push())) == Delivered(delivery=UUID, events=(event,))


def test_a_created_or_deleted_ref_has_only_one_commit():
    branch = "refs/heads/topic/größe"
    assert change(push(NONE, NEW, branch)) == RefChange(
        kind="branch", name="topic/größe", after=NEW
    )
    assert change(push(NONE, NEW, "refs/tags/v1")) == RefChange(kind="tag", name="v1", after=NEW)
    assert change(push(OLD, NONE, "refs/tags/v1")) == RefChange(kind="tag", name="v1", before=OLD)


def test_hashes_of_64_digits_and_zero_hashes_are_supported():
    made = change(push("0" * 64, NEW + "0" * 24))
    assert (made.before, made.after) == (None, NEW + "0" * 24)


def test_an_annotated_tag_is_resolved_to_its_commit():
    made = change(push(NONE, TAG, "refs/tags/v1", head_commit={"id": NEW}))
    assert made.after == NEW


def test_a_deletion_has_no_commits_as_gitea_does_not_report_them():
    assert change(delete(), "delete") == RefChange(kind="branch", name="topic")
    assert change(delete("v1", "tag"), "delete") == RefChange(kind="tag", name="v1")


def test_a_push_without_an_actor_is_a_push():
    assert event(push(pusher=None)).actor == ""
    assert event(push(pusher={"login": "robot", "full_name": ""})).actor == "robot"


def test_refs_other_than_branches_and_tags_are_ignored():
    assert delivered(delivery(push(ref="refs/notes/commits"))).events == ()


@pytest.mark.parametrize(
    ("action", "merged", "expected"),
    [
        ("opened", False, "opened"),
        ("reopened", False, "opened"),
        ("synchronized", False, "updated"),
        ("edited", False, "updated"),
        ("closed", True, "merged"),
        ("closed", False, "declined"),
    ],
)
def test_a_pull_request_event_contains_the_action(action, merged, expected):
    found = event(pull_request(action, merged=merged), "pull_request")
    assert found == PullRequestEvent(
        repository=SHOP,
        number=7,
        action=expected,
        title="Anvils",
        source=SHOP,
        source_branch="topic",
        target_branch="main",
        commit=NEW,
        actor="Ada Lovelace",
        repository_host_id="7",
    )
    assert not found.is_from_fork


def test_new_commits_are_reported_under_any_event_name():
    body = pull_request("synchronized")
    assert event(body, "pull_request") == event(body, "pull_request_sync")


@pytest.mark.parametrize("action", ["label_updated", "assigned", "milestoned", "review_requested"])
def test_other_pull_request_actions_are_ignored(action):
    assert delivered(delivery(pull_request(action), "pull_request")).events == ()


FORK = {"id": 9, "name": "shop", "full_name": "eve/shop"}


@pytest.mark.parametrize(
    ("head", "source", "branch"),
    [
        ({"label": "topic", "ref": "topic", "repo": FORK}, "eve/shop", "topic"),
        ({"label": "topic", "ref": "refs/pull/7/head", "repo": FORK}, "eve/shop", "topic"),
        ({"label": "topic", "ref": "refs/pull/7/head", "repo": None}, None, "topic"),
    ],
    ids=["fork", "branch is gone", "fork is gone"],
)
def test_a_pull_request_from_a_fork_is_recognized_even_if_the_fork_is_deleted(head, source, branch):
    found = event(pull_request(head={**head, "sha": NEW}), "pull_request")
    assert found.source == (source and RepositoryId.parse(source))
    assert found.source_branch == branch
    assert found.is_from_fork


def test_a_pull_request_by_push_to_refs_for_is_not_treated_as_a_branch():
    head = {"label": "", "ref": "refs/pull/7/head", "sha": NEW, "repo": REPOSITORY}
    found = event(pull_request(head=head), "pull_request")
    assert found.source is None
    assert found.is_from_fork


def test_a_pull_request_with_an_unknown_commit_has_none():
    head = {"label": "topic", "ref": "topic", "sha": "", "repo": REPOSITORY}
    assert event(pull_request(head=head), "pull_request").commit is None


@pytest.mark.parametrize("kind", ["create", "fork", "issues", "release", "new"])
def test_an_unsubscribed_event_is_ignored_whatever_it_contains(kind):
    assert delivered(delivery(b"\xff", kind)) == Delivered(delivery=UUID)


def test_a_delivery_without_an_event_type_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="X-Gitea-Event"):
        delivered(WebhookDelivery({}, b"{}"))


def test_forgejo_headers_are_accepted():
    body = json.dumps(push()).encode()
    proof = hmac.new(SECRET.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    headers = {"event": "push", "delivery": UUID, "signature": proof}
    found = WebhookDelivery({f"x-forgejo-{key}": headers[key] for key in headers}, body)
    assert is_signed(found, (SECRET,))
    assert delivered(found) == delivered(delivery(push()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["ref"], ""),
        (["ref"], "refs/heads/"),
        (["ref"], None),
        (["before"], NEW[:12]),
        (["after"], NEW.upper()),
        (["after"], NEW + "\n"),
        (["after"], 7),
        (["before"], None),
        (["repository"], None),
        (["repository", "full_name"], "shop"),
        (["repository", "full_name"], "a/b/c"),
        (["pusher", "login"], 7),
        (["head_commit", "id"], "short"),
    ],
)
def test_an_undocumented_push_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer) as caught:
        delivered(delivery(broken(push(), path, value)))
    assert caught.value.hint


def test_a_name_of_white_space_is_valid():
    found = event(push(repository={"full_name": " /shop"}))
    assert (found.repository.owner, found.repository.slug) == (" ", "shop")


def test_the_test_button_sends_a_push_or_an_empty_event():
    assert change(push(NEW, NEW)) == RefChange(kind="branch", name="main", before=NEW, after=NEW)
    assert delivered(delivery(push(NONE, NONE))).events == ()


@pytest.mark.parametrize(
    ("path", "value"), [(["ref"], ""), (["ref_type"], "note"), (["repository"], {})]
)
def test_an_undocumented_deletion_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(broken(delete(), path, value), "delete"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["action"], None),
        (["pull_request"], None),
        (["pull_request", "number"], 0),
        (["pull_request", "number"], "7"),
        (["pull_request", "number"], True),
        (["pull_request", "merged"], "no"),
        (["pull_request", "head"], None),
        (["pull_request", "head", "ref"], ""),
        (["pull_request", "head", "sha"], NEW[:12]),
        (["pull_request", "head", "repo"], {}),
        (["pull_request", "base", "ref"], ""),
    ],
)
def test_an_undocumented_pull_request_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(broken(pull_request(), path, value), "pull_request"))


@pytest.mark.parametrize("body", NO_JSON)
@pytest.mark.parametrize("kind", ["push", "delete", "pull_request"])
def test_an_invalid_json_body_is_rejected(body, kind):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(body, kind))


SAMPLES = [
    (push(), "push"),
    (delete(), "delete"),
    (pull_request("closed"), "pull_request"),
    (pull_request("synchronized"), "pull_request_sync"),
]


@given(body=anything, kind=st.sampled_from([kind for _, kind in SAMPLES]))
def test_any_json_yields_an_event_or_a_typed_error(body, kind):
    with suppress(UnexpectedAnswer):
        delivered(delivery(body, kind))


@given(data=st.data(), sample=st.sampled_from(SAMPLES), value=anything | st.just("\ud800"))
def test_any_damaged_delivery_yields_an_event_or_a_typed_error(data, sample, value):
    body, kind = sample
    path = data.draw(st.sampled_from(list(paths(body))))
    try:
        found = delivered(delivery(broken(body, path, value), kind))
    except UnexpectedAnswer:
        return
    # A ref of another kind, and another action, are ignored.
    assert len(found.events) == 1 or path in (("ref",), ("action",))


NAMES = ["x-gitea-event", "x-gitea-delivery", "x-forgejo-event", "x-forgejo-delivery"]


@given(headers=st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_any_headers_yield_a_delivery_or_a_typed_error(headers):
    with suppress(UnexpectedAnswer):
        delivered(WebhookDelivery(headers, json.dumps(push()).encode()))


hashes = st.text("0123456789abcdef", min_size=40, max_size=40)


@given(before=hashes | st.just(NONE), after=hashes | st.just(NONE), name=st.text(min_size=1))
def test_every_push_of_a_branch_matches_what_git_reported(before, after, name):
    if before == after == NONE or any("\ud800" <= letter <= "\udfff" for letter in name):
        return
    found = change(push(before, after, f"refs/heads/{name}"))
    assert (found.kind, found.name) == ("branch", name)
    assert (found.before or NONE, found.after or NONE) == (before, after)


def signed(signature, body=BODY):
    return WebhookDelivery({"x-gitea-signature": signature}, body)


def test_the_known_signature_example_is_accepted():
    assert is_signed(signed(KNOWN), (SECRET,))


def by(algorithm, secret=SECRET):
    return hmac.new(secret.get_secret_value().encode(), BODY, algorithm).hexdigest()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        f"sha256={KNOWN}",
        KNOWN[:-1],
        f"{KNOWN}0",
        "0" * 64,
        by(hashlib.sha1),
        by(hashlib.sha512),
        by(hashlib.sha512)[:64],
        f"{KNOWN},{KNOWN}",
        "\ud800",
        "größe",
    ],
)
def test_any_other_signature_is_rejected(signature):
    assert not is_signed(signed(signature), (SECRET,))


def test_a_delivery_without_its_own_signature_is_rejected():
    assert not is_signed(WebhookDelivery({}, BODY), (SECRET,))
    for name, value in (("x-hub-signature-256", f"sha256={KNOWN}"), ("x-gogs-signature", KNOWN)):
        assert not is_signed(WebhookDelivery({name: value}, BODY), (SECRET,))


def test_a_subscription_requests_its_events_with_its_secret():
    found = subscription("https://deploy.example.com/hook", SecretStr("s" * 43))
    assert found["type"] == "gitea"
    assert found["active"] is True
    assert found["events"] == ["push", "delete", "pull_request_only", "pull_request_sync"]
    assert found["config"]["content_type"] == "json"
    assert found["config"]["secret"].get_secret_value() == "s" * 43
    assert "ssss" not in repr(found)


def test_an_empty_secret_is_refused():
    with pytest.raises(ConfigurationError, match="does not sign"):
        subscription("https://deploy.example.com/hook", SecretStr(""))


HOOK = {"id": 3, "type": "gitea", "active": True, "config": {"url": "https://x", "secret": ""}}


def test_a_webhook_is_parsed_from_the_gitea_response():
    found = parse_answer(HookAnswer, {**HOOK, "active": False}, what="a webhook").webhook()
    assert (found.id, found.url, found.active) == ("3", "https://x", False)


@pytest.mark.parametrize(
    ("type", "url", "expected"),
    [
        ("gitea", "https://x", True),
        ("forgejo", "https://x", True),
        ("gogs", "https://x", True),
        ("slack", "https://x", False),
        ("gitea", "https://x/", False),
    ],
)
def test_a_webhook_of_another_type_for_the_address_is_not_treated_as_ours(type, url, expected):
    found = parse_answer(HookAnswer, {**HOOK, "type": type}, what="a webhook")
    assert found.is_ours(url) is expected


@pytest.mark.parametrize(
    "item", [None, [], {}, {**HOOK, "id": "3"}, {**HOOK, "config": {}}, {**HOOK, "active": None}]
)
def test_an_undocumented_webhook_format_is_rejected(item):
    with pytest.raises(UnexpectedAnswer):
        parse_answer(HookAnswer, item, what="a webhook")


def status(**changes):
    values = {"commit": NEW, "key": "deploycore/shop", "state": "successful", "name": "shop"}
    return commit_status(CommitStatus(**{**values, **changes}))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("in_progress", "pending"),
        ("successful", "success"),
        ("failed", "failure"),
        ("stopped", "error"),
    ],
)
def test_states_are_mapped_to_those_of_gitea(state, expected):
    assert status(state=state)["state"] == expected


def test_a_status_is_one_short_line():
    found = status(description="first\nsecond " * 100)["description"]
    assert found.startswith("first second first")
    assert len(found) == 255
    assert found.endswith("…")


def test_a_status_without_a_description_uses_its_name():
    assert status() == {
        "context": "deploycore/shop",
        "state": "success",
        "description": "shop",
        "target_url": "",
    }
