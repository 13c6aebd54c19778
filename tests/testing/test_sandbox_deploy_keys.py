"""Deploy keys of each plugin with its sandbox: permissions and errors."""

from __future__ import annotations

import pytest
from deploycore_bitbucket import deploy_keys as bitbucket
from deploycore_bitbucket.sandbox import Sandbox
from deploycore_bitbucket_datacenter import deploy_keys as datacenter
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox
from deploycore_gitea import deploy_keys as gitea
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github import deploy_keys as github
from deploycore_github.sandbox import GitHubSandbox
from deploycore_gitlab import deploy_keys as gitlab
from deploycore_gitlab.sandbox import GitLabSandbox

from deploycore.configuration import parse_config
from deploycore.errors import PermissionDenied, ProviderError
from deploycore.provider import Provider
from deploycore.provider.registry import load_plugin
from deploycore.testing.contract.base import identity
from deploycore.testing.contract.deploy_keys import FIRST
from deploycore.testing.scenarios import ONE, Access

# The kind, the sandbox, a mode with scopes, and what a refusal names.
HOSTS = {
    "bitbucket": (Sandbox, "api-token", "admin:repository:bitbucket", bitbucket),
    "bitbucket-datacenter": (
        BitbucketDataCenterSandbox,
        "personal-token",
        "Repository admin",
        datacenter,
    ),
    "github": (GitHubSandbox, "token", "Administration: Read and write", github),
    "gitlab": (GitLabSandbox, "access-token", "scope api", gitlab),
    "gitea": (GiteaSandbox, "token", "write:repository", gitea),
}


@pytest.fixture(params=HOSTS, ids=str)
def kind(request):
    return request.param


@pytest.fixture
def sandbox(kind):
    with HOSTS[kind][0]() as running:
        yield running


@pytest.fixture
def connect(kind, sandbox):
    """Opens a provider with credentials of a mode."""
    opened = []

    def connect(mode, access=Access.FULL):
        values = {"name": "work", **sandbox.settings(sandbox.add_credential(mode, access))}
        plugin = load_plugin(kind)
        opened.append(Provider(plugin, parse_config(plugin.config_type, values, kind=kind)))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def test_a_missing_scope_is_named_and_a_user_can_add_the_key(kind, sandbox, connect):
    _, mode, named, _ = HOSTS[kind]
    (shop,) = sandbox.arrange(ONE)
    provider = connect(mode, Access.UNSCOPED)
    with pytest.raises(PermissionDenied) as caught:
        provider.add_deploy_key(identity(shop), FIRST)
    assert named in f"{caught.value.message} {caught.value.hint}"
    assert shop.slug in provider.deploy_keys_page(identity(shop))


def test_an_existing_key_is_rejected_as_the_host_does(kind, sandbox, connect, monkeypatch):
    _, mode, _, module = HOSTS[kind]
    (shop,) = sandbox.arrange(ONE)
    provider = connect(mode)
    made = provider.add_deploy_key(identity(shop), FIRST)
    monkeypatch.setattr(module, "listed", lambda http, repository: iter(()))
    if kind == "gitlab":  # which answers with the key
        assert provider.add_deploy_key(identity(shop), FIRST).id == made.id
        return
    with pytest.raises(ProviderError) as caught:
        provider.add_deploy_key(identity(shop), FIRST)
    statuses = {"bitbucket": 400, "bitbucket-datacenter": 409}
    assert f"{caught.value.details.get('status')}" in (f"{statuses.get(kind, 422)}", "None")
    assert len(sandbox.deploy_keys.of(f"{shop.owner}/{shop.slug}")) == 1


@pytest.mark.parametrize("kind", ["bitbucket"], indirect=True)
def test_bitbucket_access_tokens_cannot_manage_deploy_keys(sandbox, connect):
    (shop,) = sandbox.arrange(ONE)
    with pytest.raises(PermissionDenied, match="Access tokens cannot add a deploy key") as caught:
        connect("access-token").add_deploy_key(identity(shop), FIRST)
    assert "Use an API token (mode api-token)" in caught.value.hint
    assert connect("api-token").add_deploy_key(identity(shop), FIRST).id
