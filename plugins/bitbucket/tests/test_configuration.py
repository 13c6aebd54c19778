"""Each mode requires its own values, and reports invalid ones before the first request."""

from __future__ import annotations

import base64
import itertools

import pytest
from deploycore_bitbucket import BitbucketProvider
from pydantic import SecretStr

from deploycore.configuration import config_fields, parse_config
from deploycore.errors import ConfigurationError

LOOSE_SECRET = "wholly-unprefixed-secret-value"


def refusal(config, mode, /, **changes):
    with pytest.raises(ConfigurationError) as caught:
        config(mode, **changes)
    return caught.value.message


def header_of(configuration):
    name, value = configuration.api_auth.header()
    return name, value.get_secret_value()


def test_app_password_mode_uses_username_and_app_password_for_rest_and_git(config, secrets):
    made = config("app-password")
    basic = base64.b64encode(f"dana:{secrets['app-password']}".encode()).decode()
    assert header_of(made) == ("Authorization", f"Basic {basic}")
    assert made.git_credential.username == "dana"
    assert made.git_credential.password.get_secret_value() == secrets["app-password"]


def test_api_token_mode_uses_the_email_for_rest_and_a_fixed_user_for_git(config, secrets):
    made = config("api-token")
    basic = base64.b64encode(f"dana@example.com:{secrets['api-token']}".encode()).decode()
    assert header_of(made) == ("Authorization", f"Basic {basic}")
    assert made.git_credential.username == "x-bitbucket-api-token-auth"
    assert made.git_credential.password.get_secret_value() == secrets["api-token"]


def test_access_token_mode_uses_a_bearer_for_rest_and_a_fixed_user_for_git(config, secrets):
    made = config("access-token")
    assert header_of(made) == ("Authorization", f"Bearer {secrets['access-token']}")
    assert made.git_credential.username == "x-token-auth"
    assert made.git_credential.password.get_secret_value() == secrets["access-token"]


def test_workspace_defaults_to_the_username_in_app_password_mode(config):
    assert config("app-password", workspace=None).default_workspace == "dana"
    assert config("app-password").default_workspace == "acme"


@pytest.mark.parametrize("mode", ["api-token", "access-token"])
def test_workspace_is_required_if_there_is_no_username(values, mode):
    given = values(mode)
    del given["workspace"]
    with pytest.raises(ConfigurationError, match="workspace: is missing"):
        parse_config(BitbucketProvider.Config, given, kind="bitbucket")


def test_fields_of_different_modes_cannot_be_mixed(config):
    assert "email: is not known here" in refusal(config, "access-token", email="dana@example.com")
    assert "username: is not known here" in refusal(config, "api-token", username="dana")


def test_the_error_for_an_unknown_mode_lists_the_modes(config, values):
    message = refusal(config, "api-token", mode="oauth")
    assert all(known in message for known in ("app-password", "api-token", "access-token"))


def test_white_space_around_values_is_removed(config, mode, secrets, secret_field):
    made = config(mode, **{secret_field: SecretStr(f"  {secrets[mode]}\n"), "workspace": " acme\n"})
    assert made.git_credential.password.get_secret_value() == secrets[mode]
    assert made.default_workspace == "acme"


def test_secrets_without_a_known_prefix_are_accepted(config, mode, secret_field):
    made = config(mode, **{secret_field: SecretStr(LOOSE_SECRET)})
    assert made.git_credential.password.get_secret_value() == LOOSE_SECRET


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("two words", "white space or control characters"),
        ("line\nbreak", "white space or control characters"),
        ("bell\x07", "white space or control characters"),
        ("nicht-breaking\u00a0space", "white space or control characters"),
    ],
)
def test_an_impossible_secret_is_rejected(config, mode, bad, why, secret_field):
    message = refusal(config, mode, **{secret_field: SecretStr(bad)})
    assert f"{secret_field}: it " in message
    assert why in message


