"""Deliveries in the form of Atlassian's documentation, and the events that they are converted
to."""

from __future__ import annotations

import json
from secrets import token_bytes

import pytest
from deploycore.errors import ConfigurationError, UnexpectedAnswer
from deploycore.events import PullRequestEvent, PushEvent, RefChange, WebhookDelivery
from deploycore.models import RepositoryId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploycore_bitbucket_datacenter.webhooks import EVENTS, delivered, is_signed, subscription

from .test_answers import COMMIT, PULL_REQUEST, REPOSITORY

SHOP = RepositoryId(owner="PRJ", slug="my-repo")
OLD = "ecddabb624f6f5ba43816f5926e580a5f680a932"
ZEROS = "0" * 40
ACTOR = {
    "name": "admin",
    "emailAddress": "admin@example.com",
    "id": 1,
    "displayName": "Administrator",
    "active": True,
    "slug": "admin",
    "type": "NORMAL",
}
TIMES = {"milliseconds": 1505783860548, "iso": "2026-09-19T01:17:40.548+0000"}


def change(ref="refs/heads/master", before=OLD, after=COMMIT, kind="UPDATE"):
    names = {"id": ref, "displayId": ref.split("/", 2)[-1], "type": "BRANCH"}
    return {"ref": names, "refId": ref, "fromHash": before, "toHash": after, "type": kind}


def push(*changes, **more):
    return {
        "eventKey": "repo:refs_changed",
        "date": "2017-09-19T09:45:32+1000",
        "actor": ACTOR,
        "repository": REPOSITORY,
        "changes": list(changes),
        **more,
    }


def pull_request(kind, time=TIMES["milliseconds"], **changes):
    told = {**PULL_REQUEST, "createdDate": time, "updatedDate": time, **changes}
    return {"eventKey": kind, "date": time, "actor": ACTOR, "pullRequest": told}


def delivery(body, kind=None, **headers):
    kind = kind or body.get("eventKey", "")
    given = {"x-event-key": kind, "x-request-id": "7d6b", "content-type": "application/json"}
    return WebhookDelivery({**given, **headers}, json.dumps(body).encode())


def events(body, kind=None):
    return delivered(delivery(body, kind)).events


def test_a_push_as_documented():
    found = delivered(delivery(push(change())))
    moved = RefChange(kind="branch", name="master", before=OLD, after=COMMIT)
    assert found.delivery == "7d6b"
    assert found.events == (
        PushEvent(
            repository=SHOP, changes=(moved,), actor="Administrator", repository_host_id="17"
        ),
    )


def test_all_refs_of_a_push_are_reported():
    (event,) = events(
        push(
            change("refs/heads/made", ZEROS, COMMIT, "ADD"),
            change("refs/heads/gone", OLD, ZEROS, "DELETE"),
            change("refs/tags/v1.0", ZEROS, COMMIT, "ADD"),
            change("refs/notes/commits", OLD, COMMIT),
        )
    )
    assert event.changes == (
        RefChange(kind="branch", name="made", after=COMMIT),
        RefChange(kind="branch", name="gone", before=OLD),
        RefChange(kind="tag", name="v1.0", after=COMMIT),
    )


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_commit_times_of_a_push_have_either_format(time):
    commits = [{"id": COMMIT, "authorTimestamp": time, "committerTimestamp": time}]
    (event,) = events(push(change(), commits=commits, toCommit=commits[0], date=time))
    assert event.changes[0].after == COMMIT


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize(
    ("kind", "state", "action"),
    [
        ("pr:opened", "OPEN", "opened"),
        ("pr:from_ref_updated", "OPEN", "updated"),
        ("pr:modified", "OPEN", "updated"),
        ("pr:merged", "MERGED", "merged"),
        ("pr:declined", "DECLINED", "declined"),
        ("pr:deleted", "OPEN", "declined"),
        ("pr:deleted", "DECLINED", "declined"),
        ("pr:opened", "MERGED", "merged"),
        ("pr:modified", "DECLINED", "declined"),
    ],
)
def test_each_event_of_a_pull_request(kind, state, action, time):
    assert events(pull_request(kind, time, state=state)) == (
        PullRequestEvent(
            repository=SHOP,
            number=101,
            action=action,
            title="Talking Nerdy",
            source=RepositoryId(owner="~JCITIZEN", slug="my-repo"),
            source_branch="feature/ABC-123",
            target_branch="main",
            commit=COMMIT,
            actor="Administrator",
            repository_host_id="17",
        ),
    )


