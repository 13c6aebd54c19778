"""Known secrets are masked in every form in which they travel."""

from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from deploycore.redaction import MASK, Redactor, secrets_in

secrets = st.text(min_size=6, max_size=60).filter(lambda text: text.strip())


@given(secret=secrets, before=st.text(max_size=5), after=st.text(max_size=5))
def test_plain_and_percent_encoded_forms_are_masked(secret, before, after):
    redactor = Redactor([SecretStr(secret)])
    for form in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]):
        assert form not in redactor.mask(f"{before} {form} {after}").replace(MASK, "")


@given(secret=st.text(min_size=8, max_size=60), user=st.text(max_size=9))
def test_basic_authorisation_headers_are_masked(secret, user):
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    masked = Redactor([SecretStr(secret)]).mask(f"Authorization: Basic {encoded}")
    assert MASK in masked
    tail = base64.b64encode(secret.encode()).decode().rstrip("=")
    assert tail not in masked


def test_the_longest_form_wins():
    redactor = Redactor([SecretStr("token"), SecretStr("token-and-more")])
    assert redactor.mask("x token-and-more y token z") == f"x {MASK} y {MASK} z"


def test_very_short_values_are_left_alone():
    assert Redactor([SecretStr("a")]).mask("banana") == "banana"


def test_no_secrets_change_nothing():
    assert Redactor().mask("text") == "text"


def test_secrets_are_found_in_nested_models():
    class Inner(BaseModel):
        token: SecretStr

    class Outer(BaseModel):
        name: str
        empty: SecretStr
        inner: Inner

    outer = Outer(name="n", empty=SecretStr(""), inner=Inner(token=SecretStr("deep")))
    assert [found.get_secret_value() for found in secrets_in(outer)] == ["deep"]


def test_a_redactor_shows_nothing():
    assert "secret" not in repr(Redactor([SecretStr("secret-value")]))
