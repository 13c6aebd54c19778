"""Credentials of sandboxes that stay the same after a restart, and names that differ."""

from __future__ import annotations

import secrets

import pytest
from pydantic import SecretStr

from deploycore.cli.sandbox import _seeded, _start, load_sandbox, provider_names
from deploycore.errors import ConfigurationError
from deploycore.sandbox import SandboxConnection, SecretSource

KINDS = ("bitbucket", "bitbucket-datacenter", "git", "gitea", "github", "gitlab")


def given(kind, seed):
    running = _seeded(load_sandbox(kind)[1], 0, seed)
    try:
        return [
            {
                field: value.get_secret_value() if isinstance(value, SecretStr) else value
                for field, value in connection.settings.items()
                if not str(value).startswith(running.url)
            }
            for connection in running.connections
            if any(isinstance(value, SecretStr) for value in connection.settings.values())
        ]
    finally:
        running.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_credentials(kind):
    first = given(kind, "one")
    assert given(kind, "one") == first
    assert all(old != new for old, new in zip(first, given(kind, "two"), strict=True))


def test_a_sandbox_with_fixed_credentials_rejects_a_seed():
    kind, sandbox_class = load_sandbox("gitea")
    stopped = []

    class Own(sandbox_class):
        def new_secret(self, mode):
            return SecretStr(secrets.token_hex(20))

        def stop(self):
            super().stop()
            stopped.append(kind)

    with pytest.raises(ConfigurationError, match="does not support --seed") as caught:
        _seeded(Own, 0, "one")
    assert stopped
    assert "Run it without --seed" in caught.value.hint
    _start(Own, 0).stop()


def test_an_empty_seed_is_refused():
    with pytest.raises(ConfigurationError, match="seed is empty") as caught:
        _seeded(load_sandbox("gitea")[1], 0, "")
    assert caught.value.hint == "Give a text: --seed TEXT."
    assert given("gitea", "TEXT")


def test_an_invalid_kind_or_port_is_reported_with_the_valid_choices():
    with pytest.raises(ConfigurationError, match="no sandbox of kind gita") as caught:
        load_sandbox("gita")
    assert "Did you mean 'gitea'?" in caught.value.hint
    sandbox_class = load_sandbox("gitea")[1]
    first = _start(sandbox_class, 0)
    try:
        with pytest.raises(ConfigurationError, match="cannot listen on port") as caught:
            _start(sandbox_class, int(first.url.rpartition(":")[2]))
        assert caught.value.hint == "Give another --port."
        _start(sandbox_class, 0).stop()
    finally:
        first.stop()


def test_without_a_seed_secrets_are_random():
    assert SecretSource().token_hex(16) != SecretSource().token_hex(16)
    assert len(SecretSource("x").token_bytes(100)) == 100


def test_connection_names_are_unique_across_kinds():
    names = []
    for kind in KINDS:
        running = load_sandbox(kind)[1].demo()
        try:
            names += provider_names(kind, running.connections)
        finally:
            running.stop()
    assert len(names) == len(set(names))
    assert "gitea-access-token" in names
    same = [SandboxConnection("Token", {}, "ada")] * 3
    assert provider_names("acme", same) == ["acme-token", "acme-token-no2", "acme-token-no3"]
