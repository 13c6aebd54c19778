"""Webhooks on the sandbox: registered, rotated, delivered and removed."""

from __future__ import annotations

import pytest
from deploycore.errors import ProviderError
from deploycore.models import RepositoryId
from deploycore.testing.webhooks import Listener
from pydantic import SecretStr

SHOP = RepositoryId(owner="WEB", slug="shop")
FIRST, SECOND = SecretStr("first-secret"), SecretStr("second-secret")


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


@pytest.fixture
def shop(sandbox):
    sandbox.publish("WEB", "shop", "main", {"page": b"zero"}, "Zero")
    return sandbox.existing("WEB", "shop")


@pytest.fixture
def deliveries_to(sandbox, listener):
    """Returns the deliveries since the last call, as a provider parses them."""

    def read(provider, secret=FIRST):
        assert sandbox.webhooks.wait()
        come, listener.received[:] = list(listener.received), []
        assert all(provider.verify_webhook(each, (secret,)) for each in come)
        return [event for each in come for event in provider.parse_webhook(each).events]

    return read


@pytest.mark.parametrize("times", ["milliseconds", "iso"])
def test_pushes_and_pull_requests_are_delivered(
    sandbox, shop, on_sandbox, mode, listener, deliveries_to, times
):
    sandbox.times = times
    provider = on_sandbox(mode)
    provider.register_webhook(SHOP, listener.address, FIRST)
    commit = sandbox.publish("WEB", "shop", "topic", {"page": b"one"}, "One")
    row = sandbox.open_pull_request("WEB", "shop", "topic", "main", title="One")
    sandbox.edit_pull_request(row, title="Two")
    newer = sandbox.publish("WEB", "shop", "topic", {"page": b"two"}, "Two")
    sandbox.merge_pull_request(row)
    push, *others = deliveries_to(provider)
    assert push.repository == SHOP
    assert push.repository_host_id == str(shop.number)
    assert [(each.name, each.before, each.after) for each in push.changes] == [
        ("topic", None, commit)
    ]
    requests = [each for each in others if hasattr(each, "action")]
    assert [(each.action, each.title, each.commit) for each in requests] == [
        ("opened", "One", commit),
        ("updated", "Two", commit),
        ("updated", "Two", newer),
        ("merged", "Two", newer),
    ]


def test_a_pull_request_from_a_fork_names_it(sandbox, shop, on_sandbox, listener, deliveries_to):
    provider = on_sandbox()
    provider.register_webhook(SHOP, listener.address, FIRST)
    fork = sandbox.fork("WEB", "shop", into="~ada")
    sandbox.publish("~ada", "shop", "topic", {"page": b"fork"}, "Fork")
    row = sandbox.open_pull_request("WEB", "shop", "topic", "main", source=fork)
    sandbox.close_pull_request(row)
    opened, declined = deliveries_to(provider)
    assert opened.source == RepositoryId(owner="~ada", slug="shop")
    assert opened.is_from_fork
    assert declined.action == "declined"


def test_registering_again_rotates_the_secret(sandbox, shop, on_sandbox, listener, deliveries_to):
    provider = on_sandbox()
    made = provider.register_webhook(SHOP, listener.address, FIRST)
    assert provider.register_webhook(SHOP, listener.address, SECOND) == made
    assert list(provider.list_webhooks(SHOP)) == [made]
    sandbox.publish("WEB", "shop", "main", {"page": b"one"}, "One")
    assert len(deliveries_to(provider, SECOND)) == 1
    provider.remove_webhook(SHOP, made.id)
    sandbox.publish("WEB", "shop", "main", {"page": b"two"}, "Two")
    assert deliveries_to(provider, SECOND) == []


def test_a_test_delivery_is_signed_and_contains_no_event(
    sandbox, shop, on_sandbox, listener, deliveries_to
):
    provider = on_sandbox()
    provider.register_webhook(SHOP, listener.address, FIRST)
    (hook,) = sandbox.webhooks.of(shop.full_name)
    sandbox.ping(hook)
    assert sandbox.webhooks.wait()
    assert listener.received[0].body == b'{"test": true}'
    assert deliveries_to(provider) == []


def test_an_address_rejected_by_the_server_is_reported(shop, on_sandbox):
    with pytest.raises(ProviderError, match="valid HTTP or HTTPS URL"):
        on_sandbox().register_webhook(SHOP, "ftp://deploy.example.com/1", FIRST)
