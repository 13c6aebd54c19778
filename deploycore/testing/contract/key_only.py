"""Checks of a mode ``deploy-key``, which uses only git with an SSH key, without the host's API.

They need no host, because no request is sent. The tests of a plugin inherit :class:`KeyOnlyMode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.errors import ConfigurationError
from deploycore.events import WebhookDelivery
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin

__all__ = ["KeyOnlyMode"]

SHOP = RepositoryId(owner="acme", slug="shop")
ELSEWHERE = "ssh://git@git.example.com:2222"
NEEDS_THE_API = (
    "add_deploy_key",
    "list_owners",
    "list_pull_requests",
    "register_webhook",
    "report_status",
)
FIELDS_OF_OTHER_MODES = ("namespace", "owner", "project", "token", "workspace")


class KeyOnlyMode:
    """The checks of a plugin's mode ``deploy-key``.

    Attributes:
        kind: The name of the plugin's entry point.
        settings: Fields that the mode needs, besides ``repositories``.
        ssh_url: The SSH URL of the repository ``acme/shop``.
        published: The host whose keys the plugin knows; empty if each server has its own.
        page: The address of the page of ``acme/shop``.
        keys_page: The address of the page with its deploy keys.
    """

    kind: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, str]] = {}
    ssh_url: ClassVar[str] = ""
    published: ClassVar[str] = ""
    page: ClassVar[str] = ""
    keys_page: ClassVar[str] = ""
    secret: ClassVar[SecretStr] = SecretStr("made-up-secret")
    body: ClassVar[bytes] = b"{}"

    def signed(self) -> Mapping[str, str]:
        """Return the headers with which the host signs a delivery of ``body`` with ``secret``."""
        raise NotImplementedError

    def config(self, **more: str) -> Any:
        """Create a configuration of the mode."""
        given = {"name": "work", "mode": "deploy-key", "repositories": str(SHOP), **self.settings}
        return parse_config(load_plugin(self.kind).config_type, {**given, **more}, kind=self.kind)

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """A provider of the mode, with the user's SSH agent."""
        core, plugin = CoreFields(ssh_agent=True), load_plugin(self.kind)
        with Provider(plugin, self.config(), core=core, observers=Observers()) as opened:
            yield opened

    def test_it_clones_over_ssh_from_the_host_whose_keys_are_known(
        self, provider: Provider
    ) -> None:
        address = provider.ssh_clone_url(SHOP)
        assert address.url == self.ssh_url
        hosts = {line.split()[0] for line in address.host_keys}
        assert hosts == ({self.published} if self.published else set())
        assert provider.clone_url(SHOP).url == address.url

    def test_the_ssh_server_can_be_elsewhere(self) -> None:
        address = self.config(ssh_url=ELSEWHERE).ssh_address_of(SHOP)
        assert address.url == f"{ELSEWHERE}/acme/shop.git"

    def test_the_pages_of_a_repository_are_known(self, provider: Provider) -> None:
        assert provider.deploy_keys_page(SHOP) == self.keys_page
        assert self.config().page_of(SHOP) == self.page

    def test_deliveries_are_verified_without_the_api(self, provider: Provider) -> None:
        delivery = WebhookDelivery(headers=self.signed(), body=self.body)
        assert provider.verify_webhook(delivery, (self.secret,))
        assert not provider.verify_webhook(delivery, (SecretStr("another"),))

    def test_what_needs_the_api_is_not_supported(self, provider: Provider) -> None:
        assert [hook for hook in NEEDS_THE_API if provider.supports(hook)] == []

    @pytest.mark.parametrize("field", FIELDS_OF_OTHER_MODES)
    def test_fields_of_other_modes_are_refused(self, field: str) -> None:
        with pytest.raises(ConfigurationError, match=field):
            self.config(**{field: "x"})
