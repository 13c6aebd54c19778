"""What the core reads from a plugin's Config: fields, choices, secrets, unions."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr

from deploycore.configuration import (
    ConfigField,
    HttpsAddress,
    ProviderConfig,
    TokenStr,
    config_fields,
    parse_config,
)
from deploycore.errors import ConfigurationError, PluginError


class Base(ProviderConfig):
    url: str = Field(default="https://a.example", description="where it is")

    @property
    def api_base_url(self) -> str:
        return self.url

    @property
    def api_auth(self) -> None:
        return None


class Password(Base):
    mode: Literal["password"]
    zone: str = Field(description="a zone")
    password: SecretStr = Field(description="the password")


class Token(Base):
    mode: Literal["token"]
    token: SecretStr
    zone: str | None = Field(default=None, description="any zone")


Union = Annotated[Password | Token, Field(discriminator="mode")]


def test_the_fields_of_a_union_come_with_the_discriminator_first():
    fields = config_fields(Union)
    assert fields[0] == ConfigField(
        name="mode",
        description="",
        required=True,
        secret=False,
        choices=("password", "token"),
        only_for=("password", "token"),
        required_for=("password", "token"),
    )
    by_name = {field.name: field for field in fields}
    assert by_name["token"].secret
    assert by_name["token"].only_for == ("token",)
    assert by_name["password"].description == "the password"
    assert not by_name["url"].required
    assert not by_name["zone"].required
    assert by_name["zone"].required_for == ("password",)
    assert by_name["zone"].description == "a zone; or any zone"
    assert "name" not in by_name


def test_a_single_class_has_no_discriminator():
    assert {field.name for field in config_fields(Token)} == {"url", "mode", "token", "zone"}


def test_valid_values_create_the_matching_union_member():
    config = parse_config(
        Union, {"name": "work", "mode": "token", "token": SecretStr("s3cret")}, kind="acme"
    )
    assert isinstance(config, Token)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "token"}, "token: is missing"),
        ({"mode": "tokn"}, "mode"),
        ({}, "mode"),
        ({"mode": "password", "token": SecretStr("s3cret-value")}, "token: is not known here"),
        (
            {"mode": "token", "token": SecretStr("s3cret-value"), "name": "a b"},
            "name: should have up to 63 letters",
        ),
        ({"mode": "token", "token": ["s3cret-value"]}, "token: should be"),
    ],
)
def test_invalid_values_are_reported_by_field_and_never_shown(values, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        parse_config(Union, {"name": "work"} | values, kind="acme")
    assert "s3cret-value" not in str(caught.value)
    assert "deploycore provider add --kind acme --help" in caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


class Host(ProviderConfig):
    url: HttpsAddress
    token: TokenStr

    @property
    def api_base_url(self):
        return self.url

    @property
    def api_auth(self):
        return None


def host(**values):
    given = {"name": "work", "url": "https://git.example", "token": SecretStr("s3cret-value")}
    return parse_config(Host, given | values, kind="acme")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://git.example/", "https://git.example"),
        (" https://git.example:8443/base// ", "https://git.example:8443/base"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]", "http://[::1]"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_surrounding_characters_of_an_address_are_removed(url, kept):
    assert host(url=url).url == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "git.example",
        "http://git.example",
        "http://localhost.example",
        "ftp://git.example",
        "https://",
        "https://ada@git.example",
        "https://ada:s3cret-value@git.example",
        "https://git.example?x=1",
        "https://git.example#x",
        "https://git.example:port",
        "https://[git.example",
        "https://git .example",
        "https://git.example/?",
        "https://git.example/#",
        "https://git.example\\\\evil.example",
    ],
    ids=range(16),
)
def test_an_address_that_would_leak_secrets_is_rejected(url):
    with pytest.raises(ConfigurationError, match="url: ") as caught:
        host(url=url)
    assert "s3cret-value" not in str(caught.value)
    assert host(url="https://git.example").url == "https://git.example"


def test_surrounding_white_space_of_a_token_is_removed():
    assert host(token=SecretStr(" s3cret-value\n")).token == SecretStr("s3cret-value")


@pytest.mark.parametrize(
    "token", ["", " \n", "s3cret value", "s3cret\nvalue", "s3cret\x00value"], ids=range(5)
)
def test_a_token_of_no_or_several_words_is_rejected_and_not_shown(token):
    with pytest.raises(ConfigurationError, match="token: ") as caught:
        host(token=SecretStr(token))
    assert "s3cret" not in str(caught.value)


def test_address_and_token_types_keep_their_form_metadata():
    by_name = {field.name: field for field in config_fields(Host)}
    assert (by_name["token"].secret, by_name["url"].secret) == (True, False)


class _Opaque:
    pass


class _Anonymous(ProviderConfig):
    @property
    def api_base_url(self) -> str:
        return "https://git.example.com"

    @property
    def api_auth(self) -> None:
        return None


def test_a_field_of_a_type_that_pydantic_does_not_support_is_an_error_of_the_plugin():
    class OpaqueConfig(_Anonymous):
        opaque: _Opaque

    with pytest.raises(PluginError, match=r"'acme' cannot be used: .*_Opaque") as raised:
        parse_config(OpaqueConfig, {"name": "work", "opaque": "x"}, kind="acme")
    assert "Upgrade the plugin" in raised.value.hint


def test_a_malformed_pattern_is_an_error_of_the_plugin():
    class Patterned(_Anonymous):
        group: str = Field("a", pattern="(")

    with pytest.raises(PluginError) as raised:
        parse_config(Patterned, {"name": "work"}, kind="acme")
    assert "'acme' cannot be used: Field \"group\": regex parse error" in raised.value.message
    assert "\n" not in raised.value.message
