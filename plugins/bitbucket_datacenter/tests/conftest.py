"""Fixtures of the plugin's tests: a provider of each mode, on the sandbox or on given answers."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from deploycore.configuration import parse_config
from deploycore.http import HttpSettings
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.testing.host import LoopbackHost
from pydantic import SecretStr

from deploycore_bitbucket_datacenter import BitbucketDataCenterProvider
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox

KIND = "bitbucket-datacenter"
TOKEN = "BBDC-NzQ0OTI3MTk2MzEyOnq4+t/Xb0"
PASSWORD = "correct horse: battery staple"

IMPATIENT = HttpSettings(retries=0, read_timeout=5, total_timeout=10, retry_after_most=0)


@pytest.fixture(params=["personal-token", "access-token", "password"])
def mode(request):
    return request.param


@pytest.fixture
def values():
    """Makes the values of a configuration: ``values("password", project="WEB")``."""

    def make(mode="personal-token", /, **changes):
        secret = {"token": SecretStr(TOKEN)}
        if mode == "password":
            secret = {"username": "ada", "password": SecretStr(PASSWORD)}
        where = {"name": "work", "mode": mode, "url": "https://git.example.com/bitbucket"}
        return {**where, **secret, **changes}

    return make


@pytest.fixture
def config(values):
    """Returns a function that creates a configuration in the way that the core does."""

    def make(mode="personal-token", /, **changes):
        return parse_config(BitbucketDataCenterProvider.Config, values(mode, **changes), kind=KIND)

    return make


@pytest.fixture
def open_provider():
    """Opens a provider as the core does; it is closed after the test."""
    with ExitStack() as opened:

        def open_one(config):
            plugin = load_plugin(KIND)
            made = Provider(plugin, config, http_settings=IMPATIENT, observers=Observers())
            return opened.enter_context(made)

        yield open_one


@pytest.fixture
def serve(config, open_provider):
    """Returns a provider on a host that responds with the given routes, and that host."""
    with ExitStack() as running:

        def start(routes, /, mode="personal-token", path="", **changes):
            host = running.enter_context(LoopbackHost(routes=routes))
            return open_provider(config(mode, url=host.url + path, **changes)), host

        yield start


@pytest.fixture
def sandbox():
    with BitbucketDataCenterSandbox() as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def on_sandbox(sandbox, open_provider):
    """Opens a provider on the sandbox, with new credentials of a mode."""

    def connect(mode="personal-token", *access, **changes):
        settings = sandbox.connect(mode, *access).settings if access else None
        settings = settings or sandbox.settings(sandbox.add_credential(mode))
        given = {"name": "work", **settings, **changes}
        return open_provider(parse_config(BitbucketDataCenterProvider.Config, given, kind=KIND))

    return connect
