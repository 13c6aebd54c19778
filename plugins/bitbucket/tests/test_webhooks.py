"""Signatures and events of deliveries, without a request: samples in Bitbucket's documented
shapes."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress

import pytest
from deploycore_bitbucket.webhooks import EVENTS, delivered, is_signed, subscription, webhook_from
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, UnexpectedAnswer
from deploycore.events import Delivered, PullRequestEvent, PushEvent, RefChange, WebhookDelivery
from deploycore.models import RepositoryId
from tests.damage import NO_JSON, anything, broken, paths

OLD = "1e65c05c1d5171631d92438a13901ca7dae9618c"
NEW = "709d658dc5b6d6afcd46049c2f332ee3f515a67d"
SHOP = RepositoryId(owner="acme", slug="shop")
UUID = "5b2a1c58-6e0c-4f28-9c26-0f1c6a1f4b54"
SECRET = SecretStr("It's a Secret to Everybody")
BODY = b"Hello World!"
KNOWN = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"

ACTOR = {
    "type": "user",
    "display_name": "Emma",
    "nickname": "emmap1",
    "uuid": "{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}",
    "links": {"html": {"href": "https://bitbucket.org/emmap1/"}},
}
REPOSITORY = {
    "type": "repository",
    "full_name": "acme/shop",
    "name": "Shop",
    "uuid": "{673a6070-3421-46c9-9d48-90745f7bfe8e}",
    "scm": "git",
    "is_private": True,
    "workspace": {"type": "workspace", "slug": "acme"},
}


def ref(commit, name="main", kind="branch"):
    target = {
        "type": "commit",
        "hash": commit,
        "author": {"type": "author", "raw": "Emma <emma@example.com>"},
        "message": "new commit message\n",
        "date": "2015-06-09T03:34:49+00:00",
        "parents": [{"type": "commit", "hash": OLD}],
    }
    return {"type": kind, "name": name, "target": target}


def change(old, new, **more):
    return {
        "old": old,
        "new": new,
        "created": old is None,
        "closed": new is None,
        "forced": False,
        "truncated": False,
        "commits": [],
        **more,
    }


def push(*changes):
    return {"actor": ACTOR, "repository": REPOSITORY, "push": {"changes": list(changes)}}


def pull_request(**changes):
    told = {
        "type": "pullrequest",
        "id": 7,
        "title": "Anvils",
        "description": "Heavier ones",
        "state": "OPEN",
        "author": ACTOR,
        "source": {
            "branch": {"name": "feature/anvils"},
            "commit": {"hash": "d3022fc0ca3d"},
            "repository": REPOSITORY,
        },
        "destination": {
            "branch": {"name": "main"},
            "commit": {"hash": "ce5965ddd289"},
            "repository": REPOSITORY,
        },
        "merge_commit": None,
        "reviewers": [],
        **changes,
    }
    return {"actor": ACTOR, "repository": REPOSITORY, "pullrequest": told}


def delivery(body, kind="repo:push", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookDelivery(
        {"x-event-key": kind, "x-request-uuid": UUID, "x-attempt-number": "1", **headers}, content
    )


def event(body, kind="repo:push"):
    (found,) = delivered(delivery(body, kind)).events
    return found


def test_a_push_contains_branch_commits_and_actor():
    found = delivered(delivery(push(change(ref(OLD), ref(NEW)))))
    assert found == Delivered(
        delivery=UUID,
        events=(
            PushEvent(
                repository=SHOP,
                changes=(RefChange(kind="branch", name="main", before=OLD, after=NEW),),
                actor="Emma",
                repository_host_id="{673a6070-3421-46c9-9d48-90745f7bfe8e}",
            ),
        ),
    )


def test_one_push_can_create_move_and_delete_branches_and_tags():
    found = event(
        push(
            change(None, ref(NEW, "feature/größe")),
            change(ref(OLD), ref(NEW), forced=True),
            change(ref(OLD, "old"), None),
            change(None, ref(NEW, "v1.0", "tag")),
            change(ref(OLD, "v0.9", "annotated_tag"), None),
        )
    )
    assert found.changes == (
        RefChange(kind="branch", name="feature/größe", after=NEW),
        RefChange(kind="branch", name="main", before=OLD, after=NEW),
        RefChange(kind="branch", name="old", before=OLD),
        RefChange(kind="tag", name="v1.0", after=NEW),
        RefChange(kind="tag", name="v0.9", before=OLD),
    )


def test_a_truncated_list_of_commits_omits_no_change():
    found = event(push(change(ref(OLD), ref(NEW), truncated=True, commits=[{"hash": NEW}])))
    assert found.changes[0].after == NEW
    assert not found.truncated


def test_a_push_without_changes_is_marked_as_truncated():
    found = event(push())
    assert found.changes == ()
    assert found.truncated


def test_a_push_without_an_actor_is_a_push():
    body = push(change(ref(OLD), ref(NEW)))
    assert event({**body, "actor": None}).actor == ""
    del body["actor"]
    assert event(body).actor == ""
    assert event({**body, "actor": {"type": "app_user", "nickname": "robot"}}).actor == "robot"


@pytest.mark.parametrize(
    ("kind", "state", "action"),
    [
        ("pullrequest:created", "OPEN", "opened"),
        ("pullrequest:updated", "OPEN", "updated"),
        ("pullrequest:push", "OPEN", "updated"),
        ("pullrequest:fulfilled", "MERGED", "merged"),
        ("pullrequest:rejected", "DECLINED", "declined"),
        ("pullrequest:rejected", "SUPERSEDED", "declined"),
    ],
)
def test_a_pull_request_event_contains_the_action(kind, state, action):
    found = event(pull_request(state=state), kind)
    assert found == PullRequestEvent(
        repository=SHOP,
        number=7,
        action=action,
        title="Anvils",
        source=SHOP,
        source_branch="feature/anvils",
        target_branch="main",
        commit="d3022fc0ca3d",
        actor="Emma",
        repository_host_id="{673a6070-3421-46c9-9d48-90745f7bfe8e}",
    )
    assert not found.is_from_fork


@pytest.mark.parametrize(
    ("state", "action"),
    [("MERGED", "merged"), ("DECLINED", "declined"), ("SUPERSEDED", "declined")],
)
def test_an_unsigned_header_cannot_open_a_closed_pull_request(state, action):
    assert event(pull_request(state=state), "pullrequest:created").action == action


@pytest.mark.parametrize("kind", ["pullrequest:fulfilled", "pullrequest:rejected"])
def test_an_unsigned_header_cannot_close_an_open_pull_request(kind):
    with pytest.raises(UnexpectedAnswer, match="is open"):
        delivered(delivery(pull_request(), kind))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"full_name": "emma/shop"}, RepositoryId(owner="emma", slug="shop")),
        (None, None),
    ],
)
def test_a_pull_request_from_a_fork_is_recognized_even_if_the_fork_is_deleted(source, expected):
    body = pull_request()
    body["pullrequest"]["source"]["repository"] = source
    found = event(body, "pullrequest:created")
    assert found.source == expected
    assert found.is_from_fork


def test_a_pull_request_with_a_deleted_branch_has_no_commit():
    body = pull_request(state="DECLINED")
    body["pullrequest"]["source"]["commit"] = None
    assert event(body, "pullrequest:rejected").commit is None


@pytest.mark.parametrize("kind", ["repo:fork", "issue:created", "pullrequest:approved", "new:one"])
def test_an_unsubscribed_event_is_ignored_whatever_it_contains(kind):
    assert delivered(delivery(b"\xff", kind)) == Delivered(delivery=UUID)


def test_a_delivery_without_an_identifier_has_no_identifier():
    found = delivered(WebhookDelivery({"x-event-key": "repo:fork"}, b"{}"))
    assert found.delivery == ""


def test_a_delivery_without_an_event_type_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="X-Event-Key"):
        delivered(WebhookDelivery({}, b"{}"))


PUSHED = push(change(ref(OLD), ref(NEW)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["repository"], None),
        (["repository", "full_name"], "shop"),
        (["repository", "full_name"], "a/b/c"),
        (["repository", "full_name"], " /x"),
        (["repository", "full_name"], 7),
        (["push"], []),
        (["push", "changes"], {}),
        (["push", "changes", 0], None),
        (["push", "changes", 0], {}),
        (["push", "changes", 0], change(None, None)),
        (["push", "changes", 0, "new", "type"], "bookmark"),
        (["push", "changes", 0, "new", "name"], ""),
        (["push", "changes", 0, "new", "target"], None),
        (["push", "changes", 0, "new", "target", "hash"], NEW[:12]),
        (["push", "changes", 0, "new", "target", "hash"], NEW.upper()),
        (["push", "changes", 0, "new", "target", "hash"], NEW + "\n"),
        (["actor", "display_name"], 7),
    ],
)
def test_an_undocumented_push_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer) as caught:
        delivered(delivery(broken(PUSHED, path, value)))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["pullrequest"], None),
        (["pullrequest", "id"], 0),
        (["pullrequest", "id"], "7"),
        (["pullrequest", "id"], True),
        (["pullrequest", "source"], None),
        (["pullrequest", "source", "branch", "name"], ""),
        (["pullrequest", "source", "commit", "hash"], "d3022f"),
        (["pullrequest", "source", "commit", "hash"], "not-a-hash!!"),
        (["pullrequest", "destination", "branch"], None),
        (["pullrequest", "title"], 7),
    ],
)
def test_an_undocumented_pull_request_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(broken(pull_request(), path, value), "pullrequest:created"))


@pytest.mark.parametrize("body", NO_JSON)
def test_an_invalid_json_body_is_rejected(body):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(body))


SAMPLES = [(PUSHED, "repo:push"), (pull_request(), "pullrequest:updated")]


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
    assert len(found.events) == 1


@given(headers=st.dictionaries(st.sampled_from(["x-event-key", "x-request-uuid"]), st.text()))
def test_any_headers_yield_a_delivery_or_a_typed_error(headers):
    with suppress(UnexpectedAnswer):
        delivered(WebhookDelivery(headers, json.dumps(PUSHED).encode()))


def signed(signature, body=BODY):
    return WebhookDelivery({"x-hub-signature": signature}, body)


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
        f"sha512={by(hashlib.sha512)}",
        f"sha256={by(hashlib.sha512)[:64]}",
        f"sha1={KNOWN}",
        f"SHA256={KNOWN}",
        f"md5={KNOWN}",
        f"sha256={KNOWN}, sha256={KNOWN}",
        "sha256=\ud800",
        "sha256=größe",
    ],
)
def test_any_other_signature_is_rejected(signature):
    assert not is_signed(signed(signature), (SECRET,))


def test_a_delivery_without_a_signature_is_refused():
    assert not is_signed(WebhookDelivery({}, BODY), (SECRET,))
    assert not is_signed(
        WebhookDelivery({"x-hub-signature-256": f"sha256={KNOWN}"}, BODY), (SECRET,)
    )


def test_a_subscription_requests_pushes_and_pull_requests_with_its_secret():
    found = subscription("https://deploy.example.com/hook", SecretStr("s" * 128))
    assert found["events"] == [
        "repo:push",
        "pullrequest:created",
        "pullrequest:updated",
        "pullrequest:push",
        "pullrequest:fulfilled",
        "pullrequest:rejected",
    ]
    assert found["active"] is True
    assert found["secret"].get_secret_value() == "s" * 128
    assert "ssss" not in repr(found)


@pytest.mark.parametrize("secret", ["", "s" * 129])
def test_a_secret_that_cannot_sign_is_rejected_and_not_shown(secret):
    with pytest.raises(ConfigurationError) as caught:
        subscription("https://deploy.example.com/hook", SecretStr(secret))
    assert str(len(secret)) in caught.value.message
    assert "sss" not in f"{caught.value} {caught.value.hint}"
    assert subscription("https://deploy.example.com/hook", SecretStr("5e" * 32))


def test_a_webhook_is_parsed_from_the_bitbucket_response():
    found = webhook_from({"uuid": "{1}", "url": "https://x", "active": False, "events": []})
    assert (found.id, found.url, found.active) == ("{1}", "https://x", False)
    assert webhook_from({"uuid": "{1}", "url": "https://x"}).active


@pytest.mark.parametrize(
    "item", [None, [], {}, {"uuid": "{1}"}, {"uuid": 1, "url": "x"}, {"uuid": "", "url": "x"}]
)
def test_an_undocumented_webhook_format_is_rejected(item):
    with pytest.raises(UnexpectedAnswer):
        webhook_from(item)
