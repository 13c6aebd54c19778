"""What CI sends, and how it is verified."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from deploycore.errors import UnexpectedAnswer
from deploycore.events import PushEvent, RefChange, WebhookDelivery
from deploycore.models import RepositoryId
from pydantic import SecretStr

from deploycore_git.webhooks import delivered, is_signed

SECRET = SecretStr("made-up-4f1d")
OTHER = SecretStr("made-up-77aa")
COMMIT = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"
PUSH = {"ref": "refs/heads/main", "repository": "acme/shop.git", "commit": COMMIT}


def sent(body, *, secret=SECRET, headers=None, **changes):
    if not isinstance(body, bytes):
        body = json.dumps({**body, **changes}).encode()
    digest = hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
    given = {"x-deploycore-signature": f"sha256={digest}", "content-type": "application/json"}
    return WebhookDelivery(headers=given if headers is None else headers, body=body)


def test_only_a_known_nonempty_secret_verifies_a_signature():
    assert is_signed(sent(PUSH), (SECRET,))
    assert is_signed(sent(PUSH), (OTHER, SECRET))
    assert not is_signed(sent(PUSH, secret=OTHER), (SECRET,))
    assert not is_signed(sent(PUSH), ())
    empty = SecretStr("")
    assert not is_signed(sent(PUSH, secret=empty), (empty,))


def test_another_body_header_or_algorithm_fails_verification():
    found = sent(PUSH)
    proof = found.headers["x-deploycore-signature"]
    assert not is_signed(WebhookDelivery(headers=found.headers, body=found.body + b" "), (SECRET,))
    for wrong in ("", "sha256=", proof[7:], proof[:-1], proof.replace("sha256", "sha1"), "é"):
        headers = {"x-deploycore-signature": wrong}
        assert not is_signed(sent(PUSH, headers=headers), (SECRET,))
    assert not is_signed(sent(PUSH, headers={}), (SECRET,))


def test_a_push_reports_the_new_commit_of_a_ref():
    told = delivered(sent(PUSH, actor="Ada", delivery="7", sent_at="2027-01-31T12:00:00+01:00"))
    change = RefChange(kind="branch", name="main", after=COMMIT)
    shop = RepositoryId(owner="acme", slug="shop")
    assert told.events == (PushEvent(repository=shop, changes=(change,), actor="Ada"),)
    assert told.delivery == "7"
    assert told.sent_at == datetime(2027, 1, 31, 11, tzinfo=UTC)
    [event] = delivered(sent(PUSH, ref="refs/tags/v1/2", before="0" * 39 + "1")).events
    [change] = event.changes
    assert (change.kind, change.name, change.before) == ("tag", "v1/2", "0" * 39 + "1")


def test_without_a_commit_the_server_is_queried():
    [event] = delivered(sent(PUSH, commit=None)).events
    assert event.unresolved == ("refs/heads/main",)
    assert (event.changes, event.truncated) == ((), False)


@pytest.mark.parametrize("before", [None, COMMIT])
def test_a_commit_of_zeros_is_a_deleted_ref(before):
    for zeros in ("0" * 40, "0" * 64):
        [event] = delivered(sent(PUSH, commit=zeros, before=before)).events
        assert event.changes == (RefChange(kind="branch", name="main", before=before),)
        assert (event.unresolved, event.truncated) == ((), False)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ref": "main"}, "ref"),
        ({"ref": None}, "ref"),
        ({"ref": "refs/notes/x"}, "ref"),
        ({"ref": "refs/heads/a\nb"}, "ref"),
        ({"repository": "shop"}, "repository"),
        ({"repository": "/shop"}, "repository"),
        ({"repository": "acme/.git"}, "repository"),
        ({"repository": "acme/.."}, "repository"),
        ({"repository": "acme/sh\x1bop"}, "repository"),
        ({"delivery": "\ud800"}, "delivery"),
        ({"delivery": "a\0b"}, "delivery"),
        ({"commit": "e7d158f"}, "commit"),
        ({"commit": 7}, "commit"),
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"sent_at": "2027-01-31T12:00:00"}, "sent_at"),
    ],
)
def test_an_invalid_field_is_named(changes, field):
    with pytest.raises(UnexpectedAnswer, match=f"these fields are wrong: {field}"):
        delivered(sent(PUSH, **changes))


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff", b"7"])
def test_an_invalid_push_is_rejected(body):
    with pytest.raises(UnexpectedAnswer):
        delivered(sent(body))


def test_a_form_is_refused():
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(UnexpectedAnswer, match="must be JSON"):
        delivered(sent(PUSH, headers=headers))
