"""What proves that a git host sent a delivery."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploycore.events import hmac_sha256_matches

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


def test_the_known_answer_is_right():
    assert hmac_sha256_matches(BODY, KNOWN, (SECRET,))


def test_each_of_several_secrets_is_right_while_one_replaces_the_other():
    assert hmac_sha256_matches(BODY, KNOWN, (SECRET, OTHER))
    assert hmac_sha256_matches(BODY, KNOWN, (OTHER, SECRET))
    assert not hmac_sha256_matches(BODY, KNOWN, (OTHER,))
    assert not hmac_sha256_matches(BODY, KNOWN, ())


def test_an_empty_secret_is_never_right():
    forged = signature(BODY, NOTHING)
    assert not hmac_sha256_matches(BODY, forged, (NOTHING,))
    assert not hmac_sha256_matches(BODY, forged, (SECRET, NOTHING))


@given(
    given=st.text(st.characters(exclude_categories=())) | st.from_regex(r"[0-9a-f]{64}\Z"),
    body=bodies,
    secret=keys,
)
def test_no_made_up_signature_is_right(given, body, secret):
    right = signature(body, secret)
    assert hmac_sha256_matches(body, given, (secret,)) == (given.strip().lower() == right)
    assert hmac_sha256_matches(body, right, (secret,))


@given(body=bodies, secret=keys, data=st.data())
def test_what_has_one_bit_changed_was_not_signed(body, secret, data):
    right = signature(body, secret)
    if body:
        place = data.draw(st.integers(0, len(body) * 8 - 1))
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert not hmac_sha256_matches(bytes(changed), right, (secret,))
    place = data.draw(st.integers(0, 63))
    other = f"{int(right[place], 16) ^ 1:x}"
    assert not hmac_sha256_matches(body, f"{right[:place]}{other}{right[place + 1 :]}", (secret,))
