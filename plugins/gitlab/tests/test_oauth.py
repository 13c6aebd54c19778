"""People who sign in to GitLab: the configuration, and the sandbox's authorization server."""

from __future__ import annotations

import re

import pytest
from deploycore.configuration import config_fields, parse_config
from deploycore.errors import AuthenticationFailed, ConfigurationError, PermissionDenied
from deploycore.models import RepositoryId
from pydantic import SecretStr
from tests.sign_in import SignedIn

from deploycore_gitlab import GitLabProvider
from deploycore_gitlab.sandbox import GitLabSandbox

SHOP = RepositoryId(owner="acme/platform", slug="shop")


@pytest.fixture
def sandbox():
    with GitLabSandbox() as made:
        made.oauth.account = made.USER
        made.publish("acme/platform", "shop", "main", {"README.md": b"# Shop\n"}, "Start")
        yield made


@pytest.fixture
def signed_in(sandbox):
    with SignedIn("gitlab") as opened:
        yield opened


@pytest.mark.parametrize("is_public", [False, True])
def test_a_user_signs_in_and_the_token_is_renewed(sandbox, signed_in, is_public):
    provider = signed_in(sandbox.add_sign_in(is_public=is_public))
    assert provider.authenticate().username == sandbox.USER
    assert {"read_api", "read_repository"} == set(provider.authenticate().scopes)
    credential = provider.clone_url(SHOP).credential
    assert credential.username == "oauth2"
    assert credential.expires_at is not None
    sandbox.oauth.expire_all()
    assert [each.slug for each in provider.list_repos()] == ["shop"]
    assert sandbox.oauth.issued == 2
    assert provider.clone_url(SHOP).credential.password != credential.password


def test_a_revoked_grant_names_the_command(sandbox, signed_in):
    provider = signed_in(sandbox.add_sign_in())
    provider.authenticate()
    sandbox.oauth.revoke_all()
    with pytest.raises(AuthenticationFailed) as caught:
        provider.authenticate()
    assert "deploycore provider authorize work" in caught.value.hint


def test_a_missing_scope_names_the_field_and_the_command(sandbox, signed_in):
    provider = signed_in(sandbox.add_sign_in())
    with pytest.raises(PermissionDenied) as caught:
        provider.register_webhook(SHOP, "https://deploy.example.com/hook", SecretStr("s" * 20))
    command = re.search(r"edit work --oauth-scopes '([^']+)'", caught.value.hint)
    assert "deploycore provider authorize work" in caught.value.hint
    wider = signed_in({**sandbox.add_sign_in(), "oauth_scopes": command[1]})
    assert wider.register_webhook(SHOP, "https://deploy.example.com/hook", SecretStr("s" * 20))


def test_the_client_secret_is_optional_and_stored_as_a_secret():
    field = next(
        each for each in config_fields(GitLabProvider.Config) if each.name == "client_secret"
    )
    assert field.secret
    assert not field.required
    values = {"name": "work", "mode": "oauth", "client_id": "app"}
    assert parse_config(GitLabProvider.Config, values, kind="gitlab").sign_in.client_secret is None
    with pytest.raises(ConfigurationError) as caught:
        wrong = {**values, "client_secret": SecretStr("two words")}
        parse_config(GitLabProvider.Config, wrong, kind="gitlab")
    assert "two words" not in str(caught.value)