@pytest.mark.parametrize("given", ["app-password", "api-token", "access-token"])
def test_a_secret_of_another_mode_is_refused(config, mode, secrets, given, secret_field):
    changes = {secret_field: SecretStr(secrets[given])}
    if given == mode:
        assert config(mode, **changes).mode == mode
    else:
        message = refusal(config, mode, **changes)
        assert f"belongs to mode {given}" in message
        assert secrets[given] not in message


def test_an_email_address_is_not_accepted_as_username(config):
    message = refusal(config, "app-password", username="dana@example.com")
    assert "Bitbucket username" in message
    assert "mode api-token" in message


@pytest.mark.parametrize("email", ["dana", "@example.com", "dana@", "a@b@c"])
def test_a_username_is_not_accepted_as_email_address(config, email):
    assert "email address of the Atlassian account" in refusal(config, "api-token", email=email)


@pytest.mark.parametrize("name", ["", "  ", "da na", "da:na", "da\x00na"])
def test_names_that_are_invalid_in_basic_authentication_are_rejected(config, name):
    assert "username: it " in refusal(config, "app-password", username=name)


@pytest.mark.parametrize(
    "workspace",
    ["Acme Corporation", "https://bitbucket.org/acme", "acme/shop", "", "..", "a?b", "a#b", "{x}"],
)
def test_a_display_name_or_address_is_not_accepted_as_workspace(config, mode, workspace):
    message = refusal(config, mode, workspace=workspace)
    assert "workspace: this is not a workspace slug" in message
    assert "bitbucket.org/<workspace>" in message


@pytest.mark.parametrize("workspace", ["acme", "acme-2", "a_b.c", "{1f3a-00}"])
def test_slugs_and_uuids_are_accepted_as_workspaces(config, workspace):
    assert config("api-token", workspace=workspace).default_workspace == workspace


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/2.0",
        "http://localhost:8080",
        "http://[::1]:9/2.0",
        "https://bitbucket.example.com/2.0",
    ],
)
def test_https_and_loopback_addresses_are_accepted(config, url):
    assert config(api_url=f"{url}/").api_base_url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.bitbucket.org/2.0", "use https"),
        ("http://127.0.0.1.example.com", "use https"),
        ("ftp://api.bitbucket.org", "not an absolute https URL"),
        ("api.bitbucket.org", "not an absolute https URL"),
        ("https://", "not an absolute https URL"),
        ("https://[", "not an absolute https URL"),
        ("https://dana:hunter2hunter2", "not an absolute https URL"),
        ("https://dana:hunter2hunter2@api.bitbucket.org", "must not have user information"),
        ("https://api.bitbucket.org?x=1", "must not have user information"),
        ("https://api.bitbucket.org/a b", "white space"),
    ],
    ids=itertools.count(),
)
def test_other_addresses_are_refused(config, url, why):
    for field in ("api_url", "git_url"):
        message = refusal(config, "api-token", **{field: url})
        assert f"{field}: " in message
        assert why in message
        assert "hunter2" not in message


@pytest.mark.parametrize("count", [-1, 17, "many"])
def test_the_number_of_pages_fetched_at_once_is_limited(config, count):
    assert "prefetch_pages: " in refusal(config, "api-token", prefetch_pages=count)


def test_no_message_or_repr_contains_a_secret(config, mode, secrets, secret_field):
    spoilt = SecretStr(f"{secrets[mode]} \x07 tail")
    assert secrets[mode] not in refusal(config, mode, **{secret_field: spoilt}, workspace="A B")
    assert secrets[mode] not in repr(config(mode))
    assert secrets[mode] not in config(mode).model_dump_json()


def test_every_value_can_be_prompted_for():
    fields = {field.name: field for field in config_fields(BitbucketProvider.Config)}
    assert fields["mode"].choices == (
        "api-token",
        "access-token",
        "oauth-client",
        "oauth-user",
        "app-password",
        "deploy-key",
    )
    secrets = {name for name, field in fields.items() if field.secret}
    assert secrets == {"app_password", "token", "client_secret"}
    assert fields["email"].only_for == ("api-token",)
    assert all(field.description for field in fields.values())
