"""Signatures and events of deliveries, without a request: samples in GitHub's documented shapes."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from deploycore_github.webhooks import EVENTS, HookAnswer, delivered, is_signed, subscription
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, UnexpectedAnswer
from deploycore.events import Delivered, PullRequestEvent, PushEvent, RefChange, WebhookDelivery
from deploycore.http import parse_answer
from deploycore.models import RepositoryId
from tests.damage import NO_JSON, anything, broken, paths

OLD = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
NEW = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
NOTHING = "0" * 40
SHOP = RepositoryId(owner="acme", slug="shop")
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
SECRET = SecretStr("It's a Secret to Everybody")
BODY = b"Hello, World!"
KNOWN = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

SENDER = {"login": "emma", "id": 21031067, "type": "User", "site_admin": False}
REPOSITORY = {
    "id": 186853002,
    "name": "shop",
    "full_name": "acme/shop",
    "private": True,
    "owner": {"name": "acme", "login": "acme", "id": 1},
    "html_url": "https://github.com/acme/shop",
    "pushed_at": 1557933657,
    "default_branch": "main",
}


def push(ref="refs/heads/main", before=OLD, after=NEW, **more):
    commit = {"id": after, "message": "Change", "timestamp": "2019-05-15T15:19:25Z"}
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": REPOSITORY,
        "pusher": {"name": "emma", "email": "emma@example.com"},
        "sender": SENDER,
        "created": before == NOTHING,
        "deleted": after == NOTHING,
        "forced": False,
        "base_ref": None,
        "commits": [],
        "head_commit": None if after == NOTHING else commit,
        **more,
    }


def pull_request(action="opened", **changes):
    told = {
        "id": 279147437,
        "number": 7,
        "state": "open",
        "title": "Anvils",
        "body": None,
        "draft": False,
        "merged": False,
        "head": {"label": "acme:feature/anvils", "ref": "feature/anvils", "sha": NEW},
        "base": {"label": "acme:main", "ref": "main", "sha": OLD, "repo": REPOSITORY},
        **changes,
    }
    told["head"].setdefault("repo", REPOSITORY)
    return {
        "action": action,
        "number": 7,
        "pull_request": told,
        "repository": REPOSITORY,
        "sender": SENDER,
    }


def delivery(body, kind="push", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {"x-github-event": kind, "x-github-delivery": GUID, "content-type": "application/json"}
    return WebhookDelivery({**own, **headers}, content)


def event(body, kind="push"):
    (found,) = delivered(delivery(body, kind)).events
    return found


def test_a_push_contains_branch_commits_and_actor():
    assert delivered(delivery(push())) == Delivered(
        delivery=GUID,
        events=(
            PushEvent(
                repository=SHOP,
                changes=(RefChange(kind="branch", name="main", before=OLD, after=NEW),),
                actor="emma",
                repository_host_id="186853002",
            ),
        ),
    )


@pytest.mark.parametrize(
    ("ref", "before", "after", "expected"),
    [
        ("refs/heads/feature/größe", NOTHING, NEW, ("branch", "feature/größe", None, NEW)),
        ("refs/heads/old", OLD, NOTHING, ("branch", "old", OLD, None)),
        ("refs/heads/refs/heads/odd", OLD, NEW, ("branch", "refs/heads/odd", OLD, NEW)),
        ("refs/tags/v1.0", NOTHING, NEW, ("tag", "v1.0", None, NEW)),
        ("refs/tags/v0.9", OLD, NOTHING, ("tag", "v0.9", OLD, None)),
    ],
)
def test_a_push_can_create_move_or_delete_a_branch_or_a_tag(ref, before, after, expected):
    kind, name, was, now = expected
    found = event(push(ref, before, after))
    assert found.changes == (RefChange(kind=kind, name=name, before=was, after=now),)


def test_an_annotated_tag_is_resolved_to_its_commit():
    found = event(push("refs/tags/v1.0", NOTHING, OLD, head_commit={"id": NEW}))
    assert found.changes[0].after == NEW


def test_a_push_without_an_actor_is_a_push():
    body = push()
    assert event({**body, "sender": None}).actor == ""
    del body["sender"]
    assert event(body).actor == ""


@pytest.mark.parametrize(
    ("action", "changes", "expected"),
    [
        ("opened", {}, "opened"),
        ("reopened", {}, "opened"),
        ("synchronize", {}, "updated"),
        ("edited", {}, "updated"),
        ("closed", {"state": "closed", "merged": True}, "merged"),
        ("closed", {"state": "closed"}, "declined"),
    ],
)
def test_a_pull_request_event_contains_the_action(action, changes, expected):
    found = event(pull_request(action, **changes), "pull_request")
    assert found == PullRequestEvent(
        repository=SHOP,
        number=7,
        action=expected,
        title="Anvils",
        source=SHOP,
        source_branch="feature/anvils",
        target_branch="main",
        commit=NEW,
        actor="emma",
        repository_host_id="186853002",
    )
    assert not found.is_from_fork


@pytest.mark.parametrize("action", ["labeled", "assigned", "ready_for_review", "locked", "new"])
def test_other_pull_request_actions_are_ignored(action):
    found = delivered(delivery({"action": action, "pull_request": "not read"}, "pull_request"))
    assert found == Delivered(delivery=GUID)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ({"full_name": "emma/shop"}, RepositoryId(owner="emma", slug="shop")),
        (None, None),
    ],
)
def test_a_pull_request_from_a_fork_is_recognized_even_if_the_fork_is_deleted(repository, expected):
    head = {"ref": "main", "sha": NEW, "repo": repository}
    found = event(pull_request(head=head), "pull_request")
    assert found.source == expected
    assert found.is_from_fork


@pytest.mark.parametrize("kind", ["ping", "fork", "deployment", "check_run", "new_one"])
def test_pings_and_unsubscribed_events_are_ignored(kind):
    assert delivered(delivery(b"\xff", kind)) == Delivered(delivery=GUID)


def test_a_delivery_without_an_identifier_has_no_identifier():
    assert delivered(WebhookDelivery({"x-github-event": "ping"}, b"{}")).delivery == ""


def test_a_delivery_without_an_event_type_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="X-GitHub-Event"):
        delivered(WebhookDelivery({}, b"{}"))


@pytest.mark.parametrize("field", ["merged", "title", "draft", "body"])
def test_null_in_an_optional_field_means_its_default(field):
    body = {**pull_request("closed", **{field: None}), "sender": {"login": None}}
    found = event(body, "pull_request")
    assert found.action == "declined"
    assert found.actor == ""


# Forms, which are GitHub's default


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLEncoded; charset=utf-8"],
)
def test_a_form_equals_the_json_format(kind):
    body = push("refs/heads/größe&100%")
    form = urlencode({"payload": json.dumps(body)}).encode()
    assert delivered(delivery(form, **{"content-type": kind})) == delivered(delivery(body))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (b"", "exactly one field payload"),
        (b"other=1", "exactly one field payload"),
        (b"payload={}&payload={}", "exactly one field payload"),
        (b"payload=", "exactly one field payload"),
        (b"payload=%7B", "not valid JSON"),
        (b"payload=%ff", "without valid JSON"),
        (b"&".join([b"a=1"] * 100), "without valid JSON"),
        (json.dumps({"a": 1}).encode(), "exactly one field payload"),
    ],
)
def test_a_form_without_a_payload_is_rejected_with_the_next_step(form, said):
    with pytest.raises(UnexpectedAnswer, match=said):
        delivered(delivery(form, **{"content-type": "application/x-www-form-urlencoded"}))


# Invalid deliveries


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["repository"], None),
        (["repository", "full_name"], "shop"),
        (["repository", "full_name"], "a/b/c"),
        (["repository", "full_name"], "a/b\n/c"),
        (["repository", "full_name"], 7),
        (["ref"], ""),
        (["ref"], "main"),
        (["ref"], "refs/heads/"),
        (["ref"], "refs/pull/7/head"),
        (["ref"], None),
        (["before"], None),
        (["after"], NEW[:12]),
        (["after"], NEW.upper()),
        (["after"], NEW + "\n"),
        (["head_commit"], []),
        (["head_commit", "id"], "x"),
        (["sender", "login"], 7),
    ],
)
def test_an_undocumented_push_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer) as caught:
        delivered(delivery(broken(push(), path, value)))
    assert caught.value.hint


def test_a_push_that_changes_nothing_is_refused():
    with pytest.raises(UnexpectedAnswer, match="names no branch or tag that existed"):
        delivered(delivery(push(before=NOTHING, after=NOTHING)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["action"], None),
        (["pull_request"], None),
        (["pull_request", "number"], 0),
        (["pull_request", "number"], "7"),
        (["pull_request", "number"], True),
        (["pull_request", "merged"], "yes"),
        (["pull_request", "head"], None),
        (["pull_request", "head", "ref"], ""),
        (["pull_request", "head", "sha"], "d3022f"),
        (["pull_request", "head", "repo", "full_name"], None),
        (["pull_request", "base", "ref"], None),
        (["pull_request", "title"], 7),
        (["repository"], []),
    ],
)
def test_an_undocumented_pull_request_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(broken(pull_request(), path, value), "pull_request"))


@pytest.mark.parametrize("body", NO_JSON)
def test_an_invalid_json_body_is_rejected(body):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(body))


refs = st.sampled_from(["", "refs/", "refs/heads/", "refs/tags/"]).flatmap(
    lambda prefix: st.text().map(lambda name: prefix + name)
)


SAMPLES = [(push(), "push"), (pull_request(), "pull_request")]


@given(body=anything, kind=st.sampled_from(EVENTS))
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
    assert len(found.events) == 1 or path == ("action",)


@given(ref=refs, before=st.sampled_from([NOTHING, OLD]), after=st.sampled_from([NOTHING, NEW]))
def test_a_ref_is_reported_unchanged_or_not_at_all(ref, before, after):
    try:
        (change,) = event(push(ref, before, after)).changes
    except UnexpectedAnswer:
        return
    prefix = {"branch": "refs/heads/", "tag": "refs/tags/"}[change.kind]
    assert prefix + change.name == ref
    assert (change.before or NOTHING, change.after or NOTHING) == (before, after)


@given(headers=st.dictionaries(st.sampled_from(["x-github-event", "x-github-delivery"]), st.text()))
def test_any_headers_yield_a_delivery_or_a_typed_error(headers):
    with suppress(UnexpectedAnswer):
        delivered(WebhookDelivery(headers, json.dumps(push()).encode()))


@given(body=st.binary(max_size=200) | st.text().map(lambda text: f"payload={text}".encode()))
def test_any_form_yields_a_delivery_or_a_typed_error(body):
    with suppress(UnexpectedAnswer):
        delivered(delivery(body, **{"content-type": "application/x-www-form-urlencoded"}))


# Signatures


def signed(signature, body=BODY):
    return WebhookDelivery({"x-hub-signature-256": signature}, body)


def test_the_documented_signature_example_is_accepted():
    assert is_signed(signed(f"sha256={KNOWN}"), (SECRET,))


def by(algorithm, secret=SECRET):
    return hmac.new(secret.get_secret_value().encode(), BODY, algorithm).hexdigest()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        KNOWN,
        f"sha256={KNOWN[:-1]}",
        f"sha256={KNOWN}0",
        f"sha256={'0' * 64}",
        f"sha1={by(hashlib.sha1)}",
        f"sha256={by(hashlib.sha1)}",
        f"sha512={by(hashlib.sha512)}",
        f"sha1={KNOWN}",
        f"SHA256={KNOWN}",
        f"sha256={KNOWN}, sha256={KNOWN}",
        "sha256=\ud800",
        "sha256=größe",
    ],
)
def test_any_other_signature_is_rejected(signature):
    assert not is_signed(signed(signature), (SECRET,))


def test_a_delivery_with_no_or_only_the_old_signature_is_rejected():
    assert not is_signed(WebhookDelivery({}, BODY), (SECRET,))
    for proof in (f"sha1={by(hashlib.sha1)}", f"sha256={KNOWN}"):
        assert not is_signed(WebhookDelivery({"x-hub-signature": proof}, BODY), (SECRET,))


# Subscriptions


def test_a_subscription_requests_json_with_tls_verification_and_its_secret():
    found = subscription("https://deploy.example.com/hook", SecretStr("s" * 128))
    assert found["events"] == ["push", "pull_request"]
    assert found["active"] is True
    config = found["config"]
    assert config["secret"].get_secret_value() == "s" * 128
    assert (config["url"], config["content_type"], config["insecure_ssl"]) == (
        "https://deploy.example.com/hook",
        "json",
        "0",
    )
    assert "ssss" not in repr(found)


def test_an_empty_secret_is_rejected():
    with pytest.raises(ConfigurationError, match="empty secret"):
        subscription("https://deploy.example.com/hook", SecretStr(""))
    assert subscription("https://deploy.example.com/hook", SecretStr("5e" * 32))


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        {"id": 1},
        {"id": "1", "config": {}},
        {"id": 0, "config": {}},
        {"id": 1, "config": {"url": 7}},
    ],
)
def test_an_undocumented_webhook_format_is_rejected(item):
    with pytest.raises(UnexpectedAnswer):
        parse_answer(HookAnswer, item, what="a webhook")
