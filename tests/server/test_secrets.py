"""The secrets of webhooks are created, stored, sent to the host and replaced, whatever fails in
between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from deploycore.errors import ConfigurationError, ProviderUnavailable, StoreError
from deploycore.hookspecs import hookimpl
from deploycore.provider.observers import Observers

URL = "https://deploy.example.com/webhooks/shop"


@pytest.fixture
def requests_sent(tmp_path, monkeypatch):
    """The requests that the host got: lists of words."""
    notes = tmp_path / "notes"
    monkeypatch.setenv("ACME_NOTES", str(notes))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def held(installation):
    """The secrets that hold, now or some time from now."""

    def find(later: timedelta = timedelta()):
        record = installation.store.webhooks.get("shop")
        found = installation.webhooks.secrets(record, at=datetime.now(UTC) + later)
        return [each.get_secret_value() for each in found]

    return find


def test_a_secret_is_long_and_stored_encrypted(installation, secret, home):
    record = installation.store.webhooks.get("shop")
    assert len(secret) >= 43
    assert record.secret.startswith("fernet:")
    assert secret not in repr(record)
    installation.store.close()
    stored = b"".join(path.read_bytes() for path in home.glob("deploycore.db*"))
    assert secret.encode() not in stored


def test_preparing_again_keeps_the_secret(installation, secret, held):
    installation.webhooks.prepare("shop")
    assert held() == [secret]


def test_registering_again_sends_the_same_secret_to_the_host(installation, secret, requests_sent):
    for _ in range(2):
        record = installation.webhooks.register("shop", URL)
    assert requests_sent() == [["register", "acme/shop", URL, secret]] * 2
    assert (record.hosts_id, record.url) == ("hook-1", URL)


def test_the_previous_secret_is_valid_during_the_grace_period(
    installation, secret, held, requests_sent
):
    installation.webhooks.register("shop", URL)
    installation.webhooks.rotate("shop", grace=timedelta(hours=2))
    new = requests_sent()[-1][-1]
    assert held() == [new, secret]
    assert held(timedelta(hours=3)) == [new]


def test_without_a_host_call_the_grace_period_starts_at_once(installation, secret, held):
    installation.webhooks.rotate("shop", grace=timedelta(hours=2))
    assert len(held()) == 2
    assert secret not in held(timedelta(hours=3))


def test_both_secrets_are_valid_while_it_is_unclear_which_one_the_host_has(
    installation, secret, held, requests_sent, monkeypatch
):
    installation.webhooks.register("shop", URL)
    monkeypatch.setenv("ACME_FAILS", "1")
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            installation.webhooks.rotate("shop")
    between = held(timedelta(days=1000))
    assert between[1] == secret
    monkeypatch.delenv("ACME_FAILS")
    installation.webhooks.rotate("shop")
    assert requests_sent()[-1][-1] == between[0]
    assert held(timedelta(days=2)) == [between[0]]


def test_registering_completes_a_failed_rotation(installation, secret, held, monkeypatch):
    installation.webhooks.register("shop", URL)
    monkeypatch.setenv("ACME_FAILS", "1")
    with pytest.raises(ProviderUnavailable):
        installation.webhooks.rotate("shop")
    monkeypatch.delenv("ACME_FAILS")
    installation.webhooks.register("shop", URL)
    assert secret not in held(timedelta(days=2))


def test_a_second_rotation_replaces_the_first(installation, secret, held):
    installation.webhooks.rotate("shop")
    [second, _] = held()
    installation.webhooks.rotate("shop")
    [third, former] = held()
    assert (former, third != second) == (second, True)


def test_removal_contacts_the_host_and_keeps_the_webhook_on_failure(
    installation, secret, held, requests_sent, monkeypatch
):
    installation.webhooks.register("shop", URL)
    monkeypatch.setenv("ACME_FAILS", "1")
    with pytest.raises(ProviderUnavailable):
        installation.webhooks.remove("shop")
    assert held() == [secret]
    monkeypatch.delenv("ACME_FAILS")
    assert installation.webhooks.remove("shop") is True
    assert requests_sent()[-1] == ["remove", "acme/shop", "hook-1"]
    with pytest.raises(ConfigurationError, match="has no webhook"):
        installation.store.webhooks.get("shop")


def test_a_manually_configured_webhook_is_only_removed_locally(
    installation, secret, requests_sent, tmp_path
):
    assert installation.webhooks.remove("shop") is False
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize("operation", ["rotate", "remove", "prepare"])
def test_an_unknown_application_has_no_webhook(installation, operation):
    with pytest.raises(ConfigurationError, match="no application 'blog'"):
        getattr(installation.webhooks, operation)("blog")


def test_an_existing_webhook_secret_prevents_creation_of_a_second_key(installation, secret):
    (installation.settings.home / "secret.key").unlink()
    with pytest.raises(StoreError, match="key"):
        installation.webhooks.rotate("shop")


def test_a_secret_is_sent_to_the_host_but_not_to_observers(installation, secret, requests_sent):
    seen = []

    class Watching:
        @hookimpl
        def provider_call_started(self, call):
            seen.append(repr(call))

        @hookimpl
        def provider_call_finished(self, call, result, error):
            seen.append(repr((call, result, error)))

    with installation.open_provider("work") as provider:
        provider._observers = Observers([("watching", Watching())])
        provider.register_webhook(
            installation.store.get_application("shop").definition.repository_id,
            URL,
            installation.secrets.reveal(installation.store.webhooks.get("shop").secret),
        )
    assert len(seen) == 2
    assert secret not in "".join(seen)
