"""Fixtures of the plugin's tests: configurations, and a provider on the sandbox."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from deploycore.configuration import parse_config
from deploycore.http import HttpSettings
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.testing.scenarios import Access
from pydantic import SecretStr

from deploycore_git import PlainGitProvider
from deploycore_git.sandbox import PlainGitSandbox

IMPATIENT = HttpSettings(retries=0, read_timeout=5, total_timeout=10, retry_after_most=0)
SECRETS = {
    "anonymous": {},
    "basic": {"username": "ada", "password": SecretStr("correct horse: battery staple")},
    "bearer": {"token": SecretStr("made-up-9fcb1158165773dd")},
    "ssh": {"url": "ssh://git@git.example.com:2222/srv"},
}


@pytest.fixture
def values():
    """Makes the values of a configuration: ``values("basic", url="https://…")``."""

    def make(mode="basic", /, **changes):
        where = {"url": "https://git.example.com/git", "repositories": "acme/shop.git"}
        return {"name": "plain", "mode": mode, **where, **SECRETS[mode], **changes}

    return make


@pytest.fixture
def config(values):
    """Returns a function that creates a configuration in the way that the core does."""

    def make(mode="basic", /, **changes):
        return parse_config(PlainGitProvider.Config, values(mode, **changes), kind="git")

    return make


@pytest.fixture
def open_provider():
    """Opens a provider as the core does; it is closed after the test."""
    with ExitStack() as opened:

        def open_one(config, **more):
            made = Provider(
                load_plugin("git"), config, http_settings=IMPATIENT, observers=Observers(), **more
            )
            return opened.enter_context(made)

        yield open_one


@pytest.fixture
def sandbox():
    with PlainGitSandbox() as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def on_sandbox(sandbox, open_provider):
    """Opens a provider on the sandbox with new credentials, for the sandbox's current content."""

    def connect(mode="basic", access=Access.FULL, **changes):
        given = {"name": "plain", **sandbox.connect(mode, access).settings, **changes}
        return open_provider(parse_config(PlainGitProvider.Config, given, kind="git"))

    return connect
