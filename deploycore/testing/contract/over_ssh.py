"""Checks of the ways to sign in over SSH, against a real SSH server that has the sandbox's
repositories: the provider lists and clones with a deploy key, and with no other key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploycore.configuration import parse_config
from deploycore.errors import GitError, ProviderError
from deploycore.git import export
from deploycore.provider import Provider
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin
from deploycore.ssh.making import make_key_pair
from deploycore.testing.contract.base import (
    NO_ASYNCSSH,
    NO_DEPLOY_KEYS,
    PATIENT,
    PROVIDER_NAME,
    ContractBase,
    Leaks,
    asked,
    identity,
    must_raise,
)
from deploycore.testing.contract.cloning import SETTINGS
from deploycore.testing.scenarios import ONE, Arranged, ContractHost, DeployKeysHost

if TYPE_CHECKING:
    from deploycore.testing.git_over_ssh import GitOverSsh

__all__ = ["OverSsh"]


class OverSsh(ContractBase):
    """The modes of ``modes_over_ssh``."""

    @pytest.fixture
    def ssh_server(self, host: ContractHost, ssh_mode: str) -> Iterator[GitOverSsh]:
        """An SSH server for the repositories of the sandbox."""
        pytest.importorskip("asyncssh", reason=NO_ASYNCSSH)
        if not isinstance(host, DeployKeysHost):
            pytest.skip(NO_DEPLOY_KEYS)
        from deploycore.testing.git_over_ssh import GitOverSsh

        with GitOverSsh(host) as running:  # type: ignore[arg-type]
            yield running

    def test_a_deploy_key_lists_and_clones(
        self,
        plugin: Plugin,
        host: ContractHost,
        ssh_server: GitOverSsh,
        ssh_mode: str,
        tmp_path: Path,
    ) -> None:
        (shop,) = host.arrange(ONE)
        with self._opened(plugin, host, ssh_server, ssh_mode, shop, registered=True) as provider:
            provider.authenticate()
            found = {row.name: row.commit for row in provider.list_branches(identity(shop))}
            assert found == dict(shop.branches), asked(
                "list_branches", "over SSH, the git server's branches are listed with their commits"
            )
            listed = [(row.slug, row.default_branch) for row in provider.list_repos()]
            assert listed == [(shop.slug, shop.default_branch)], asked(
                "list_repos",
                "over SSH, the configured repositories are listed with their default branches",
            )
            source = provider.clone_url(identity(shop))
            target = tmp_path / "clone"
            done = export(source, shop.default_branch, target, settings=SETTINGS)
        assert done.commit == shop.branches[shop.default_branch], asked(
            "ssh_clone_url", "a clone with the deploy key has the commit that list_branches returns"
        )
        assert len(ssh_server.commands) >= 3, asked(
            "ssh_clone_url", "git connects to the SSH server"
        )

    def test_a_key_that_is_not_registered_reads_nothing(
        self,
        plugin: Plugin,
        host: ContractHost,
        ssh_server: GitOverSsh,
        ssh_mode: str,
        tmp_path: Path,
    ) -> None:
        (shop,) = host.arrange(ONE)
        with self._opened(plugin, host, ssh_server, ssh_mode, shop, registered=False) as provider:
            leaks = Leaks([*host.secrets, *provider.secrets])
            rule = "a typed error if the SSH server rejects the key"
            with must_raise(ProviderError, "authenticate", rule) as caught:
                provider.authenticate()
            assert caught[0].hint, asked("errors", "the hint says what to do about the key")
            source = provider.clone_url(identity(shop))
            with must_raise(GitError, "ssh_clone_url", rule):
                export(source, shop.default_branch, tmp_path / "clone", settings=SETTINGS)
        assert not leaks.within(str(caught[0].as_dict())), asked(
            "secrets", "no error contains a secret"
        )

    @contextmanager
    def _opened(
        self,
        plugin: Plugin,
        host: ContractHost,
        server: GitOverSsh,
        mode: str,
        shop: Arranged,
        *,
        registered: bool,
    ) -> Iterator[Provider]:
        private, public = make_key_pair("ed25519")
        if registered:
            assert isinstance(host, DeployKeysHost)
            host.deploy_keys.add(str(identity(shop)), public, "deploycore contract")
        given = {"name": PROVIDER_NAME, **self.ssh_settings(mode, server.url, str(identity(shop)))}
        if "url" not in given and "url" in _fields_of(plugin):
            given["url"] = host.url
        config = parse_config(plugin.config_type, given, kind=self.kind)
        core = CoreFields(ssh_private_key=private, ssh_host_keys=server.host_key)
        made = Provider(plugin, config, core=core, http_settings=PATIENT, observers=Observers())
        with made as opened:
            yield opened


def _fields_of(plugin: Plugin) -> set[str]:
    from deploycore.configuration import config_fields

    return {field.name for field in config_fields(plugin.config_type)}
