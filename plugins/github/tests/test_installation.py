"""The sign-in of an app: the JSON web token, the lifetime of tokens, and that no secret is
shown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from deploycore_github.app_auth import AppAuth

from deploycore.errors import AuthenticationFailed, PermissionDenied
from deploycore.models import RepositoryId
from deploycore.testing.faults import Fault, answer, echoing, latency
from deploycore.testing.scenarios import ONE, Access

NOW = 1_700_000_000
SHOP = RepositoryId(owner="ada", slug="shop")
TOKENS = "POST /api/v3/app/installations/5001/access_tokens"


def exchanges(sandbox):
    return [f"{r.method} {r.path}" for r in sandbox.requests].count(TOKENS)


def test_the_app_signature_tolerates_a_small_clock_difference(private_key):
    name, value = AppAuth("1001", private_key, clock=lambda: NOW + 0.9).header()
    assert name == "Authorization"
    scheme, _, signed = value.get_secret_value().partition(" ")
    public = load_pem_private_key(private_key.get_secret_value().encode(), None).public_key()
    unchecked = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(signed, public, algorithms=["RS256"], options=unchecked)
    assert scheme == "Bearer"
    assert claims == {"iat": NOW - 60, "exp": NOW + 540, "iss": "1001"}


def test_no_part_of_the_key_is_shown(private_key):
    auth = AppAuth("1001", private_key)
    assert private_key.get_secret_value().splitlines()[1] not in f"{auth!r} {auth.header()}"


def test_a_token_is_requested_with_read_access_only(sandbox, connect):
    sandbox.arrange(ONE)
    token = connect("app").clone_url(SHOP).credential.password.get_secret_value()
    assert sandbox.credential_of(token).scopes == {"contents=read", "metadata=read"}


def test_git_receives_the_expiry_of_the_token(sandbox, connect):
    sandbox.arrange(ONE)
    expires_at = connect("app").clone_url(SHOP).credential.expires_at
    left = expires_at - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=70)


def test_the_api_and_git_share_one_token(sandbox, connect):
    sandbox.arrange(ONE)
    provider = connect("app")
    assert len(list(provider.list_repos())) == 1
    assert len(list(provider.list_branches(SHOP))) == 1
    first, second = provider.clone_url(SHOP), provider.clone_url(SHOP)
    assert first == second
    assert first.credential.username == "x-access-token"
    assert first.credential.password.get_secret_value().startswith("ghs_")
    assert exchanges(sandbox) == 1


def test_concurrent_threads_share_one_token(sandbox, connect):
    sandbox.arrange(ONE)
    provider = connect("app")
    sandbox.faults.add(Fault(latency(0.05), path="*/access_tokens"))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: provider.clone_url(SHOP), range(16)))
    assert len({each.credential.password.get_secret_value() for each in found}) == 1
    assert exchanges(sandbox) == 1


def test_a_revoked_token_is_replaced_at_once(sandbox, connect):
    sandbox.arrange(ONE)
    provider = connect("app")
    list(provider.list_repos())
    sandbox.revoke_installation_tokens()
    assert len(list(provider.list_repos())) == 1
    assert exchanges(sandbox) == 2


def test_an_obtained_token_is_masked_everywhere(sandbox, connect):
    sandbox.arrange(ONE)
    provider = connect("app")
    token = provider.clone_url(SHOP).credential.password
    assert token in provider.secrets
    sandbox.faults.add(Fault(echoing(403)))
    with pytest.raises(PermissionDenied) as caught:
        list(provider.list_repos())
    assert "********" in str(caught.value)
    assert token.get_secret_value() not in str(caught.value.as_dict())
    assert provider.explain_git_refusal(401, token.get_secret_value())
    assert "Ask an owner of the organization or repository" in caught.value.hint
    sandbox.faults.clear()
    assert list(provider.list_repos())


def test_a_token_request_is_repeated_after_a_brief_host_outage(
    sandbox, connect, open_provider, config
):
    sandbox.arrange(ONE)
    settings = sandbox.settings(sandbox.add_credential("app"))
    provider = open_provider(config("app", **settings), retries=2, backoff_first=0.01)
    sandbox.faults.add(Fault(answer(502, "away"), path="*/access_tokens", times=1))
    assert provider.clone_url(SHOP).credential is not None
    assert exchanges(sandbox) == 2


def test_the_app_may_be_named_by_its_client_id(sandbox, open_provider, config):
    sandbox.arrange(ONE)
    settings = sandbox.settings(sandbox.add_credential("app"))
    provider = open_provider(config("app", **{**settings, "app_id": f"Iv23li{1:014}"}))
    account = provider.authenticate()
    assert account.username == "ada"
    assert {"contents=write", "metadata=read"} < {*account.scopes}


@pytest.mark.parametrize(
    ("field", "value", "said", "hint"),
    [
        ("app_id", "4711", "Integration not found", "Check app_id"),
        ("installation_id", "4711", "has no installation 4711", "installation_id"),
    ],
)
def test_a_wrong_app_number_is_distinguished_from_a_wrong_key(
    sandbox, open_provider, config, field, value, said, hint
):
    sandbox.arrange(ONE)
    settings = sandbox.settings(sandbox.add_credential("app"))
    provider = open_provider(config("app", **{**settings, field: value}))
    for attempt in (provider.authenticate, lambda: list(provider.list_repos())):
        with pytest.raises(AuthenticationFailed, match=said) as caught:
            attempt()
        assert hint in caught.value.hint
    assert open_provider(config("app", **settings)).authenticate()


def test_a_key_of_another_app_is_reported_with_the_message_of_github(connect):
    with pytest.raises(AuthenticationFailed, match="could not be decoded") as caught:
        connect("app", Access.WRONG).authenticate()
    assert "private_key" in caught.value.hint
    assert connect("app").authenticate()
    for mode in ("token", "classic"):
        with pytest.raises(AuthenticationFailed) as caught:
            connect(mode, Access.WRONG).authenticate()
        assert "has not expired or been revoked" in caught.value.hint
        assert connect(mode).authenticate()


@pytest.mark.parametrize(("off", "said"), [(700, "too far in the future"), (-700, "assertion exp")])
def test_a_wrong_clock_is_named_as_the_cause(sandbox, connect, monkeypatch, off, said):
    provider = connect("app")
    original = jwt.encode

    def encode(claims, *arguments, **options):
        moved = {name: value + off if name != "iss" else value for name, value in claims.items()}
        return original(moved, *arguments, **options)

    monkeypatch.setattr(jwt, "encode", encode)
    with pytest.raises(AuthenticationFailed, match=said) as caught:
        provider.authenticate()
    assert "clock" in caught.value.hint


def test_a_suspended_installation_is_reported_as_such(sandbox, connect):
    sandbox.suspended = True
    provider = connect("app")
    for attempt in (provider.authenticate, lambda: list(provider.list_repos())):
        with pytest.raises(PermissionDenied, match="suspended") as caught:
            attempt()
        assert "/settings/installations/5001" in caught.value.hint
    sandbox.suspended = False
    assert provider.authenticate()


def test_an_app_without_the_permission_gets_its_name(sandbox, connect):
    sandbox.arrange(ONE)
    with pytest.raises(PermissionDenied, match="not granted to this installation") as caught:
        connect("app", Access.UNSCOPED).clone_url(SHOP)
    assert "Contents: Read-only" in caught.value.hint
    assert connect("app", Access.LEAST).clone_url(SHOP).credential
