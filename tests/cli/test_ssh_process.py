"""Commands start the process for SSH only if git will use SSH."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploycore.applications.application import Application
from deploycore.cli.ssh_process import application_uses_ssh, prepared_if, provider_uses_ssh
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store

PROVIDERS = {
    "https": ({}, {"token": "env:TOKEN"}),
    "with-key": ({}, {"ssh_private_key": "env:KEY"}),
    "with-agent": ({"ssh_agent": "true"}, {}),
    "without-agent": ({"ssh_agent": "false"}, {}),
}
EXPECTED = {"https": False, "with-key": True, "with-agent": True, "without-agent": False}


@pytest.fixture
def store(home, monkeypatch):
    """A store with providers, each with an application; ``own`` has a key of its own."""
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    with Store(Settings.from_environment()) as store:
        for name, (settings, secrets) in PROVIDERS.items():
            at = datetime(2026, 11, 24, tzinfo=UTC)
            store.add_provider(ProviderRecord(name, "acme", settings, secrets, at))
            store.add_application(application(name, name))
        store.add_application(application("own", "https"))
        key = store.deploy_keys.add(
            application="own",
            provider="https",
            repository="ada/shop",
            public_key="ssh-ed25519 AAAA",
            secret="env:KEY",
        )
        store.deploy_keys.activate(key)
        yield store


def application(name, provider):
    target = Path("/srv") / name
    return Application(
        name=name, provider=provider, repository="ada/shop", ref="main", target=target
    )


@pytest.fixture
def is_prepared(monkeypatch):
    """Returns whether a process would be started."""

    def ask(uses_ssh):
        started = []

        @contextmanager
        def prepared():
            started.append(True)
            yield

        monkeypatch.setattr("deploycore.ssh.process.prepared", prepared)
        with prepared_if(uses_ssh):
            return bool(started)

    return ask


def test_the_provider_or_a_key_of_the_application_decides(store, is_prepared):
    by_provider = {
        name: is_prepared(lambda listing, name=name: provider_uses_ssh(listing, name))
        for name in EXPECTED
    }
    by_application = {
        name: is_prepared(lambda listing, name=name: application_uses_ssh(listing, name))
        for name in (*EXPECTED, "own")
    }
    assert by_provider == EXPECTED
    assert by_application == EXPECTED | {"own": True}


def test_what_cannot_be_read_starts_nothing(store, home, is_prepared, monkeypatch):
    assert not is_prepared(lambda listing: provider_uses_ssh(listing, "unknown"))
    assert not is_prepared(lambda listing: application_uses_ssh(listing, "unknown"))
    shutil.rmtree(home)
    assert not is_prepared(lambda listing: provider_uses_ssh(listing, "with-key"))
    monkeypatch.setenv("DEPLOYCORE_DATABASE_URL", "postgresql+psycopg://nowhere/x")
    assert not is_prepared(lambda listing: provider_uses_ssh(listing, "with-key"))
    monkeypatch.setenv("DEPLOYCORE_DATABASE_URL", "")
    assert not is_prepared(lambda listing: provider_uses_ssh(listing, "with-key"))
