"""The authorization server of sandboxes, and the clients of the core against it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import requests
from pydantic import SecretStr

from deploycore.credentials.authorize import AuthorizationRequest, redirect_uri
from deploycore.errors import AuthenticationFailed, UnexpectedAnswer
from deploycore.http import HttpClient, HttpSettings
from deploycore.http.decoding import parse_answer
from deploycore.http.device import _DeviceAnswer, request_device_code, wait_for_device
from deploycore.http.grants import client_credentials, exchange_code, refresh_token
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import json_answer
from deploycore.testing.oauth import AuthorizationServer, OAuthRules
from deploycore.tokens import AuthorizationCode, DeviceFlow

HERE = redirect_uri(8912)


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    made = AuthorizationServer(OAuthRules(lifetime=3600, grace=600), clock=clock.now)
    made.account = "ada"
    return made


@pytest.fixture
def url(server):
    routes = server.routes(authorize="/authorize", token="/token", device="/device")
    with LoopbackHost(routes=routes) as host:
        yield host.url
        assert host.crashes == []


@pytest.fixture
def http(url):
    with HttpClient(url, settings=HttpSettings(retries=0)) as client:
        yield client


@pytest.fixture
def client(server):
    return server.add_client(redirect_uri=HERE, account="acme", scopes=["read", "write"])


@pytest.fixture
def flow(url, client):
    return AuthorizationCode(f"{url}/authorize", "token", client.client_id, client.secret, "read")


def browse(request):
    """Open the address, as a browser does; the query of the redirect."""
    found = requests.get(request.address, allow_redirects=False, timeout=10)
    assert found.status_code == 302, found.text
    address, _, query = found.headers["Location"].partition("?")
    assert address == request.redirect_uri
    return query


def signed_in(http, flow):
    request = AuthorizationRequest.new(flow, HERE)
    code = request.read_query(browse(request))
    return exchange_code(http, flow, code, redirect_uri=HERE, verifier=request.verifier)


def test_a_user_signs_in(http, flow, server):
    token = signed_in(http, flow)
    grant = server.granted(token.value.get_secret_value())
    assert (grant.account, grant.scopes, grant.is_own) == ("ada", ("read",), False)
    assert token.scopes == ("read",)
    assert token.expires_at is not None


def test_a_user_can_deny_access(flow, server):
    server.account = None
    request = AuthorizationRequest.new(flow, HERE)
    with pytest.raises(AuthenticationFailed, match="denied"):
        request.read_query(browse(request))


def test_a_code_is_valid_once_and_its_reuse_revokes_the_tokens(http, flow, server):
    request = AuthorizationRequest.new(flow, HERE)
    code = request.read_query(browse(request))
    proof = {"redirect_uri": HERE, "verifier": request.verifier}
    token = exchange_code(http, flow, code, **proof)
    with pytest.raises(AuthenticationFailed, match="invalid_grant"):
        exchange_code(http, flow, code, **proof)
    assert server.granted(token.value.get_secret_value()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"verifier": SecretStr("another-verifier")},
        {"redirect_uri": redirect_uri(8913)},
    ],
)
def test_a_code_without_its_verifier_is_rejected(http, flow, wrong):
    request = AuthorizationRequest.new(flow, HERE)
    code = request.read_query(browse(request))
    proof = {"redirect_uri": HERE, "verifier": request.verifier} | wrong
    with pytest.raises(AuthenticationFailed, match="invalid_grant") as caught:
        exchange_code(http, flow, code, **proof)
    shown = str(caught.value) + caught.value.hint
    assert code.get_secret_value() not in shown


def test_a_code_expires(http, flow, clock):
    request = AuthorizationRequest.new(flow, HERE)
    code = request.read_query(browse(request))
    clock.sleep(61)
    with pytest.raises(AuthenticationFailed, match="invalid_grant"):
        exchange_code(http, flow, code, redirect_uri=HERE, verifier=request.verifier)


def test_an_unknown_redirect_address_gets_no_code(flow, server):
    elsewhere = AuthorizationRequest.new(flow, "http://192.0.2.1:8912/callback")
    found = requests.get(elsewhere.address, allow_redirects=False, timeout=10)
    assert found.status_code == 400
    server.rules = replace(server.rules, ports_matter=True)
    other_port = AuthorizationRequest.new(flow, redirect_uri(1))
    assert requests.get(other_port.address, allow_redirects=False, timeout=10).status_code == 400


def test_a_request_without_a_challenge_gets_no_code(url, client):
    fields = {"client_id": client.client_id, "redirect_uri": HERE, "response_type": "code"}
    found = requests.get(f"{url}/authorize", params=fields, allow_redirects=False, timeout=10)
    assert found.headers["Location"] == f"{HERE}?error=invalid_request"


def refresh(http, flow, held):
    return refresh_token("token", flow.client_id, flow.client_secret, provider="work")(http, held)


def test_refresh_tokens_rotate_and_a_used_one_has_a_grace_period(http, flow, server, clock):
    first = signed_in(http, flow)
    second = refresh(http, flow, first)
    assert second.refresh_token != first.refresh_token
    clock.sleep(599)
    third = refresh(http, flow, first)  # as after a crash that lost the answer
    assert server.granted(third.value.get_secret_value()) is not None


def test_reusing_a_refresh_token_revokes_the_whole_grant(http, flow, server, clock):
    first = signed_in(http, flow)
    second = refresh(http, flow, first)
    clock.sleep(600)
    with pytest.raises(AuthenticationFailed) as caught:
        refresh(http, flow, first)
    assert "deploycore provider authorize work" in caught.value.hint
    assert server.granted(second.value.get_secret_value()) is None
    with pytest.raises(AuthenticationFailed):
        refresh(http, flow, second)


def test_access_tokens_expire(http, flow, server, clock):
    token = signed_in(http, flow)
    clock.sleep(3599)
    assert server.granted(token.value.get_secret_value()) is not None
    clock.sleep(1)
    assert server.granted(token.value.get_secret_value()) is None
    renewed = refresh(http, flow, token)
    assert server.granted(renewed.value.get_secret_value()) is not None


def test_a_client_obtains_its_own_token(http, client, server):
    token = client_credentials("token", client.client_id, client.secret)(http, None)
    grant = server.granted(token.value.get_secret_value())
    assert (grant.account, grant.is_own) == ("acme", True)
    assert token.refresh_token is None


def test_a_client_with_a_wrong_secret_gets_the_field_to_replace(http, client):
    wrong = SecretStr("not-the-secret-of-the-client")
    with pytest.raises(AuthenticationFailed, match="invalid_client") as caught:
        client_credentials("token", client.client_id, wrong, provider="work")(http, None)
    assert "deploycore provider rotate work" in caught.value.hint
    with pytest.raises(AuthenticationFailed, match="invalid_scope"):
        client_credentials("token", client.client_id, client.secret, scope="admin")(http, None)


@pytest.mark.parametrize("status_200", [False, True])
def test_an_expired_grant_names_the_command_for_any_status(http, flow, server, status_200):
    server.rules = replace(server.rules, errors_have_status_200=status_200)
    token = signed_in(http, flow)
    server.revoke_all()
    with pytest.raises(AuthenticationFailed, match="invalid_grant") as caught:
        refresh(http, flow, token)
    assert caught.value.hint == "Sign in: deploycore provider authorize work"


@pytest.mark.parametrize("held", [None, "without"])
def test_without_a_refresh_token_the_user_must_sign_in_again(http, flow, held):
    token = (
        None if held is None else signed_in(http, flow).model_copy(update={"refresh_token": None})
    )
    with pytest.raises(AuthenticationFailed) as caught:
        refresh(http, flow, token)
    assert caught.value.hint == "Sign in: deploycore provider authorize work"
    assert refresh(http, flow, signed_in(http, flow)).value


# The device flow.


@pytest.fixture
def device(server):
    public = server.add_client(is_public=True, scopes=["read"])
    return DeviceFlow("device", "token", public.client_id, "read")


@pytest.fixture(params=[False, True], ids=["status 400", "status 200"])
def either_status(server, request):
    server.rules = replace(server.rules, errors_have_status_200=request.param)


def wait(http, device, code, clock, then=None, seconds=900):
    """Wait for the device; ``then`` happens after the third poll."""
    polls = []

    def sleep(passed):
        polls.append(passed)
        clock.sleep(passed)
        if len(polls) == 3 and then is not None:
            then()

    token = wait_for_device(http, device, code, seconds=seconds, sleep=sleep, now=clock.now)
    return token, polls


def test_a_device_polls_until_the_code_is_entered(http, device, server, clock, either_status):
    code = request_device_code(http, device)
    assert server.user_codes == [code.user_code]
    assert code.verification_uri.endswith("/login/device")
    token, polls = wait(http, device, code, clock, lambda: server.enter(code.user_code, "ada"))
    assert server.granted(token.value.get_secret_value()).account == "ada"
    assert polls == [5.0, 5.0, 5.0]


def test_a_device_that_polls_too_fast_slows_down(http, device, server, clock, either_status):
    code = replace(request_device_code(http, device), interval=2.0)
    _, polls = wait(http, device, code, clock, lambda: server.enter(code.user_code, "ada"))
    assert polls[0] == 2.0
    assert polls[2] == 7.0  # by five seconds, after the second poll


def test_a_device_is_notified_of_a_denial(http, device, server, clock, either_status):
    code = request_device_code(http, device)
    with pytest.raises(AuthenticationFailed, match="was denied"):
        wait(http, device, code, clock, lambda: server.enter(code.user_code, None))
    again = request_device_code(http, device)
    assert wait(http, device, again, clock, lambda: server.enter(again.user_code, "ada"))[0].value


@pytest.mark.parametrize("seconds", [60, 10_000])
def test_a_code_that_nobody_enters_ends_the_wait(http, device, clock, seconds, server):
    code = request_device_code(http, device)
    started = clock.now()
    with pytest.raises(AuthenticationFailed, match="not entered in time"):
        wait(http, device, code, clock, seconds=seconds)
    assert clock.now() - started <= min(seconds, 900)
    again = request_device_code(http, device)
    assert wait(http, device, again, clock, lambda: server.enter(again.user_code, "ada"))[0].value


def test_a_code_expired_by_the_host_ends_the_wait(http, device, clock, either_status, server):
    code = replace(request_device_code(http, device), expires_in=10_000)
    with pytest.raises(AuthenticationFailed, match="not entered in time"):
        wait(http, device, code, clock, seconds=10_000)
    again = request_device_code(http, device)
    assert wait(http, device, again, clock, lambda: server.enter(again.user_code, "ada"))[0].value


def test_a_device_code_without_a_verification_address_is_an_error(device):
    answer = {"device_code": "d", "user_code": "u", "expires_in": 900, "interval": 0}
    found = dict(answer)
    routes = {"POST /device": lambda request: json_answer(found)}
    with LoopbackHost(routes=routes) as host, HttpClient(host.url) as http:
        with pytest.raises(UnexpectedAnswer, match="no address to enter it at"):
            request_device_code(http, device)
        found["verification_uri"] = "https://host.example/device"
        assert request_device_code(http, device).interval > 0  # else the host would be flooded


@pytest.mark.parametrize("name", ["expires_in", "interval"])
def test_an_unlimited_code_lifetime_is_an_error(name):
    given = {"device_code": "d", "user_code": "u", "expires_in": 900} | {name: json.loads("1e400")}
    with pytest.raises(UnexpectedAnswer):
        parse_answer(_DeviceAnswer, given, what="a device code")


def test_an_unknown_client_gets_no_code(http, device):
    with pytest.raises(AuthenticationFailed, match="invalid_client"):
        request_device_code(http, replace(device, client_id="unknown"))


def test_secrets_of_the_server_are_masked_in_its_log(http, flow, server, client):
    token = signed_in(http, flow)
    known = {each.get_secret_value() for each in server.secrets}
    shown = {token.value, token.refresh_token, client.secret}
    assert {each.get_secret_value() for each in shown} <= known
