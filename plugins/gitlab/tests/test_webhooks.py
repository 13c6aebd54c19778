"""Deliveries in the form of GitLab's documentation, and their events; signatures and
subscriptions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from deploycore.errors import ConfigurationError, UnexpectedAnswer
from deploycore.events import Delivered, PullRequestEvent, PushEvent, RefChange, WebhookDelivery
from deploycore.http import parse_answer
from deploycore.models import RepositoryId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.damage import NO_JSON, anything, broken, paths

from deploycore_gitlab.webhooks import (
    FIRST_SETTINGS,
    HookAnswer,
    delivered,
    is_proved,
    signature,
    signing_token,
    subscription,
)

OLD = "95790bf891e76fee5e1747ab589903a6a1f80f22"
NEW = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
ANNOTATION = "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"
NOTHING = "0" * 40
SHOP = RepositoryId(owner="acme/platform", slug="shop")
KEY = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
SECRET = SecretStr("It's a Secret to Everybody")
OTHER = SecretStr("another")
NONE = SecretStr("")
BODY = b"Hello World!"
SENT = "1795600800"

PROJECT = {
    "id": 15,
    "name": "Shop",
    "description": "",
    "web_url": "https://gitlab.example.com/acme/platform/shop",
    "git_http_url": "https://gitlab.example.com/acme/platform/shop.git",
    "namespace": "Platform",
    "visibility_level": 0,
    "path_with_namespace": "acme/platform/shop",
    "default_branch": "main",
}
USER = {"id": 1, "name": "Ada Lovelace", "username": "ada", "email": "[REDACTED]"}


# https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events
def push(**changes):
    body = {
        "object_kind": "push",
        "event_name": "push",
        "before": OLD,
        "after": NEW,
        "ref": "refs/heads/main",
        "ref_protected": True,
        "checkout_sha": NEW,
        "message": None,
        "user_id": 4,
        "user_name": "Ada Lovelace",
        "user_username": "ada",
        "user_email": "",
        "project_id": 15,
        "project": PROJECT,
        "commits": [{"id": NEW, "message": "fixed readme", "added": ["CHANGELOG"]}],
        "total_commits_count": 4,
        "push_options": {},
        "repository": {"name": "Shop", "homepage": "https://gitlab.example.com/acme/shop"},
    }
    return {**body, **changes}


def tag_push(**changes):
    kind = {"object_kind": "tag_push", "event_name": "tag_push", "ref": "refs/tags/v1.0"}
    return push(**{**kind, "before": NOTHING, "commits": [], **changes})


# https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events
def merge_request(*, changes=None, **attributes):
    told = {
        "id": 99,
        "iid": 7,
        "target_branch": "main",
        "source_branch": "feature/anvils",
        "source_project_id": 15,
        "target_project_id": 15,
        "title": "Anvils",
        "state": "opened",
        "draft": False,
        "source": PROJECT,
        "target": PROJECT,
        "last_commit": {"id": NEW, "message": "fixed readme"},
        "action": "open",
        **attributes,
    }
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": USER,
        "project": PROJECT,
        "object_attributes": told,
        "labels": [],
        "changes": changes or {},
    }


def delivery(body, kind="Push Hook", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookDelivery({"x-gitlab-event": kind, "idempotency-key": KEY, **headers}, content)


def event(body, kind="Push Hook"):
    (found,) = delivered(delivery(body, kind)).events
    return found


# Pushes


def test_a_push_contains_branch_commits_and_actor():
    found = delivered(delivery(push()))
    assert found == Delivered(
        delivery=KEY,
        events=(
            PushEvent(
                repository=SHOP,
                changes=(RefChange(kind="branch", name="main", before=OLD, after=NEW),),
                actor="Ada Lovelace",
                repository_host_id="15",
            ),
        ),
    )


@pytest.mark.parametrize("zeros", [NOTHING, "0" * 64])
def test_a_zero_hash_means_a_created_or_deleted_branch(zeros):
    (made,) = event(push(before=zeros, ref="refs/heads/feature/größe")).changes
    assert made == RefChange(kind="branch", name="feature/größe", after=NEW)
    (deleted,) = event(push(after=zeros, checkout_sha=None)).changes
    assert deleted == RefChange(kind="branch", name="main", before=OLD)


def test_annotated_and_lightweight_tags_are_resolved_to_their_commit():
    (made,) = event(tag_push(), "Tag Push Hook").changes
    assert made == RefChange(kind="tag", name="v1.0", after=NEW)
    annotated = tag_push(after=ANNOTATION)
    assert event(annotated, "Tag Push Hook").changes == (made,)
    gone = tag_push(before=NEW, after=NOTHING, checkout_sha=None)
    assert event(gone, "Tag Push Hook").changes == (RefChange(kind="tag", name="v1.0", before=NEW),)


def test_projects_of_users_and_nested_groups_are_named_by_their_full_path():
    for path, owner in (("ada/shop", "ada"), ("a/b/c/shop", "a/b/c")):
        project = {**PROJECT, "path_with_namespace": path}
        assert event(push(project=project)).repository == RepositoryId(owner=owner, slug="shop")


def test_the_actor_of_a_push_can_be_a_username_or_unknown():
    assert event(push(user_name=None)).actor == "ada"
    assert event(push(user_name=None, user_username=None)).actor == ""


# Merge requests


@pytest.mark.parametrize(
    ("action", "more", "expected"),
    [
        ("open", {}, "opened"),
        ("reopen", {}, "opened"),
        ("update", {"oldrev": OLD}, "updated"),
        ("merge", {}, "merged"),
        ("close", {}, "declined"),
    ],
)
def test_a_merge_request_event_contains_the_action(action, more, expected):
    assert event(merge_request(action=action, **more), "Merge Request Hook") == PullRequestEvent(
        repository=SHOP,
        number=7,
        action=expected,
        title="Anvils",
        source=SHOP,
        source_branch="feature/anvils",
        target_branch="main",
        commit=NEW,
        actor="Ada Lovelace",
        repository_host_id="15",
    )


@pytest.mark.parametrize("action", ["approval", "approved", "unapproval", "unapproved", None, "x"])
def test_approvals_are_ignored(action):
    body = merge_request(action=action)
    assert delivered(delivery(body, "Merge Request Hook")).events == ()


def test_an_update_is_only_relevant_if_commits_or_the_target_changed():
    label = merge_request(action="update", changes={"labels": {"previous": [], "current": []}})
    assert delivered(delivery(label, "Merge Request Hook")).events == ()
    changes = {"target_branch": {"previous": "main", "current": "develop"}}
    moved = merge_request(action="update", changes=changes, target_branch="develop")
    assert event(moved, "Merge Request Hook").target_branch == "develop"


def test_a_merge_request_from_a_fork_is_recognized_even_if_it_is_deleted():
    fork = {**PROJECT, "path_with_namespace": "ada/shop"}
    found = event(merge_request(source=fork, source_project_id=16), "Merge Request Hook")
    assert found.source == RepositoryId(owner="ada", slug="shop")
    assert found.is_from_fork
    gone = event(merge_request(source=None, source_project_id=None), "Merge Request Hook")
    assert gone.source is None
    assert gone.is_from_fork
    assert not event(merge_request(), "Merge Request Hook").is_from_fork


def test_a_merge_request_without_commits_has_no_commit():
    assert event(merge_request(last_commit=None), "Merge Request Hook").commit is None


# Deliveries


@pytest.mark.parametrize("kind", ["Issue Hook", "Pipeline Hook", "System Hook", "new one"])
def test_an_unsubscribed_event_is_ignored_whatever_it_contains(kind):
    assert delivered(delivery(b"\xff", kind)) == Delivered(delivery=KEY)


def test_a_redelivery_has_the_same_identifier_despite_other_headers():
    told = [
        delivered(
            delivery(push(), **{"x-gitlab-webhook-uuid": uuid, "x-gitlab-event-uuid": "the-push"})
        )
        for uuid in ("one", "two")
    ]
    assert told[0] == told[1]
    other = delivery(push(), **{"x-gitlab-event-uuid": "the-push", "idempotency-key": "x"})
    assert delivered(other).delivery == "x"


def test_before_gitlab_17_4_a_delivery_has_no_stable_identifier():
    headers = {"x-gitlab-webhook-uuid": "another each time", "x-gitlab-event-uuid": "of the push"}
    old = WebhookDelivery({"x-gitlab-event": "Push Hook", **headers}, json.dumps(push()).encode())
    assert delivered(old).delivery == ""


def test_a_signed_delivery_contains_its_time():
    found = delivered(delivery(push(), **{"webhook-id": "1", "webhook-timestamp": SENT}))
    assert found.delivery == "1"
    assert found.sent_at == datetime.fromtimestamp(int(SENT), UTC)


@pytest.mark.parametrize(
    "time", ["", "soon", "-1", "1.5", "²", "9" * 13, "9" * 5000, "0" * 13 + "9" * 20]
)
def test_an_invalid_time_is_rejected(time):
    with pytest.raises(UnexpectedAnswer, match="webhook-timestamp"):
        delivered(delivery(push(), **{"webhook-timestamp": time}))


def test_a_delivery_without_an_event_type_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="X-Gitlab-Event"):
        delivered(WebhookDelivery({}, b"{}"))


def test_a_header_that_does_not_match_the_body_is_rejected():
    for body, kind in (
        (push(), "Tag Push Hook"),
        (tag_push(), "Push Hook"),
        (push(), "Merge Request Hook"),
        (merge_request(), "Push Hook"),
        (push(ref="refs/tags/v1.0"), "Push Hook"),
        (tag_push(ref="refs/heads/main"), "Tag Push Hook"),
    ):
        with pytest.raises(UnexpectedAnswer):
            delivered(delivery(body, kind))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["object_kind"], None),
        (["project"], None),
        (["project", "path_with_namespace"], "shop"),
        (["project", "path_with_namespace"], "/shop"),
        (["project", "path_with_namespace"], 7),
        (["ref"], "main"),
        (["ref"], "refs/heads/"),
        (["ref"], None),
        (["before"], None),
        (["after"], NEW[:12]),
        (["after"], NEW.upper()),
        (["after"], NEW + "\n"),
        (["user_name"], 7),
    ],
)
def test_an_undocumented_push_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer) as caught:
        delivered(delivery(broken(push(), path, value)))
    assert caught.value.hint


def test_a_push_with_two_zero_hashes_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="which ref"):
        delivered(delivery(push(before=NOTHING, after=NOTHING)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["object_attributes"], None),
        (["object_attributes", "iid"], 0),
        (["object_attributes", "iid"], "7"),
        (["object_attributes", "iid"], True),
        (["object_attributes", "source"], "acme"),
        (["object_attributes", "source_branch"], ""),
        (["object_attributes", "target_branch"], None),
        (["object_attributes", "last_commit", "id"], "d3022f"),
        (["object_attributes", "title"], 7),
        (["changes"], []),
        (["project", "path_with_namespace"], ""),
    ],
)
def test_an_undocumented_merge_request_format_is_rejected(path, value):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(broken(merge_request(), path, value), "Merge Request Hook"))


@pytest.mark.parametrize("body", NO_JSON)
def test_an_invalid_json_body_is_rejected(body):
    with pytest.raises(UnexpectedAnswer):
        delivered(delivery(body))


KINDS = ["Push Hook", "Tag Push Hook", "Merge Request Hook"]
SAMPLES = [*zip([push(), tag_push(), merge_request()], KINDS, strict=True)]
HEADERS = ["x-gitlab-event", "idempotency-key", "webhook-id", "webhook-timestamp"]


@given(body=anything, kind=st.sampled_from(KINDS))
def test_any_json_yields_an_event_or_a_typed_error(body, kind):
    with suppress(UnexpectedAnswer):
        delivered(delivery(body, kind))


@given(data=st.data(), sample=st.sampled_from(SAMPLES), value=anything | st.just("\ud800"))
def test_any_damaged_delivery_yields_events_or_a_typed_error(data, sample, value):
    body, kind = sample
    path = data.draw(st.sampled_from(list(paths(body))))
    try:
        found = delivered(delivery(broken(body, path, value), kind))
    except UnexpectedAnswer:
        return
    assert len(found.events) == 1 or (kind == "Merge Request Hook" and not found.events)


@given(headers=st.dictionaries(st.sampled_from(HEADERS), st.text() | st.just("\ud800")))
def test_any_headers_yield_a_delivery_or_a_typed_error(headers):
    with suppress(UnexpectedAnswer):
        delivered(WebhookDelivery({"x-gitlab-event": "Push Hook", **headers}, b"{}"))


hashes = st.text("0123456789abcdef", min_size=40, max_size=40).filter(lambda text: text.strip("0"))


@given(before=hashes, after=hashes, branch=st.text(min_size=1).filter(str.isprintable))
def test_any_pushed_branch_is_reported_unchanged(before, after, branch):
    (change,) = event(push(before=before, after=after, ref=f"refs/heads/{branch}")).changes
    assert (change.name, change.before, change.after) == (branch, before, after)


# Signatures


def signed(secret=SECRET, body=BODY, **changes):
    headers = {"webhook-id": KEY, "webhook-timestamp": SENT}
    bare = WebhookDelivery(headers, body)
    return WebhookDelivery(
        {**headers, "webhook-signature": signature(bare, secret), **changes}, body
    )


def test_a_signature_follows_the_standard_webhooks_specification():
    token = signing_token(SECRET).get_secret_value()
    assert token.startswith("whsec_")
    key = base64.b64decode(token.removeprefix("whsec_"), validate=True)
    assert len(key) == 32
    told = f"{KEY}.{SENT}.".encode() + BODY
    wanted = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    assert signed().headers["webhook-signature"] == f"v1,{wanted}"
    assert is_proved(signed(), (SECRET,))


def test_the_signing_token_hides_the_secret_and_is_stable():
    # Otherwise, existing registrations would become invalid.
    known = "whsec_/27+aFBv7vIQTgto9tiuRgBxlBsYRIQjzQJb9lwQ03k="
    assert signing_token(SECRET).get_secret_value() == known
    assert signing_token(OTHER) != signing_token(SECRET)


def test_each_of_several_secrets_is_accepted_during_a_rotation():
    for right in (signed(), token(SECRET.get_secret_value())):
        assert is_proved(right, (SECRET, OTHER))
        assert is_proved(right, (OTHER, SECRET))
        assert not is_proved(right, (OTHER,))
        assert not is_proved(right, ())


def test_one_valid_signature_among_several_is_sufficient():
    right = signed().headers["webhook-signature"]
    for told in (f"v1,abc= {right}", f"{right} v1a,abc=", f"{right} {right}"):
        assert is_proved(signed(**{"webhook-signature": told}), (SECRET,))


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
@pytest.mark.parametrize("value", ["", "1", "1.2", "größe", "\ud800", None])
def test_signed_headers_cannot_be_changed(header, value):
    found = signed()
    headers = {name: told for name, told in found.headers.items() if name != header}
    if value is not None:
        headers[header] = value
    assert not is_proved(WebhookDelivery(headers, found.body), (SECRET,))


def test_the_boundaries_of_signed_parts_cannot_be_moved():
    right = signed(body=b'{"a": "b.c"}')
    proof = right.headers["webhook-signature"]
    for told, time, body in (
        (f"{KEY}.{SENT}", '{"a": "b', b'c"}'),
        (KEY, f'{SENT}.{{"a": "b', b'c"}'),
        (f'{KEY}.{SENT}.{{"a": "b', "", b'c"}'),
    ):
        headers = {"webhook-id": told, "webhook-timestamp": time, "webhook-signature": proof}
        assert not is_proved(WebhookDelivery(headers, body), (SECRET,))


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: "",
        lambda proof: "v1,",
        lambda proof: proof.removeprefix("v1,"),
        lambda proof: proof.replace("v1,", "v2,"),
        lambda proof: proof.replace("v1,", "V1,"),
        lambda proof: proof[:-1],
        lambda proof: f"{proof}=",
        lambda proof: f" {proof[:20]} {proof[20:]}",
        lambda proof: f"{proof},{proof}",
        lambda proof: f"v1,{base64.b64decode(proof[3:]).hex()}",
        lambda proof: "\ud800",
    ],
    ids=lambda change: "",
)
def test_any_other_signature_is_rejected(change):
    proof = signed().headers["webhook-signature"]
    assert not is_proved(signed(**{"webhook-signature": change(proof)}), (SECRET,))


@given(place=st.integers(0, len(BODY) * 8 - 1))
def test_a_signed_body_with_a_flipped_bit_is_rejected(place):
    changed = bytearray(BODY)
    changed[place // 8] ^= 1 << place % 8
    assert not is_proved(WebhookDelivery(signed().headers, bytes(changed)), (SECRET,))


def test_an_invalid_signature_is_rejected_despite_a_valid_token():
    wrong = signed(OTHER, **{"x-gitlab-token": SECRET.get_secret_value()})
    assert not is_proved(wrong, (SECRET,))


def token(value, body=BODY):
    return WebhookDelivery({"x-gitlab-token": value}, body)


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: "",
        lambda secret: secret[:-1],
        lambda secret: f"{secret} ",
        lambda secret: secret.upper(),
        lambda secret: signing_token(SECRET).get_secret_value(),
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
        lambda secret: "\ud800",
    ],
    ids=lambda change: "",
)
def test_any_other_token_is_rejected(change):
    assert not is_proved(token(change(SECRET.get_secret_value())), (SECRET,))


@given(given=st.text() | st.just("\ud800"), secret=st.text(min_size=1).filter(str.isprintable))
def test_a_token_equal_to_the_secret_is_accepted(given, secret):
    assert is_proved(token(given), (SecretStr(secret),)) == (given == secret)


def test_a_delivery_without_signature_or_token_is_rejected():
    assert not is_proved(WebhookDelivery({}, BODY), (SECRET,))
    assert not is_proved(WebhookDelivery({}, BODY), (NONE,))


def test_an_empty_secret_is_never_accepted():
    for forged in (signed(NONE), token("")):
        assert not is_proved(forged, (NONE,))
        assert not is_proved(forged, (SECRET, NONE))


# Subscriptions


def test_a_subscription_requests_pushes_tags_and_merge_requests():
    found = subscription("https://deploy.example.com/hook", SECRET)
    flags = {name for name, value in found.items() if value is True}
    assert flags == {"push_events", "tag_push_events", "merge_requests_events"}
    assert found["signing_token"] == signing_token(SECRET)
    assert SECRET.get_secret_value() not in repr(found)
    assert FIRST_SETTINGS["enable_ssl_verification"] is True


@pytest.mark.parametrize("secret", ["", "a\nb", "größe", "\x7f"], ids=range(4))
def test_a_secret_that_cannot_be_sent_is_rejected_and_not_shown(secret):
    with pytest.raises(ConfigurationError) as caught:
        subscription("https://deploy.example.com/hook", SecretStr(secret))
    assert "größe" not in f"{caught.value} {caught.value.hint}"


def hook(**changes):
    item = {"id": 1, "url": "https://x", "alert_status": "executable", **changes}
    return parse_answer(HookAnswer, item, what="a webhook")


def test_a_webhook_is_parsed_from_the_gitlab_response():
    found = hook().webhook()
    assert (found.id, found.url, found.active) == ("1", "https://x", True)
    assert hook().signing_token_present is None


@pytest.mark.parametrize(
    ("status", "active"),
    [("executable", True), ("temporarily_disabled", True), ("disabled", False)],
)
def test_a_temporarily_disabled_webhook_counts_as_active(status, active):
    assert hook(alert_status=status).webhook().active is active


@pytest.mark.parametrize(
    "change", [{"id": "1"}, {"id": 0}, {"url": ""}, {"url": None}, {"alert_status": 1}]
)
def test_an_undocumented_webhook_format_is_rejected(change):
    with pytest.raises(UnexpectedAnswer):
        hook(**change)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_json_is_rejected_with_the_next_step(kind):
    with pytest.raises(UnexpectedAnswer, match="must be JSON") as caught:
        delivered(delivery(push(), **{"content-type": kind}))
    assert "application/json" in caught.value.hint
