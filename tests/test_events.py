"""Verification of signatures of deliveries."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from deploycore.events import (
    PullRequestEvent,
    PushEvent,
    RefChange,
    WebhookDelivery,
    hmac_sha256_matches,
    signature_header_matches,
)
from deploycore.models import RepositoryId

SECRET = SecretStr("It's a Secret to Everybody")
OTHER = SecretStr("another")
NOTHING = SecretStr("")
BODY = b"Hello, World!"
# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
KNOWN = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

bodies = st.binary(max_size=64)
keys = st.text(min_size=1).map(SecretStr)


def signature(body: bytes, secret: SecretStr) -> str:
    return hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()


def test_the_signature_of_a_known_example_is_accepted():
    assert hmac_sha256_matches(BODY, KNOWN, (SECRET,))


def test_each_of_several_secrets_is_accepted_during_a_rotation():
    assert hmac_sha256_matches(BODY, KNOWN, (SECRET, OTHER))
    assert hmac_sha256_matches(BODY, KNOWN, (OTHER, SECRET))
    assert not hmac_sha256_matches(BODY, KNOWN, (OTHER,))
    assert not hmac_sha256_matches(BODY, KNOWN, ())


def test_an_empty_secret_is_never_accepted():
    forged = signature(BODY, NOTHING)
    assert not hmac_sha256_matches(BODY, forged, (NOTHING,))
    assert not hmac_sha256_matches(BODY, forged, (SECRET, NOTHING))


@given(
    given=st.text(st.characters(exclude_categories=())) | st.from_regex(r"[0-9a-f]{64}\Z"),
    body=bodies,
    secret=keys,
)
def test_no_forged_signature_is_accepted(given, body, secret):
    right = signature(body, secret)
    assert hmac_sha256_matches(body, given, (secret,)) == (given.strip().lower() == right)
    assert hmac_sha256_matches(body, right, (secret,))


@given(body=bodies, secret=keys, data=st.data())
def test_a_body_with_a_flipped_bit_fails_verification(body, secret, data):
    right = signature(body, secret)
    if body:
        place = data.draw(st.integers(0, len(body) * 8 - 1))
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert not hmac_sha256_matches(bytes(changed), right, (secret,))
    place = data.draw(st.integers(0, 63))
    other = f"{int(right[place], 16) ^ 1:x}"
    assert not hmac_sha256_matches(body, f"{right[:place]}{other}{right[place + 1 :]}", (secret,))


SHOP = RepositoryId(owner="acme", slug="shop")


def pull_request(**more):
    values = {"number": 7, "action": "opened", "source_branch": "topic", "target_branch": "main"}
    return PullRequestEvent(repository=SHOP, **(values | more))


@pytest.mark.parametrize("number", [0, 2**63, 10**30])
def test_an_unstorable_number_is_not_a_pull_request(number):
    assert pull_request(number=2**63 - 1).number == 2**63 - 1
    with pytest.raises(ValidationError):
        pull_request(number=number)


@pytest.mark.parametrize(
    "make", [pull_request, lambda **more: PushEvent(repository=SHOP, changes=(), **more)]
)
def test_the_name_of_a_person_is_made_storable_and_printable(make):
    assert make(actor="Ada\0\n\x1b[31m\ud800" + "x" * 500).actor == "Ada[31m" + "x" * 193


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\x1b", "a\x7f", "\ud83d", ""])
def test_a_name_that_git_forbids_is_not_a_branch(name):
    for make in (
        lambda: pull_request(source_branch=name),
        lambda: pull_request(target_branch=name),
    ):
        with pytest.raises(ValidationError):
            make()


ZEROS = "0" * 40


@pytest.mark.parametrize(
    ("ref", "before", "after", "tagged", "expected"),
    [
        ("refs/heads/a/b", ZEROS, "1" * 40, None, ("branch", "a/b", None, "1" * 40)),
        ("refs/heads/main", "1" * 40, ZEROS, None, ("branch", "main", "1" * 40, None)),
        ("refs/tags/v1", ZEROS, "1" * 40, "2" * 40, ("tag", "v1", None, "2" * 40)),
        ("refs/tags/v1", "1" * 40, ZEROS, "2" * 40, ("tag", "v1", "1" * 40, None)),
        ("refs/heads/main", "1" * 40, "2" * 40, "3" * 40, ("branch", "main", "1" * 40, "2" * 40)),
        ("refs/for/main", ZEROS, "1" * 40, None, None),
        ("refs/heads/main", ZEROS, ZEROS, None, None),
    ],
)
def test_a_change_of_a_ref_as_git_writes_it(ref, before, after, tagged, expected):
    found = RefChange.of_ref(ref, before, after, tagged=tagged)
    assert (found and (found.kind, found.name, found.before, found.after)) == expected


@pytest.mark.parametrize(
    ("prefix", "secret", "matches"),
    [("sha256=", "right", True), ("sha1=", "right", False), ("", "right", False),
     ("sha256=", "wrong", False), ("sha256=", "", False)],
)  # fmt: skip
def test_a_signature_header_names_its_algorithm(prefix, secret, matches):
    proof = hmac.new(b"right", b"body", hashlib.sha256).hexdigest()
    delivery = WebhookDelivery({"x-signature": prefix + proof}, b"body")
    assert signature_header_matches(delivery, "x-signature", (SecretStr(secret),)) is matches
