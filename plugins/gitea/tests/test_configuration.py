"""The values that a configuration accepts, and those that it rejects before the first request."""

from __future__ import annotations

import pytest
from deploycore.configuration import config_fields
from deploycore.errors import ConfigurationError
from pydantic import SecretStr

from deploycore_gitea import GiteaProvider


def test_there_is_no_default_address():
    (url,) = [field for field in config_fields(GiteaProvider.Config) if field.name == "url"]
    assert url.required


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://codeberg.org", "https://codeberg.org/api/v1"),
        ("https://codeberg.org/", "https://codeberg.org/api/v1"),
        ("https://example.com/git", "https://example.com/git/api/v1"),
        ("https://example.com:3000/a/b/", "https://example.com:3000/a/b/api/v1"),
    ],
)
def test_the_api_is_below_the_address_and_its_path(config, url, api):
    assert config(url=url).api_base_url == api


@pytest.mark.parametrize(
    "url",
    [
        "git.example.com",
        "http://git.example.com",
        "https://ada@git.example.com",
        "https://git.example.com/?page=2",
        "https://git.example.com/api/v1",
        "https://git.example.com/api/v1/",
    ],
)
def test_an_unusable_address_is_rejected(config, url):
    with pytest.raises(ConfigurationError, match="url: "):
        config(url=url)


@pytest.mark.parametrize(
    "owner", ["", "Ada Lovelace", "https://codeberg.org/ada", "ada/shop", ".."]
)
def test_an_impossible_owner_is_rejected(config, owner):
    with pytest.raises(ConfigurationError, match="owner: .*<url>/<owner>"):
        config(owner=owner)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("gto_3ckp6vt2", "client secret of an OAuth2 application"),
        ("ghp_" + "a" * 36, "a token of GitHub"),
        ("glpat-" + "a" * 20, "a token of GitLab"),
    ],
    ids=["oauth2-secret", "github", "gitlab"],
)
def test_a_secret_that_is_not_an_access_token_is_rejected_and_not_shown(config, token, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        config(token=SecretStr(token))
    assert token not in str(caught.value)


@pytest.mark.parametrize("token", ["x", "a" * 64, "eyJhbGciOi.eyJnbnQi.c2ln"])
def test_no_particular_token_format_is_required(config, token):
    assert config(token=SecretStr(token)).token.get_secret_value() == token


def test_spaces_in_a_password_are_kept(config):
    made = config("basic", password=SecretStr(" two words "))
    assert made.password.get_secret_value() == " two words "


@pytest.mark.parametrize("username", ["", "ada:lovelace", "ada lovelace"])
def test_a_username_that_is_invalid_in_basic_authentication_is_rejected(config, username):
    with pytest.raises(ConfigurationError, match="username: "):
        config("basic", username=username)


def test_fields_of_different_modes_cannot_be_mixed(config):
    with pytest.raises(ConfigurationError, match="password"):
        config("token", password=SecretStr("of no use"))
