"""Checks of a configuration without a request."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from deploycore.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://github.com/", "https://api.github.com"),
        ("https://www.github.com", "https://api.github.com"),
        ("https://company.ghe.com", "https://api.company.ghe.com"),
        ("https://github.company.example", "https://github.company.example/api/v3"),
        ("https://git.company.example:8443", "https://git.company.example:8443/api/v3"),
        ("https://notgithub.com", "https://notgithub.com/api/v3"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3"),
    ],
)
def test_the_api_address_is_derived_from_the_github_address(config, url, api):
    assert config(url=url).api_base_url == api


def test_github_com_is_the_default_address(config):
    assert config().api_base_url == "https://api.github.com"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://github.com/ada", "without a path"),
        ("https://github.company.example/api/v3", "without a path"),
        ("https://api.github.com", "of the web pages: https://github.com"),
        ("https://api.company.ghe.com", "of the web pages: https://company.ghe.com"),
        ("http://github.com", "use https"),
        ("github.com", "not an absolute https URL"),
    ],
)
def test_an_unusable_address_is_rejected_with_the_correct_one(config, url, said):
    with pytest.raises(ConfigurationError, match=said):
        config(url=url)


@pytest.mark.parametrize(
    ("prefix", "title"),
    [
        ("github_pat_", "fine-grained personal access token"),
        ("ghp_", "classic personal access token"),
        ("gho_", "OAuth token"),
        ("ghu_", "user access token of a GitHub App"),
        ("ghs_", "installation token"),
        ("", "token"),
    ],
)
def test_known_token_prefixes_are_recognized_and_none_is_required(config, prefix, title):
    assert config(token=SecretStr(f"{prefix}made-up-secret")).kind.title == title


@pytest.mark.parametrize(
    ("beginning", "said"),
    [("ghr_", "a refresh token"), ("eyJhbGciOi.", "use mode app"), ("two words ", "white space")],
)
def test_a_secret_that_is_not_an_api_token_is_rejected_and_not_shown(config, beginning, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        config(token=SecretStr(f"{beginning}made-up-secret"))
    assert "made-up-secret" not in str(caught.value.as_dict())


@pytest.mark.parametrize("owner", ["Ada Lovelace", "https://github.com/ada", "ada/shop", "-", ""])
def test_an_owner_that_is_not_a_login_is_rejected(config, owner):
    with pytest.raises(ConfigurationError, match="owner: this is not the login"):
        config(owner=owner)


@pytest.mark.parametrize("owner", ["ada", "Ada-Lovelace", "ada_company", " ada "])
def test_a_login_is_accepted_as_owner(config, owner):
    assert config(owner=owner).owner == owner.strip()


@pytest.mark.parametrize("app_id", ["1001", "Iv1.8a61f9b3a7aba766", "Iv23liabcdefghijklmn"])
def test_an_app_is_identified_by_its_number_or_client_id(config, app_id):
    assert config("app", app_id=app_id).app_id == app_id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("app_id", "my app"),
        ("app_id", ""),
        ("installation_id", "https://github.com/settings/installations/5001"),
        ("installation_id", "company"),
    ],
)
def test_invalid_app_numbers_are_rejected(config, field, value):
    with pytest.raises(ConfigurationError, match=f"{field}: "):
        config("app", **{field: value})


def test_a_key_with_escaped_line_breaks_is_accepted(config, private_key):
    pem = private_key.get_secret_value()
    escaped = SecretStr(pem.strip().replace("\n", "\\n"))
    assert config("app", private_key=escaped).private_key == private_key


def test_a_truncated_or_unsupported_key_is_rejected_and_not_shown(config, private_key):
    pem = private_key.get_secret_value()
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for wrong in (pem[: len(pem) // 2], pem.splitlines()[0], "SHA256:fingerprint", other.decode()):
        with pytest.raises(
            ConfigurationError, match="private_key: this is not a complete"
        ) as caught:
            config("app", private_key=SecretStr(wrong))
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("field", ["token", "owner"])
def test_fields_of_different_modes_cannot_be_mixed(config, field):
    with pytest.raises(ConfigurationError, match=f"{field}: is not known here"):
        config("app", **{field: "ada"})
