"""People who sign in to GitHub with the device flow, against the sandbox's server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deploycore_github.sandbox import GitHubSandbox

from deploycore.errors import AuthenticationFailed
from deploycore.models import RepositoryId
from tests.sign_in import SignedIn

SHOP = RepositoryId(owner=GitHubSandbox.OWNER, slug="shop")


@pytest.fixture
def sandbox():
    with GitHubSandbox() as made:
        made.oauth.rules = replace(made.oauth.rules, interval=0)
        made.publish(made.OWNER, "shop", "main", {"README.md": b"# Shop\n"}, "Start")
        yield made


@pytest.fixture
def enter(sandbox):
    return lambda code: sandbox.oauth.enter(code, sandbox.OWNER)


@pytest.fixture
def signed_in():
    with SignedIn("github") as opened:
        yield opened


def test_a_user_enters_the_code_and_the_token_is_renewed(sandbox, signed_in, enter):
    provider = signed_in(sandbox.add_sign_in(), enter)
    assert provider.authenticate().username == sandbox.OWNER
    assert provider.clone_url(SHOP).credential.expires_at is not None
    sandbox.oauth.expire_all()
    assert "shop" in [each.slug for each in provider.list_repos()]
    assert sandbox.oauth.issued == 2


def test_the_expiry_of_a_renewable_token_causes_no_warning(sandbox, signed_in, enter, monkeypatch):
    headers = sandbox._headers

    def telling(request):
        told = "2026-01-01 00:00:00 UTC"
        return {**headers(request), "GitHub-Authentication-Token-Expiration": told}

    provider = signed_in(sandbox.add_sign_in(), enter)
    monkeypatch.setattr(sandbox, "_headers", telling)
    assert provider.authenticate().expires_at is None


def test_a_token_without_an_expiry_is_used_until_it_is_revoked(sandbox, signed_in, enter):
    sandbox.oauth.rules = replace(sandbox.oauth.rules, lifetime=None, refreshes=False)
    provider = signed_in(sandbox.add_sign_in(), enter)
    assert provider.authenticate().username == sandbox.OWNER
    assert provider.clone_url(SHOP).credential.expires_at is None
    sandbox.oauth.revoke_all()
    with pytest.raises(AuthenticationFailed, match="cannot be renewed") as caught:
        provider.authenticate()
    assert caught.value.hint == "Sign in: deploycore provider authorize work"


def test_a_revoked_grant_names_the_command(sandbox, signed_in, enter):
    provider = signed_in(sandbox.add_sign_in(), enter)
    provider.authenticate()
    sandbox.oauth.revoke_all()
    with pytest.raises(AuthenticationFailed) as caught:
        provider.authenticate()
    assert "deploycore provider authorize work" in caught.value.hint


def test_a_denied_authorization_is_reported(sandbox, signed_in):
    with pytest.raises(AuthenticationFailed, match="was denied"):
        signed_in(sandbox.add_sign_in(), lambda code: sandbox.oauth.enter(code, None))
