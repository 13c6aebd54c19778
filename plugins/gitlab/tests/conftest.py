"""Fixtures of the tests: a running sandbox, and providers that are connected to it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from deploycore.configuration import parse_config
from deploycore.http import HttpSettings
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, check_provider_class

from deploycore_gitlab import GitLabProvider
from deploycore_gitlab.sandbox import GitLabSandbox

PLUGIN = Plugin(
    kind="gitlab",
    provider_class=GitLabProvider,
    distribution="deploycore-gitlab",
    version="0.1.0",
    origin="deploycore_gitlab:GitLabProvider",
    hooks=check_provider_class(GitLabProvider, plugin="deploycore-gitlab 0.1.0"),
)


@pytest.fixture
def sandbox():
    with GitLabSandbox() as running:
        yield running
    assert running.crashes == []


@pytest.fixture
def connect():
    """Opens a provider with a credential of a sandbox: ``connect(sandbox, credential, url=…)``."""
    with ExitStack() as opened:

        def open_one(sandbox, credential=None, /, **changes):
            credential = credential or sandbox.add_credential("access-token")
            values = {"name": "work", **sandbox.settings(credential), **changes}
            given = {name: value for name, value in values.items() if value is not None}
            config = parse_config(GitLabProvider.Config, given, kind="gitlab")
            settings = HttpSettings(retries=0, read_timeout=10, total_timeout=20)
            made = Provider(PLUGIN, config, http_settings=settings, observers=Observers())
            return opened.enter_context(made)

        yield open_one


@pytest.fixture
def asked():
    """The requests that a sandbox received: path and query of each, as they were sent."""

    def tell(sandbox):
        return [f"{request.path}?{request.query}".rstrip("?") for request in sandbox.requests]

    return tell
