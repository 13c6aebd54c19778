"""The cache of known webhooks, and the work that the server does in advance."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from pydantic import SecretStr

from deploycore.errors import PluginError, StoreError
from deploycore.events import WebhookDelivery
from deploycore.server import serving
from deploycore.server.app import create_application
from deploycore.server.deliveries import Acceptor
from deploycore.server.known_webhooks import Directory
from tests.server.acme import body_of, push, signed


class Clock:
    """Stands still, unless a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(installation, clock):
    made = Directory(installation, clock=clock)
    yield made
    made.close()


@pytest.fixture
def opened(installation, monkeypatch) -> list[str]:
    """The providers that are opened from now on."""
    names, open_provider = [], installation.open_provider

    def opening(name):
        names.append(name)
        return open_provider(name)

    monkeypatch.setattr(installation, "open_provider", opening)
    return names


def test_after_warm_up_the_first_delivery_opens_no_provider(
    installation, directory, secret, opened
):
    directory.warm_up()
    assert opened == ["work"]
    acceptor = Acceptor(
        installation,
        directory,
        replay_window=timedelta(hours=24),
    )
    body = body_of(push())
    delivery = WebhookDelivery({k.lower(): v for k, v in signed(body, secret).items()}, body)
    assert acceptor.accept("shop", delivery).status == 202
    assert opened == ["work"]


def test_a_webhook_registered_later_finds_its_provider_open(
    installation, directory, create, opened
):
    directory.warm_up()
    assert opened == ["work"]
    create("shop")
    assert directory.provider(directory.find("shop"))
    assert opened == ["work"]


def test_an_unreadable_secret_does_not_prevent_other_providers_from_opening(
    installation, directory, secret, opened, monkeypatch
):
    def fail(*arguments, **more):
        raise StoreError("The key does not fit.")

    monkeypatch.setattr(installation.webhooks, "secrets", fail)
    directory.warm_up()
    assert opened == ["work"]


def test_a_provider_that_fails_to_open_is_reported_on_first_use(
    installation, directory, secret, monkeypatch
):
    def fail(name):
        raise PluginError("It is broken.")

    monkeypatch.setattr(installation, "open_provider", fail)
    directory.warm_up()
    with pytest.raises(PluginError, match="It is broken"):
        directory.provider(directory.find("shop"))


def test_a_hanging_plugin_does_not_prevent_other_providers_from_opening(
    installation, directory, create, monkeypatch
):
    create("shop")
    create("elsewhere", repository="acme/elsewhere")
    installation.add_provider("other", "acme", {}, {"token": SecretStr("hunter2-of-other")})
    definition = installation.store.get_application("elsewhere").definition
    installation.apply([definition.model_copy(update={"provider": "other"})])
    released, open_provider = threading.Event(), installation.open_provider

    def opening(name):
        if name == "work":
            released.wait(30)
        return open_provider(name)

    monkeypatch.setattr(installation, "open_provider", opening)
    hanging = threading.Thread(target=lambda: directory.provider(directory.find("shop")))
    hanging.start()
    assert directory.provider(directory.find("elsewhere"))
    assert hanging.is_alive()
    released.set()
    hanging.join()


def test_the_server_starts_despite_a_hanging_plugin(installation, monkeypatch):
    released = threading.Event()
    application = create_application(installation)
    monkeypatch.setattr(serving, "_WARM_SECONDS", 0.05)
    monkeypatch.setattr(Directory, "warm_up", lambda self: released.wait(30))
    serving._warm_up(application)
    names = [thread.name for thread in threading.enumerate()]
    assert "deploycore-server-warm-up" in names
    released.set()
    application.close()


def test_an_expired_entry_is_reloaded_for_that_application_only(
    installation, directory, secret, clock, monkeypatch
):
    entry = directory.find("shop")
    for name in ("list_applications", "list_providers", "find_applications"):
        monkeypatch.setattr(installation.store, name, None)
    monkeypatch.setattr(installation.store.webhooks, "list", None)
    assert directory.find("shop") is entry
    clock.now += 6
    assert directory.find("shop") is not entry
    clock.now += 1
    entry = directory.find("shop")
    directory.invalidate()
    assert directory.find("shop") is not entry
    assert directory.find("nothing") is None
    assert not directory.is_known("nothing")


def test_an_ignored_delivery_reads_only_its_own_application(
    installation, directory, secret, monkeypatch
):
    directory.warm_up()
    for name in ("list_applications", "list_providers", "find_applications"):
        monkeypatch.setattr(installation.store, name, None)
    monkeypatch.setattr(installation.store.webhooks, "list", None)
    acceptor = Acceptor(
        installation,
        directory,
        replay_window=timedelta(hours=24),
    )
    body = body_of(push(ref="elsewhere"))
    delivery = WebhookDelivery({k.lower(): v for k, v in signed(body, secret).items()}, body)
    assert acceptor.accept("shop", delivery).outcome == "ignored"
    unsigned = WebhookDelivery({}, body)
    assert acceptor.accept("shop", unsigned).status == 401
    assert acceptor.accept("nothing", unsigned).status == 404
