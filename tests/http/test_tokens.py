"""Clients whose tokens are obtained from the host: renewed after a 401, and never quoted."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    UnexpectedAnswer,
)
from deploycore.http import BearerAuth, HttpClient, HttpSettings
from deploycore.http.grants import client_credentials, read_token, refresh_token
from deploycore.tokens import RenewableAuth, Token

CLIENT, CLIENT_SECRET = "client-1", SecretStr("s3cret-of-the-client")


class Issuer:
    """An authorization server and an API in one: numbered tokens, of which the newest is valid."""

    def __init__(self):
        self.issued = 0
        self.forms, self.headers = [], []
        self.answer = None
        self.accepts = True

    def reply(self, handler):
        if handler.path == "/token":
            self.headers.append(dict(handler.headers))
            self.forms.append(parse_qs(handler.body.decode()))
            if self.answer is not None:
                status, body = self.answer
                return handler.send(json.dumps(body).encode(), status)
            self.issued += 1
            body = {"access_token": f"issued-{self.issued}", "expires_in": 3600, "scope": "a b"}
            body["refresh_token"] = f"refresh-{self.issued}"
            return handler.send(json.dumps(body).encode())
        given = handler.headers.get("Authorization")
        if given == f"Bearer issued-{self.issued}" and self.accepts:
            return handler.send(b'{"ok": true}', **{"X-Scopes": "read"})
        return handler.send(json.dumps({"error": f"not valid: {given}"}).encode(), 401)


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def server(serve, issuer):
    return serve(issuer.reply)


@pytest.fixture
def client(server):
    """Makes clients; each is closed in the end."""
    made = []

    def make(auth=None, **options):
        auth = auth or RenewableAuth(client_credentials("token", CLIENT, CLIENT_SECRET))
        settings = HttpSettings(retries=0, read_timeout=5)
        made.append(HttpClient(server.url, auth=auth, settings=settings, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_token_is_obtained_on_the_first_request_and_reused(client, issuer):
    http = client()
    assert [http.get_json("x") for _ in range(3)] == [{"ok": True}] * 3
    assert issuer.issued == 1
    (form,), (headers,) = issuer.forms, issuer.headers
    assert form == {"grant_type": ["client_credentials"]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == f"{CLIENT}:{CLIENT_SECRET.get_secret_value()}"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_after_a_rejected_token_the_request_is_repeated_once_with_a_new_one(
    client, issuer, server, method
):
    http = client()
    http.get_json("x")
    issuer.issued += 1  # what was issued before is not valid any longer
    before = len(server.asked)
    assert http.send_json(method, "x") == {"ok": True}
    asked = [(each[0], each[1]) for each in server.asked[before:]]
    assert asked == [(method, "/x"), ("POST", "/token"), (method, "/x")]


def test_a_host_that_rejects_new_tokens_is_not_retried_forever(client, issuer, server):
    http = client()
    issuer.accepts = False
    for _ in range(5):
        with pytest.raises(AuthenticationFailed) as caught:
            http.get_json("x")
        assert "issued-" not in str(caught.value) + caught.value.hint
    assert issuer.issued == 2


def test_a_request_with_a_fixed_token_is_not_repeated(client, server):
    http = client(BearerAuth(SecretStr("fixed-token")))
    with pytest.raises(AuthenticationFailed):
        http.get_json("x")
    assert len(server.asked) == 1


def test_threads_and_pages_share_one_token(client, issuer):
    http = client()
    other = http.with_headers({"Accept": "text/x"}).repeating("POST").explaining(lambda _: None)
    assert other.get_json("x") == http.get_json("x")
    assert http.token().value == other.token().value == SecretStr("issued-1")
    assert http.token().scopes == ("a", "b")
    assert issuer.issued == 1


def test_a_client_without_tokens_provides_none(client):
    with pytest.raises(ConfigurationError, match="not authorized by a token"):
        client(BearerAuth(SecretStr("x"))).token()
    assert client().token().value  # with a RenewableAuth


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((400, {"error": "invalid_grant"}), "was revoked, or was used already"),
        ((401, {"error": "invalid_client"}), "does not know the client"),
        ((401, {"message": "no"}), "does not know the client"),
    ],
)
def test_a_permanent_error_of_the_authorization_server_is_explained(client, issuer, answer, told):
    issuer.answer = answer
    with pytest.raises(AuthenticationFailed, match=told) as caught:
        client().get_json("x")
    assert CLIENT_SECRET.get_secret_value() not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"access_token": ""}),
        (200, {"access_token": "s3cret-of-nobody\r\nHost: other"}),
        (200, {"access_token": "s3cret-of-nobody-\u00e9"}),
        (200, {"access_token": ["s3cret-of-nobody"]}),
        (200, {"token": "s3cret-of-nobody"}),
        (200, ["s3cret-of-nobody"]),
        (500, {"access_token": "s3cret-of-nobody"}),
        (400, {"error": "s3cret-of-nobody"}),
    ],
)
def test_a_response_without_a_token_is_an_error_that_does_not_quote_it(client, issuer, answer):
    issuer.answer = answer
    with pytest.raises(ProviderError) as caught:
        client().get_json("x")
    shown = f"{caught.value}{caught.value.hint}{caught.value.details}"
    assert CLIENT_SECRET.get_secret_value() not in shown
    if answer[0] == 200:
        assert isinstance(caught.value, UnexpectedAnswer)
        assert "s3cret-of-nobody" not in shown


def test_a_refresh_token_is_replaced_if_the_response_has_a_new_one(client, issuer):
    obtain = refresh_token("token", CLIENT, None)
    http = client(BearerAuth(SecretStr("x")))
    first = Token(value=SecretStr("a"), refresh_token=SecretStr("refresh-0"))
    second = obtain(http, first)
    assert second.refresh_token == SecretStr("refresh-1")
    assert issuer.forms[0]["client_id"] == [CLIENT]
    assert issuer.forms[0]["refresh_token"] == ["refresh-0"]
    issuer.answer = (200, {"access_token": "b"})
    assert obtain(http, second).refresh_token == SecretStr("refresh-1")
    with pytest.raises(AuthenticationFailed) as caught:
        obtain(http, None)
    assert "provider authorize" in caught.value.hint
    assert obtain(http, first).value  # what signing in stores


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("60", 60),
        (1e300, 10 * 365 * 86_400),
        (10**400, None),
        (-5, 0),
        (float("nan"), None),
        (float("inf"), None),
        ("soon", None),
        (True, None),
        ({}, None),
    ],
)
def test_unknown_fields_in_the_token_response_do_not_lose_the_token(given, seconds):
    """The refresh token that it was exchanged for is used up."""
    answer = {"access_token": "a", "expires_in": given, "refresh_token": 5, "scope": ["repo", 7]}
    held = Token(value=SecretStr("x"), refresh_token=SecretStr("r"))
    found, now = read_token(answer, held=held), datetime.now(UTC)
    assert (found.value, found.refresh_token) == (SecretStr("a"), SecretStr("r"))
    assert found.scopes == ("repo",)
    assert (found.expires_at is None) == (seconds is None)
    if seconds is not None:
        left = found.expires_at - now
        assert abs(left - timedelta(seconds=seconds)) < timedelta(minutes=1)


def test_an_invalid_client_error_says_how_to_replace_the_secret(client, issuer):
    """Signing in again with the same secret would not help."""
    issuer.answer = (401, {"error": "invalid_client"})
    obtain = refresh_token("token", CLIENT, CLIENT_SECRET, provider="work")
    held = Token(value=SecretStr("a"), refresh_token=SecretStr("r"))
    with pytest.raises(AuthenticationFailed, match="invalid_client") as caught:
        obtain(client(BearerAuth(SecretStr("x"))), held)
    assert "deploycore provider rotate work" in caught.value.hint


def test_a_token_response_is_parsed(client):
    before = datetime.now(UTC)
    token = read_token({"access_token": "a", "expires_in": 60, "scopes": "repo,user"})
    assert token.scopes == ("repo", "user")
    assert timedelta(0) <= token.expires_at - before - timedelta(seconds=60) < timedelta(minutes=1)
    assert read_token({"access_token": "a"}).expires_at is None


class TestSiblings:
    def test_a_sibling_does_not_inherit_the_authorization(self, client, serve):
        other = serve(lambda handler: handler.send(b"[]"))
        assert client().sibling(other.url).get_json("x") == []
        assert "Authorization" not in other.asked[0][2]

    def test_a_sibling_masks_the_secrets_of_the_first_client(self, client, serve):
        http = client(BearerAuth(SecretStr("hunter2-of-the-first")))
        with pytest.raises(AuthenticationFailed):
            http.get_json("x")
        other = serve(lambda handler: handler.send(b"hunter2-of-the-first"))
        with pytest.raises(UnexpectedAnswer) as caught:
            http.sibling(other.url).get_json("x")
        assert "hunter2" not in str(caught.value)

    def test_a_sibling_is_closed_with_the_first_client(self, client, serve):
        other = serve(lambda handler: handler.send(b"[]"))
        http = client()
        sibling = http.sibling(other.url)
        http.close()
        with pytest.raises(ProviderError, match="was closed"):
            sibling.get_json("x")

    def test_a_token_of_another_server(self, client, serve):
        issuer = Issuer()
        other = serve(issuer.reply)
        obtain = client_credentials("token", CLIENT, CLIENT_SECRET)
        http = client(RenewableAuth(obtain, server=other.url))
        with pytest.raises(AuthenticationFailed):
            http.get_json("x")  # the API knows only tokens of its own
        assert issuer.issued == 2


def test_response_headers_are_readable(client):
    page, headers = client().get_with_headers("x")
    assert page == {"ok": True}
    assert headers["x-scopes"] == "read"


def test_a_time_of_the_host_is_converted_to_the_local_clock(client, serve):
    http = client()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert http.local_time(at) == at
    http._transport.host_clock.offset = 3600.0
    assert http.local_time(at) == at - timedelta(hours=1)
