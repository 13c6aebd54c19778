"""Checks of ``add_deploy_key``, ``list_deploy_keys`` and ``remove_deploy_key``, for providers that
have these hooks: a key is registered once, and can only read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
)
from deploycore.events import DeployKey, RegisteredKey
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    NO_DEPLOY_KEYS,
    NO_HOOK,
    ContractBase,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.deploy_keys import StoredKey
from deploycore.testing.faults import Change, Fault, answer, connection_reset
from deploycore.testing.scenarios import ONE, Arranged, ContractHost, DeployKeysHost

__all__ = ["DeployKeys"]

ADD, LIST, REMOVE, PAGE = (
    "add_deploy_key",
    "list_deploy_keys",
    "remove_deploy_key",
    "deploy_keys_page",
)
FIRST = DeployKey(
    public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO2xDhaXo7nXvzBqc1NjTrCzoAZbWz1vQ3hH8lUEEOHq",
    label="deploycore shop first",
)
SECOND = DeployKey(
    public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkl1cYH3x2n1LTWzF6sQ6s0yCwq9mV2rT5yq4g0g0gA",
    label="deploycore shop second",
)
MOST_KEYS = 101
"""More items than fit on a page of any host."""

REFUSALS = [
    pytest.param(answer(401, "no"), AuthenticationFailed, id="401"),
    pytest.param(answer(403, "no"), PermissionDenied, id="403"),
    pytest.param(answer(500, "no"), ProviderUnavailable, id="500"),
    pytest.param(connection_reset(), ProviderUnavailable, id="reset"),
]


class DeployKeys(ContractBase):
    """The SSH keys of a repository that may read it and nothing else."""

    @pytest.fixture
    def keys_host(self, plugin: Plugin, host: ContractHost) -> DeployKeysHost:
        """The sandbox, if it has deploy keys."""
        for hook in (ADD, LIST, REMOVE):
            if hook not in plugin.hooks:
                pytest.skip(NO_HOOK.format(hook=hook))
        if not isinstance(host, DeployKeysHost):
            pytest.skip(NO_DEPLOY_KEYS)
        return host

    def test_a_deploy_key_is_registered_once_and_may_only_read(
        self, host: ContractHost, keys_host: DeployKeysHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        made = provider.add_deploy_key(identity(shop), FIRST)
        assert made.is_of(FIRST), asked(ADD, "the result is the key that was registered")
        again = provider.add_deploy_key(identity(shop), FIRST)
        assert again.id == made.id, asked(ADD, "a key that the repository already has is returned")
        (stored,) = _stored(keys_host, shop)
        assert stored.text == FIRST.public_key, asked(ADD, "the host has the key")
        assert stored.label == FIRST.label, asked(ADD, "the host shows the label")
        assert stored.read_only, asked(ADD, "a key can only read")

    def test_deploy_keys_are_listed_and_removed_by_their_identifiers(
        self, host: ContractHost, keys_host: DeployKeysHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        repository = identity(shop)
        first, second = (provider.add_deploy_key(repository, key) for key in (FIRST, SECOND))
        listed = {key.id: key.public_key for key in provider.list_deploy_keys(repository)}
        wanted = {first.id: FIRST.public_key, second.id: SECOND.public_key}
        assert listed == wanted, asked(LIST, "each key is listed with its identifier")
        assert provider.remove_deploy_key(repository, first.id), asked(
            REMOVE, "it returns True if the key existed"
        )
        left = [key.text for key in _stored(keys_host, shop)]
        assert left == [SECOND.public_key], asked(REMOVE, "only this key is removed")
        gone = provider.remove_deploy_key(repository, first.id)
        assert not gone, asked(REMOVE, "it returns False, and raises no error, if there is none")

    def test_deploy_keys_of_later_pages_are_known(
        self, host: ContractHost, keys_host: DeployKeysHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        name = f"{shop.owner}/{shop.slug}"
        for number in range(MOST_KEYS):
            text = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{number:043d}"
            keys_host.deploy_keys.add(name, text, f"key {number}")
        provider.add_deploy_key(identity(shop), FIRST)
        listed = [key.public_key for key in provider.list_deploy_keys(identity(shop))]
        stored = [key.text for key in _stored(keys_host, shop)]
        assert sorted(listed) == sorted(stored), asked(LIST, "all items of all pages are listed")

    def test_deploy_keys_of_a_repository_that_is_not_there_are_not_found(
        self, host: ContractHost, keys_host: DeployKeysHost, provider: Provider
    ) -> None:
        (shop,) = host.arrange(ONE)
        nowhere = RepositoryId(owner=shop.owner, slug="no-such-repository")
        rule = "NotFound for a repository that does not exist"
        with must_raise(NotFound, ADD, rule):
            provider.add_deploy_key(nowhere, FIRST)
        with must_raise(NotFound, LIST, rule):
            _listed(provider, nowhere)

    @pytest.mark.parametrize(("change", "expected"), REFUSALS)
    def test_what_goes_wrong_with_deploy_keys_is_a_typed_error(
        self,
        host: ContractHost,
        keys_host: DeployKeysHost,
        provider: Provider,
        change: Change,
        expected: type[DeploycoreError],
    ) -> None:
        (shop,) = host.arrange(ONE)
        rule = f"{expected.__name__} for this response of the host"
        host.faults.add(Fault(change))
        with must_raise(expected, ADD, rule):
            provider.add_deploy_key(identity(shop), FIRST)
        with must_raise(expected, REMOVE, rule):
            provider.remove_deploy_key(identity(shop), "1")

    def test_the_page_of_deploy_keys_is_an_address_without_a_request(
        self, plugin: Plugin, host: ContractHost, provider: Provider
    ) -> None:
        if PAGE not in plugin.hooks:
            pytest.skip(NO_HOOK.format(hook=PAGE))
        (shop,) = host.arrange(ONE)
        host.faults.add(Fault(connection_reset()))
        page = provider.deploy_keys_page(identity(shop)) or ""
        assert page.startswith(("http://", "https://")), asked(
            PAGE, "it returns the address of a page"
        )
        assert shop.slug in page, asked(PAGE, "it returns the page of this repository")


def _stored(host: DeployKeysHost, shop: Arranged) -> Sequence[StoredKey]:
    return host.deploy_keys.of(f"{shop.owner}/{shop.slug}")


def _listed(provider: Provider, repository: RepositoryId) -> list[RegisteredKey]:
    return list(provider.list_deploy_keys(repository))