def test_a_deleted_fork_is_no_source():
    source = {key: value for key, value in PULL_REQUEST["fromRef"].items() if key != "repository"}
    (event,) = events(pull_request("pr:declined", state="DECLINED", fromRef=source))
    assert event.source is None


@pytest.mark.parametrize("kind", ["pr:merged", "pr:declined"])
def test_a_closing_event_that_its_body_contradicts_is_rejected(kind):
    with pytest.raises(UnexpectedAnswer, match="is open"):
        events(pull_request(kind))


def test_a_pull_request_without_a_target_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="toRef"):
        events(pull_request("pr:opened", toRef={"id": "refs/heads/main"}))


@pytest.mark.parametrize("kind", ["repo:modified", "pr:comment:added", "pr:reviewer:approved"])
def test_other_events_are_ignored(kind):
    assert events({"eventKey": kind}) == ()


def test_a_test_delivery_contains_no_event():
    assert events({"test": True}, "diagnostics:ping") == ()


def test_the_event_type_is_read_from_the_signed_body():
    (event,) = events(push(change()), kind="pr:merged")
    assert isinstance(event, PushEvent)


@pytest.mark.parametrize(
    "body",
    [
        {"eventKey": "repo:refs_changed"},
        push({**change(), "toHash": "short"}),
        push(change(), repository={"slug": "x"}),
        push(change(), changes=None),
        {**push(change()), "eventKey": 7},
    ],
)
def test_an_undocumented_format_is_rejected(body):
    with pytest.raises(UnexpectedAnswer):
        events(body, "repo:refs_changed")


def test_without_the_header_it_is_not_a_delivery():
    with pytest.raises(UnexpectedAnswer, match="X-Event-Key"):
        delivered(WebhookDelivery({}, json.dumps(push(change())).encode()))


def test_a_form_is_refused():
    content = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(UnexpectedAnswer, match="must be JSON"):
        delivered(delivery(push(change()), **content))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from([*EVENTS, "diagnostics:ping"]),
)
def test_any_json_yields_an_event_or_a_typed_error(body, kind):
    try:
        found = delivered(WebhookDelivery({"x-event-key": kind}, json.dumps(body).encode()))
    except UnexpectedAnswer:
        return
    assert found.events == ()


SIGNED = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
SECRET = SecretStr("It's a Secret to Everybody")


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        (f"sha256={SIGNED}", True),
        (f"sha1={SIGNED}", False),
        (SIGNED, False),
        (f"sha256={SIGNED[:-1]}", False),
        ("", False),
    ],
)
def test_the_signature_matches_the_documented_example(header, is_right):
    found = WebhookDelivery({"x-hub-signature": header}, b"Hello World!")
    assert is_signed(found, (SECRET,)) is is_right


def test_a_subscription_requests_signed_pushes_and_pull_requests():
    body = subscription("https://deploy.example.com/1", SECRET)
    assert body["configuration"] == {"secret": SECRET}
    assert body["events"] == list(EVENTS)
    assert body["sslVerificationRequired"] is True


def test_an_empty_secret_is_refused():
    with pytest.raises(ConfigurationError, match="does not sign") as caught:
        subscription("https://deploy.example.com/1", SecretStr(""))
    assert "32 random bytes in hexadecimal" in caught.value.hint
    chosen = subscription("https://deploy.example.com/1", SecretStr(token_bytes(32).hex()))
    assert len(chosen["configuration"]["secret"].get_secret_value()) == 64
