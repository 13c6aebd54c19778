"""Addresses of repositories over SSH, and the keys that hosts publish."""

from __future__ import annotations

import shlex

import pytest
from deploycore_bitbucket.ssh import ssh_address as bitbucket
from deploycore_gitea.ssh import ssh_address as gitea
from deploycore_github.ssh import ssh_address as github
from deploycore_gitlab.ssh import ssh_address as gitlab

from deploycore.models import CloneLink, Owner, Repository, RepositoryId, SshAddress
from deploycore.ssh.known_hosts import KnownHosts
from deploycore.ssh.server import SshServer

SHOP = RepositoryId(owner="acme", slug="shop")


@pytest.mark.parametrize(
    ("url", "user", "host", "port", "path"),
    [
        ("ssh://git@host.example/acme/shop.git", "git", "host.example", 22, "/acme/shop.git"),
        ("ssh://host.example:2222/~ada/a%20b", "git", "host.example", 2222, "~ada/a b"),
        ("ssh://ada@[::1]:22/r", "ada", "::1", 22, "/r"),
    ],
)
def test_an_ssh_url_is_parsed_as_in_git(url, user, host, port, path):
    server = SshServer.of(url)
    assert (server.user, server.host, server.port, server.path) == (user, host, port, path)


@pytest.mark.parametrize("path", ["it's.git", "a b!$(id)`id`;\\.git", "'\"\\''"])
def test_a_path_is_quoted_for_the_servers_shell(path):
    server = SshServer("", "git", "host", 22, path)
    # In git's form, ! is quoted for csh: a plain shell reads both alike.
    assert shlex.split(server.command("git-upload-pack")) == ["git-upload-pack", path]


@pytest.mark.parametrize(
    "url",
    [
        "https://h/r",
        "ssh://h/",
        "ssh://h",
        "ssh://git:x@h/r",
        "ssh://h/a%00b",
        "ssh://h:x/r",
        "ssh://h:0/r",
        "ssh://h:70000/r",
        "ssh://h/%ff",
    ],
)
def test_an_invalid_address_is_rejected(url):
    with pytest.raises(ValueError, match=r".+"):
        SshServer.of(url)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("git@host.example:acme/shop.git", "ssh://git@host.example/acme/shop.git"),
        ("host.example:/acme/a b.git", None),
        ("host.example:~ada/shop.git", "ssh://git@host.example/~ada/shop.git"),
        ("ssh://git@host.example:2222/r.git", "ssh://git@host.example:2222/r.git"),
        ("https://host.example/r.git", None),
    ],
)
def test_addresses_are_parsed_as_git_hosts_list_them(text, url):
    if url is None:
        with pytest.raises(ValueError, match="ssh"):
            SshAddress.parse(text)
    else:
        assert SshAddress.parse(text, ["host key"]) == SshAddress(url=url, host_keys=("host key",))


def never(repository):
    raise AssertionError("the host is asked")


@pytest.mark.parametrize(
    ("address", "host", "kinds"),
    [
        (bitbucket("https://bitbucket.org", SHOP), "bitbucket.org", 3),
        (github("https://github.com", SHOP), "github.com", 3),
        (gitlab("https://gitlab.com", SHOP, never), "gitlab.com", 3),
        (gitea("https://codeberg.org", SHOP, never), "codeberg.org", 1),
    ],
)
def test_a_plugin_includes_published_host_keys(address, host, kinds):
    assert address.url == f"ssh://git@{host}/acme/shop.git"
    assert len(KnownHosts(address.host_keys).trusted(host)) == kinds


@pytest.mark.parametrize("ssh_address", [gitlab, gitea])
def test_for_other_servers_the_address_is_requested(ssh_address):
    links = (
        CloneLink(name="https", href="https://git.example/acme/shop.git"),
        CloneLink(name="ssh", href="ssh://git@ssh.git.example:2222/acme/shop.git"),
    )

    def describe(repository):
        owner = Owner(username=repository.owner)
        return Repository(name="x", slug="shop", url="x", owner=owner, clone_links=found)

    found = links
    assert ssh_address("https://git.example/x", SHOP, describe) == SshAddress(url=links[1].href)
    found = links[:1]
    derived = SshAddress(url="ssh://git@git.example/acme/shop.git")
    assert ssh_address("https://git.example", SHOP, describe) == derived


@pytest.mark.parametrize("ssh_address", [bitbucket, github])
def test_another_host_has_no_published_keys(ssh_address):
    found = ssh_address("https://[::1]:8443", SHOP)
    assert found == SshAddress(url="ssh://git@[::1]/acme/shop.git")
