"""Configurations of three modes, and values that are rejected before the first request."""

from __future__ import annotations

import pytest
from deploycore.configuration import config_fields, parse_config
from deploycore.errors import ConfigurationError
from pydantic import SecretStr

from deploycore_gitlab import GitLabProvider

ACCESS = "glpat-" + "Zx9" * 7
DEPLOY = "gldt-" + "Yw8" * 7

VALUES = {
    "access-token": {"token": ACCESS},
    "oauth-token": {"token": "5f" * 32},
    "deploy-token": {
        "token": ACCESS,
        "deploy_token_username": "gitlab+deploy-token-1",
        "deploy_token": DEPLOY,
    },
}


def config(mode="access-token", **changes):
    values = {"name": "work", "mode": mode, **VALUES[mode], **changes}
    secret = {
        name: SecretStr(value) if name in ("token", "deploy_token") else value
        for name, value in values.items()
    }
    return parse_config(GitLabProvider.Config, secret, kind="gitlab")


def revealed(secret):
    return secret.get_secret_value()


@pytest.mark.parametrize(
    ("mode", "header", "value"),
    [
        ("access-token", "PRIVATE-TOKEN", ACCESS),
        ("oauth-token", "Authorization", "Bearer " + "5f" * 32),
        ("deploy-token", "PRIVATE-TOKEN", ACCESS),
    ],
    ids=VALUES,
)
def test_each_mode_uses_its_own_authorization_header(mode, header, value):
    name, shown = config(mode).api_auth.header()
    assert (name, revealed(shown)) == (header, value)


@pytest.mark.parametrize(
    ("mode", "username", "password"),
    [
        ("access-token", "oauth2", ACCESS),
        ("oauth-token", "oauth2", "5f" * 32),
        ("deploy-token", "gitlab+deploy-token-1", DEPLOY),
    ],
    ids=VALUES,
)
def test_each_mode_has_a_git_credential(mode, username, password):
    credential = config(mode).git_credential
    assert (credential.username, revealed(credential.password)) == (username, password)


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://gitlab.com", "https://gitlab.com/api/v4"),
        ("https://gitlab.com/", "https://gitlab.com/api/v4"),
        ("https://example.com/gitlab/", "https://example.com/gitlab/api/v4"),
        ("https://example.com:8443", "https://example.com:8443/api/v4"),
    ],
)
def test_gitlab_can_be_at_any_address_and_below_a_path(url, api):
    assert config(url=url).api_base_url == api


def test_gitlab_com_and_all_member_projects_are_the_defaults():
    made = config()
    assert (made.api_base_url, made.namespace) == ("https://gitlab.com/api/v4", None)


@pytest.mark.parametrize("url", ["https://gitlab.com/api/v4", "https://gitlab.com/api/v4/"])
def test_the_api_address_is_not_accepted_as_the_gitlab_address(url):
    with pytest.raises(ConfigurationError, match="url: use the address without /api/v4"):
        config(url=url)


@pytest.mark.parametrize("url", ["gitlab.com", "http://gitlab.com", "https://ada@gitlab.com"])
def test_an_unusable_address_is_rejected(url):
    with pytest.raises(ConfigurationError, match="url: "):
        config(url=url)


@pytest.mark.parametrize(
    ("given", "path"),
    [("acme", "acme"), ("/acme/platform/", "acme/platform"), ("ada.lovelace-2", "ada.lovelace-2")],
)
def test_surrounding_slashes_of_a_namespace_are_removed(given, path):
    assert config(namespace=given).namespace == path


@pytest.mark.parametrize(
    "given",
    ["", "/", "Acme Corporation", "https://gitlab.com/acme", "acme//platform", "acme/..", "a?b"],
)
def test_an_invalid_group_path_is_rejected(given):
    with pytest.raises(ConfigurationError, match="namespace: this is not the path"):
        config(namespace=given)


@pytest.mark.parametrize(
    ("mode", "field", "prefix", "said"),
    [
        ("access-token", "token", "gldt-", "not for its API: use mode deploy-token"),
        ("deploy-token", "token", "gldt-", "not for its API: use mode deploy-token"),
        ("oauth-token", "token", "gldt-", "use mode deploy-token"),
        ("oauth-token", "token", "glpat-", "use mode access-token"),
        ("deploy-token", "deploy_token", "glpat-", "use the field token"),
        ("access-token", "token", "gloas-", "secret of an OAuth application"),
        ("oauth-token", "token", "gloas-", "secret of an OAuth application"),
        ("access-token", "token", "glcbt-", "once the job is over"),
        ("deploy-token", "deploy_token", "glrt-", "token of a runner"),
    ],
)
def test_a_secret_with_a_known_prefix_in_the_wrong_field_is_rejected(mode, field, prefix, said):
    value = prefix + "Vu7" * 7
    with pytest.raises(ConfigurationError, match=f"{field}: this is ") as caught:
        config(mode, **{field: value})
    assert said in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["3f" * 10, "SIE-glpat-" + "ab1" * 7, "glpat-" + "ab1" * 9 + ".01.1a2b3c4d5"],
    ids=["without", "of-the-administrators", "routable"],
)
def test_no_token_prefix_is_required(value):
    assert revealed(config(token=value).token) == value


@pytest.mark.parametrize("username", ["", " ", "a b", "a:b"])
def test_the_username_of_a_deploy_token_is_one_word(username):
    with pytest.raises(ConfigurationError, match="deploy_token_username: "):
        config("deploy-token", deploy_token_username=username)


def test_a_deploy_token_and_its_username_are_only_accepted_in_one_mode():
    fields = {field.name: field for field in config_fields(GitLabProvider.Config)}
    assert fields["deploy_token"].required_for == ("deploy-token",)
    assert fields["deploy_token"].secret
    with pytest.raises(ConfigurationError, match="deploy_token: "):
        config("access-token", deploy_token=DEPLOY)
