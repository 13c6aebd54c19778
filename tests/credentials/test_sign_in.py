"""A sign-in that a plugin's configuration requires."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.configuration import ProviderConfig
from deploycore.errors import PluginError
from deploycore.http import BearerAuth
from deploycore.installation.sign_in import ProviderSignIn
from deploycore.tokens import DeviceFlow, RenewableAuth

FLOW = DeviceFlow("device", "token", "client-1")


class OddConfig(ProviderConfig):
    """Says that a person signs in, and then uses a token that never changes."""

    @property
    def api_base_url(self):
        return "https://git.example.com"

    @property
    def api_auth(self):
        return BearerAuth(SecretStr("fixed-token"))

    @property
    def sign_in(self):
        return FLOW


class MendedConfig(OddConfig):
    """As the author of the plugin makes it after the error."""

    @property
    def api_auth(self):
        return RenewableAuth(lambda http: pytest.fail("No token is needed yet."), is_stored=True)


class PluginLabel:
    label = "deploycore-odd 1.0"


def test_a_sign_in_without_a_stored_token_is_a_plugin_error():
    with pytest.raises(PluginError, match="is_stored") as caught:
        ProviderSignIn(PluginLabel(), OddConfig(name="odd"), None)
    assert "deploycore-odd 1.0" in str(caught.value)
    assert caught.value.hint == "Tell the author of the plugin."
    assert ProviderSignIn(PluginLabel(), MendedConfig(name="odd"), None).flow is FLOW


def test_by_default_a_configuration_requires_no_sign_in():
    assert ProviderConfig.sign_in.fget(OddConfig(name="odd")) is None
