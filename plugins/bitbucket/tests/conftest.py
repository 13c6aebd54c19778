"""Fixtures of the plugin's tests: one configuration of each mode, with secrets that are easy to
find."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from deploycore_bitbucket import BitbucketProvider
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.http import HttpSettings
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, check_provider_class

SECRETS = {
    "app-password": "ATBBqN7sV3tXw9yKpL2mZr4J",
    "api-token": "ATATT3xFfGF0qS5-w_Kd81xNqvL4Zt7=2C5E9A10",
    "access-token": "ATCTT3xFfGN0mRz7Hq_Y2p-Vw8=4D1B6F30",
}

VALUES = {
    "app-password": {"mode": "app-password", "username": "dana", "workspace": "acme"},
    "api-token": {"mode": "api-token", "email": "dana@example.com", "workspace": "acme"},
    "access-token": {"mode": "access-token", "workspace": "acme"},
}

SECRET_FIELDS = {"app-password": "app_password", "api-token": "token", "access-token": "token"}


@pytest.fixture
def values():
    """Makes the values of a configuration: ``values("api-token", workspace="x")``."""

    def make(mode, /, **changes):
        made = {"name": "work", **VALUES[mode], SECRET_FIELDS[mode]: SecretStr(SECRETS[mode])}
        return {**made, **changes}

    return make


@pytest.fixture
def config(values):
    """Returns a function that creates a configuration in the way that the core does."""

    def make(mode="api-token", /, **changes):
        return parse_config(BitbucketProvider.Config, values(mode, **changes), kind="bitbucket")

    return make


@pytest.fixture(params=["app-password", "api-token", "access-token"])
def mode(request):
    return request.param


@pytest.fixture
def secret_field(mode):
    """What the mode calls its secret."""
    return SECRET_FIELDS[mode]


@pytest.fixture
def secrets():
    return SECRETS


@pytest.fixture(scope="session")
def plugin():
    """The plugin as the core's registry finds it, without being installed."""
    return Plugin(
        kind="bitbucket",
        provider_class=BitbucketProvider,
        distribution="deploycore-bitbucket",
        version="0.1.0",
        origin="deploycore_bitbucket:BitbucketProvider",
        hooks=check_provider_class(BitbucketProvider, plugin="deploycore-bitbucket 0.1.0"),
    )


@pytest.fixture
def provider(plugin, config):
    """Opens the core's handle on the plugin, closed after the test; errors are not retried."""
    with ExitStack() as opened:

        def open_one(mode="api-token", /, *, http_settings=None, **changes):
            settings = http_settings or HttpSettings(retries=0)
            made = Provider(
                plugin, config(mode, **changes), http_settings=settings, observers=Observers()
            )
            return opened.enter_context(made)

        yield open_one
