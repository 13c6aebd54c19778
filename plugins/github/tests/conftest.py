"""Fixtures of the plugin's tests: a sandbox, and providers on it or on made-up answers."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import responses
from deploycore_github import GitHubProvider
from deploycore_github.sandbox import GitHubSandbox
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.http import HttpSettings
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin

TOKENS = {
    "fine-grained": "github_pat_" + "made-up-secret-of-tests",
    "classic": "ghp_" + "made-up-secret-of-tests",
    "oauth": "gho_" + "made-up-secret-of-tests",
    "user": "ghu_" + "made-up-secret-of-tests",
    "installation": "ghs_" + "made-up-secret-of-tests",
}


@pytest.fixture(scope="session")
def private_key():
    """A private key that no app uses."""
    with GitHubSandbox() as sandbox:
        return sandbox.new_secret("app")


@pytest.fixture
def config(private_key):
    """Makes a configuration, in the way that the core does: ``config("app", url="…")``."""

    def make(kind="fine-grained", /, **changes):
        own = {"mode": "token", "token": SecretStr(TOKENS.get(kind, "made-up-secret"))}
        if kind == "app":
            own = {"mode": "app", "app_id": "1001", "installation_id": "5001"}
            own["private_key"] = private_key
        return parse_config(
            GitHubProvider.Config, {"name": "work", **own, **changes}, kind="github"
        )

    return make


@pytest.fixture
def open_provider():
    """Opens the core's handle for a configuration, closed after the test; without retries."""
    with ExitStack() as opened:

        def open_one(config, **settings):
            settings = HttpSettings(**{"retries": 0, **settings})
            made = Provider(
                load_plugin("github"), config, http_settings=settings, observers=Observers()
            )
            return opened.enter_context(made)

        yield open_one


@pytest.fixture
def sandbox():
    with GitHubSandbox() as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def connect(sandbox, open_provider):
    """Opens a provider on the sandbox: ``connect("classic", Access.UNSCOPED, owner="guild")``."""

    def make(mode="token", access=None, **changes):
        arguments = () if access is None else (access,)
        settings = sandbox.settings(sandbox.add_credential(mode, *arguments))
        values = {"name": "work", **settings, **changes}
        return open_provider(parse_config(GitHubProvider.Config, values, kind="github"))

    return make


@pytest.fixture
def github():
    """A fake of GitHub, which sends the responses that a test defines."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock
