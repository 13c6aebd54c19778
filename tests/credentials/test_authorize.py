"""A person's authorization request: its address, and the responses that are accepted."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from pydantic import SecretStr

from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri
from deploycore.credentials.loopback import RedirectListener
from deploycore.errors import AuthenticationFailed, ConfigurationError
from deploycore.tokens import AuthorizationCode

FLOW = AuthorizationCode(
    authorize_url="https://git.example.com/authorize",
    token_path="token",
    client_id="client-1",
    client_secret=SecretStr("s3cret-of-the-client"),
    scope="read write",
)
HERE = redirect_uri(8912)


@pytest.fixture
def request_():
    return AuthorizationRequest.new(FLOW, HERE)


def test_the_authorization_url_contains_no_secrets(request_):
    address, _, query = request_.address.partition("?")
    fields = {name: value for name, (value,) in parse_qs(query).items()}
    assert address == FLOW.authorize_url
    digest = hashlib.sha256(request_.verifier.get_secret_value().encode()).digest()
    assert fields == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": HERE,
        "scope": "read write",
        "state": request_.state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    shown = request_.address + repr(request_)
    assert request_.verifier.get_secret_value() not in shown
    assert "s3cret" not in shown
    assert len(request_.verifier.get_secret_value()) >= 43  # RFC 7636, 4.1


def test_each_request_has_its_own_state_and_verifier():
    made = [AuthorizationRequest.new(FLOW, HERE) for _ in range(20)]
    assert len({each.state for each in made} | {str(each.verifier) for each in made}) == 21
    assert len({each.verifier.get_secret_value() for each in made}) == 20


def answer(request, **changes):
    fields = {"state": request.state, "code": "code-1"} | changes
    return urlencode({name: value for name, value in fields.items() if value is not None})


def test_the_code_of_a_valid_response_is_read(request_):
    assert request_.read_query(answer(request_)).get_secret_value() == "code-1"
    pasted = f"  {HERE}?{answer(request_)}\n"
    assert request_.read_pasted(pasted).get_secret_value() == "code-1"
    assert request_.read_pasted(" code-2\n").get_secret_value() == "code-2"


@pytest.mark.parametrize("state", ["wrong", "", None, "größe"])
def test_a_response_with_another_state_is_rejected(request_, state):
    query = answer(request_, state=state)
    assert not request_.belongs(query)
    for read, text in ((request_.read_query, query), (request_.read_pasted, f"{HERE}?{query}")):
        with pytest.raises(AuthenticationFailed, match="does not belong to this sign-in") as caught:
            read(text)
        assert "code-1" not in str(caught.value) + caught.value.hint
    again = AuthorizationRequest.new(FLOW, HERE)
    assert again.read_pasted(f"{HERE}?{answer(again)}") == SecretStr("code-1")


def test_a_reused_state_is_rejected(request_):
    assert not request_.belongs(f"{answer(request_)}&state={request_.state}")
    with pytest.raises(AuthenticationFailed, match="has no code"):
        request_.read_query(f"{answer(request_)}&code=other")
    again = AuthorizationRequest.new(FLOW, HERE)
    assert again.read_pasted(f"{HERE}?{answer(again)}") == SecretStr("code-1")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("access_denied", r"was denied \(access_denied\)"),
        ("server_error", r"could not complete the sign-in \(server_error\)"),
        ("<b>odd</b>", r"refused the sign-in \(unknown\)"),
    ],
)
def test_a_denial_is_reported_with_its_code(request_, code, said):
    with pytest.raises(AuthenticationFailed, match=said):
        request_.read_query(answer(request_, code=None, error=code))
    again = AuthorizationRequest.new(FLOW, HERE)
    assert again.read_pasted(f"{HERE}?{answer(again)}") == SecretStr("code-1")


@pytest.mark.parametrize("text", ["", "two words", "x" * 5000, "http://[/?code=x"])
def test_input_that_is_neither_an_address_nor_a_code_is_rejected(request_, text):
    with pytest.raises(AuthenticationFailed):
        request_.read_pasted(text)
    again = AuthorizationRequest.new(FLOW, HERE)
    assert again.read_pasted(f"{HERE}?{answer(again)}") == SecretStr("code-1")


# The listener.


@pytest.fixture
def listener():
    with RedirectListener() as listening:
        yield listening


@pytest.fixture
def waiting(listener, request_):
    """A thread that waits for the answer to a request; gives what it has got."""
    got = []
    thread = threading.Thread(target=lambda: got.append(listener.wait(request_.belongs, 30)))
    thread.start()
    while not listener._belongs(answer(request_)):
        pass
    yield got, thread
    thread.join(30)


def test_only_one_response_is_accepted(listener, request_, waiting, capfd):
    got, thread = waiting
    root = listener.redirect_uri.removesuffix("/callback")
    port = urlsplit(root).port
    assert urlsplit(root).hostname == "127.0.0.1"

    def get(path, **options):
        return requests.get(f"{root}{path}", timeout=10, **options)

    assert get("/favicon.ico").status_code == 404
    assert get(f"/other?{answer(request_)}").status_code == 404
    assert get(f"/callback?{answer(request_)}", headers={"Host": "evil.test"}).status_code == 404
    assert get(f"/callback?{answer(request_, state='wrong')}").status_code == 400
    assert requests.post(f"{root}/callback?{answer(request_)}", timeout=10).status_code == 501
    assert not got

    found = get(f"/callback?{answer(request_)}")
    thread.join(30)
    assert found.status_code == 200
    assert "You can close this page" in found.text
    assert "code-1" not in found.text
    assert found.headers["Cache-Control"] == "no-store"
    assert got == [answer(request_)]
    assert get(f"/callback?{answer(request_)}").status_code == 400
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.1", port)) == 0


def test_a_silent_connection_blocks_nobody(listener, request_, waiting):
    got, thread = waiting
    port = urlsplit(listener.redirect_uri).port
    with socket.create_connection(("127.0.0.1", port)):
        requests.get(f"{listener.redirect_uri}?{answer(request_)}", timeout=10)
        thread.join(30)
    assert got == [answer(request_)]


def test_without_a_response_the_wait_times_out(listener, request_):
    assert listener.wait(request_.belongs, 0.01) is None


def test_a_port_in_use_suggests_other_ways(listener):
    port = urlsplit(listener.redirect_uri).port
    with pytest.raises(ConfigurationError, match=f"listen on port {port}") as caught:
        RedirectListener(port)
    assert "--port" in caught.value.hint
    assert "--no-browser" in caught.value.hint
    with RedirectListener() as other:
        assert urlsplit(other.redirect_uri).port != port
