"""Mode ``deploy-key``: where it clones from, what it can do without the API, and what it refuses.

What all kinds share is tested in ``tests/test_refs_only.py``.
"""

from __future__ import annotations

import pytest
from deploycore.configuration import parse_config
from deploycore.errors import ConfigurationError
from deploycore.events import WebhookDelivery
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin
from deploycore.testing.webhooks import hmac_sha256
from pydantic import SecretStr

KIND = "bitbucket-datacenter"
SHOP = RepositoryId(owner="acme", slug="shop")
SECRET = SecretStr("made-up-secret")
BODY = b"{}"


def config_of(**more):
    plugin = load_plugin(KIND)
    given = {
        "name": "work",
        "mode": "deploy-key",
        "url": "https://git.example.com/bitbucket",
        "repositories": "acme/shop",
    }
    return parse_config(plugin.config_type, {**given, **more}, kind=KIND)


@pytest.fixture
def provider():
    plugin, core = load_plugin(KIND), CoreFields(ssh_agent=True)
    with Provider(plugin, config_of(), core=core, observers=Observers()) as opened:
        yield opened


def test_it_clones_over_ssh_from_the_host_whose_keys_are_known(provider):
    address = provider.ssh_clone_url(SHOP)
    assert address.url == "ssh://git@git.example.com:7999/acme/shop.git"
    assert address.host_keys == ()  # each server has its own
    assert provider.clone_url(SHOP).url == address.url


def test_the_ssh_server_can_be_elsewhere():
    address = config_of(ssh_url="ssh://git@git.example.com:2222").ssh_address_of(SHOP)
    assert address.url == "ssh://git@git.example.com:2222/acme/shop.git"


def test_the_pages_of_a_repository_are_known(provider):
    assert provider.deploy_keys_page(SHOP) == (
        "https://git.example.com/bitbucket/plugins/servlet/ssh/projects/acme/repos/shop/keys"
    )
    assert config_of().page_of(SHOP) == "https://git.example.com/bitbucket/projects/acme/repos/shop"


@pytest.mark.parametrize("secret", [SECRET, SecretStr("another")], ids=["right", "wrong"])
def test_deliveries_are_verified_without_the_api(provider, secret):
    headers = {"x-hub-signature": f"sha256={hmac_sha256(SECRET, BODY)}"}
    delivery = WebhookDelivery(headers=headers, body=BODY)
    assert provider.verify_webhook(delivery, (secret,)) is (secret is SECRET)


@pytest.mark.parametrize(
    "hook",
    ["add_deploy_key", "list_pull_requests", "list_owners", "register_webhook", "report_status"],
)
def test_what_needs_the_api_is_not_supported(provider, hook):
    assert not provider.supports(hook)


@pytest.mark.parametrize("field", ["token", "owner", "workspace", "project", "namespace"])
def test_fields_of_other_modes_are_refused(field):
    with pytest.raises(ConfigurationError, match=field):
        config_of(**{field: "x"})
