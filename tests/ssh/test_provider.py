"""A provider that clones over SSH, as the core opens it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.deploy import fetch_hint
from deploycore.errors import ConfigurationError, KeyRefused
from deploycore.models import CloneUrl, RepositoryId, SshCredential
from deploycore.provider import open_provider
from tests.distributions import GOOD_PROVIDER
from tests.ssh.test_known_hosts import ONE

SHOP = RepositoryId(owner="ada", slug="shop")
LINE = f"acme.example {ONE.text}"
KEY = SecretStr("-----BEGIN OPENSSH PRIVATE KEY-----\nmade-up-line-of-the-test\n")
HOOK = """
    @hookimpl
    def ssh_clone_url(self, repository):
        from deploycore.models import SshAddress
        return SshAddress(url=f"ssh://git@acme.example/{repository}.git")
"""


def values(**more):
    return {"name": "work", "token": SecretStr("made-up"), **more}


def test_with_a_key_the_ssh_address_is_used(install_distribution):
    install_distribution("deploycore-acme", "acme", GOOD_PROVIDER + HOOK)
    with open_provider("acme", values(ssh_private_key=KEY, ssh_host_keys=LINE)) as provider:
        found = provider.clone_url(SHOP)
        credential = SshCredential(private_key=KEY, host_keys=(LINE,))
        url = "ssh://git@acme.example/ada/shop.git"
        assert found == CloneUrl(url=url, credential=credential)
        assert KEY in provider.secrets
        assert provider.renew_credential(SHOP)(credential) == credential
    with open_provider("acme", values()) as provider:
        assert provider.clone_url(SHOP).url == "https://acme.example/ada/shop.git"


def test_a_plugin_without_the_hook_is_reported_with_the_next_step(install_distribution):
    install_distribution("deploycore-acme", "acme", GOOD_PROVIDER)
    with (
        open_provider("acme", values(ssh_agent=True)) as provider,
        pytest.raises(ConfigurationError, match="do not support ssh_clone_url") as caught,
    ):
        provider.clone_url(SHOP)
    assert "--unset ssh-private-key" in caught.value.hint


def test_a_rejected_application_key_does_not_change_the_provider(install_distribution, monkeypatch):
    """Its own credentials were not rejected, so no former ones are taken for them."""
    install_distribution("deploycore-acme", "acme", GOOD_PROVIDER + HOOK)
    with open_provider("acme", values()) as provider:
        connection = provider._connection
        monkeypatch.setattr(connection, "use_others", lambda replaced: pytest.fail("asked"))
        provider.use_ssh_key(KEY, replace_with="deploycore key rotate shop")
        credential = SshCredential(private_key=KEY)
        assert provider.renew_credential(SHOP)(credential) == credential
        refused = KeyRefused("The key is not accepted.", hint="Add it.", url="ssh://git@h/a")
        fetch_hint(provider, refused)
    assert refused.hint == "Add it. Or replace the key: deploycore key rotate shop"
