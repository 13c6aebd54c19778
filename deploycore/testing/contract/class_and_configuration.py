"""Checks that need no request: the class, its signatures, its ``Config``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from pydantic import SecretStr

from deploycore.configuration import (
    ProviderConfig,
    config_fields,
    discriminator_of,
    members,
    parse_config,
)
from deploycore.errors import ConfigurationError
from deploycore.hookspecs import API_VERSION
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    Connect,
    ContractBase,
    Leaks,
    asked,
    identity,
    must_raise,
    sent,
)
from deploycore.testing.scenarios import ONE, Access, ContractHost

__all__ = ["ClassAndConfiguration"]

_SECRET_NAME = re.compile(r"(^|_)(token|password|secret|key|passphrase|credential)$")
ELSEWHERE = "http://git.example.com"


class ClassAndConfiguration(ContractBase):
    """The class of the entry point, and its configuration."""

    def test_the_class_fulfils_the_contract(self, plugin: Plugin) -> None:
        """Loading it checks the hooks, signatures, ``API_VERSION``, ``Config`` and ``__init__``."""
        assert plugin.provider_class.API_VERSION == API_VERSION, asked(  # type: ignore[attr-defined]
            "class", f"API_VERSION is the version of its contract: {API_VERSION}"
        )

    def test_every_field_of_the_configuration_is_described(self, plugin: Plugin) -> None:
        nameless = [
            field.name for field in config_fields(plugin.config_type) if not field.description
        ]
        assert nameless == [], asked(
            "Config", "each field has a description: it is the help text of forms and options"
        )

    def test_every_secret_of_the_configuration_is_typed_as_one(self, plugin: Plugin) -> None:
        plain = [
            field.name
            for field in config_fields(plugin.config_type)
            if _SECRET_NAME.search(field.name) and not field.secret
        ]
        assert plain == [], asked(
            "Config", "every secret is a SecretStr, so that it is never displayed"
        )

    def test_every_way_to_sign_in_is_tried(
        self, plugin: Plugin, values: Callable[..., dict[str, str | SecretStr]]
    ) -> None:
        field = discriminator_of(plugin.config_type)
        if field is None:
            return
        choices = next(
            each.choices for each in config_fields(plugin.config_type) if each.name == field
        )
        tried = {str(values(Access.FULL, mode).get(field)) for mode in self.all_modes()}
        by_people = _choices_with_a_sign_in(plugin.config_type, field)
        assert tried >= set(choices) - by_people - set(self.modes_over_ssh), asked(
            "class", f"the sandbox has credentials for every {field} of the configuration: MODES"
        )

    def test_what_is_missing_is_named(
        self, plugin: Plugin, values: Callable[..., dict[str, str | SecretStr]], mode: str
    ) -> None:
        given = values(Access.FULL, mode)
        needed = [
            field.name
            for field in config_fields(plugin.config_type)
            if field.name in given and field.required
        ]
        for name in needed:
            rest = {field: value for field, value in given.items() if field != name}
            with must_raise(ConfigurationError, "Config", f"{name} is required") as caught:
                parse_config(plugin.config_type, rest, kind=self.kind)
            assert name in str(caught[0]), asked("Config", "the error names the missing field")

    def test_an_unknown_field_is_refused(
        self, plugin: Plugin, values: Callable[..., dict[str, str | SecretStr]]
    ) -> None:
        given = {**values(Access.FULL, self.all_modes()[0]), "no_such_field": "x"}
        with must_raise(ConfigurationError, "Config", "a misspelled field is an error"):
            parse_config(plugin.config_type, given, kind=self.kind)

    def test_a_secret_that_is_no_secret_is_refused_without_being_shown(
        self, plugin: Plugin, values: Callable[..., dict[str, str | SecretStr]], mode: str
    ) -> None:
        given = values(Access.FULL, mode)
        for name, value in given.items():
            if isinstance(value, SecretStr):
                for odd in ("", " ", "with a blank\nand a line"):
                    self._refuse_or_send(plugin, {**given, name: SecretStr(odd)}, odd.strip())

    def _refuse_or_send(self, plugin: Plugin, given: dict[str, str | SecretStr], odd: str) -> None:
        rule = "an empty secret, or one with line breaks, is rejected when it is entered"
        with must_raise(ConfigurationError, "Config", rule) as caught:
            parse_config(plugin.config_type, given, kind=self.kind)
        if len(odd) > 4:
            leaks = Leaks([SecretStr(odd)])
            assert not leaks.within(str(caught[0])), asked("secrets", "no error contains a secret")

    def test_credentials_are_never_sent_unencrypted_to_another_machine(
        self,
        host: ContractHost,
        plugin: Plugin,
        values: Callable[..., dict[str, str | SecretStr]],
        mode: str,
    ) -> None:
        given = values(Access.FULL, mode)
        places = {
            name: ELSEWHERE + value.removeprefix(host.url)
            for name, value in given.items()
            if isinstance(value, str) and value.startswith(host.url)
        }
        assert places, asked(
            "Config", "the host's address can be configured, for tests and proxies"
        )
        for name, place in places.items():
            rule = f"{name} uses https, or http only for this machine: use the type HttpsAddress"
            with must_raise(ConfigurationError, "Config", rule):
                config = parse_config(plugin.config_type, {**given, name: place}, kind=self.kind)
                Provider(plugin, config).close()

    def test_an_address_may_be_given_with_a_slash_at_its_end(
        self,
        host: ContractHost,
        connect: Connect,
        values: Callable[..., dict[str, str | SecretStr]],
        mode: str,
    ) -> None:
        (shop,) = host.arrange(ONE)
        given = values(Access.FULL, mode)
        slashed = {
            name: f"{value}/" if isinstance(value, str) and value.startswith(host.url) else value
            for name, value in given.items()
        }
        provider, other = connect(settings=given), connect(settings=slashed)
        assert other.clone_url(identity(shop)).url == provider.clone_url(identity(shop)).url, asked(
            "Config",
            "an address works with and without a slash at its end: use the type HttpsAddress",
        )
        other.authenticate()
        doubled = [request.path for request in sent(host) if "//" in request.path]
        assert doubled == [], asked("Config", "no address of a request has a doubled slash")

    def test_the_addresses_that_are_there_by_default_are_encrypted(
        self,
        host: ContractHost,
        plugin: Plugin,
        values: Callable[..., dict[str, str | SecretStr]],
        mode: str,
    ) -> None:
        given = values(Access.FULL, mode)
        needed = {field.name for field in config_fields(plugin.config_type) if field.required}
        own = {
            name: value
            for name, value in given.items()
            if not (isinstance(value, str) and value.startswith(host.url)) or name in needed
        }
        config = parse_config(plugin.config_type, own, kind=self.kind)
        assert config.api_base_url.startswith(("https://", host.url)), asked(
            "Config", "the API's address is https"
        )

    def test_a_provider_is_opened_without_a_request(
        self, host: ContractHost, connect: Connect, mode: str
    ) -> None:
        connect(mode=mode)
        assert host.request_count == 0, asked("class", "__init__ sends no request to the host")


def _choices_with_a_sign_in(config_type: Any, field: str) -> set[str]:
    """Return the modes in which a person must sign in before the provider can be used."""
    return {
        str(choice)
        for member in members(config_type)
        if getattr(member, "sign_in", None) is not ProviderConfig.sign_in
        for choice in get_args(member.model_fields[field].annotation)
    }
