"""Configurations, and the errors about invalid ones."""

from functools import partial

import pytest
from deploycore.applications.repository_address import read_repository
from deploycore.errors import ConfigurationError
from deploycore.models import RepositoryId
from deploycore.provider.core_fields import parse_fields
from deploycore.provider.recognition import repository_by
from deploycore.provider.registry import load_plugin
from pydantic import SecretStr

from deploycore_git import PlainGitProvider


def test_repositories_are_separated_by_spaces_commas_or_lines(config):
    given = config(repositories=" /acme/shop.git, acme/web\nteam/a/b.git acme/web ")
    assert given.repositories == "acme/shop.git acme/web team/a/b.git"
    assert given.repository_ids == (
        RepositoryId(owner="acme", slug="shop"),
        RepositoryId(owner="acme", slug="web"),
        RepositoryId(owner="team/a", slug="b"),
    )
    assert [given.path_of(each) for each in given.repository_ids] == given.repositories.split()
    assert given.path_of(RepositoryId(owner="acme", slug="ü")) == "acme/%C3%BC"


def test_a_path_of_one_segment_gets_an_underscore_as_owner(config):
    given = config(repositories="site.git _/real.git")
    site, real = given.repository_ids
    assert (str(site), str(real)) == ("_/site", "_/real")
    assert [given.path_of(each) for each in (site, real)] == ["site.git", "_/real.git"]
    assert given.path_of(RepositoryId(owner="_", slug="not listed")) == "not%20listed"
    with pytest.raises(ConfigurationError, match="not a valid repository name"):
        given.path_of(RepositoryId(owner="_", slug=".."))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name at least one"),
        (" , ", "name at least one"),
        ("acme/../shop", "not a path below the url"),
        ("acme//shop", "not a path below the url"),
        ("..", "not a path below the url"),
        (".git", "leave it out"),
        ("srv/shop/.git", "leave it out"),
        ("https://git.example.com/acme/shop", "leave the url out"),
        ("acme/shop?x", "leave the url out"),
        ("acme/shop acme/shop.git", "'acme/shop'; keep one of them"),
        ("shop.git _/shop", "'_/shop'; keep one of them"),
    ],
)
def test_an_invalid_path_is_rejected(config, text, said):
    with pytest.raises(ConfigurationError, match="repositories") as caught:
        config(repositories=text)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/srv",
        "git@git.example.com:srv",
        "ssh://git:hidden@git.example.com/srv",
        "ssh:///srv",
        "ssh://git@git.example.com:port/srv",
        "ssh://git@git.example.com/srv?x",
    ],
)
def test_mode_ssh_only_accepts_ssh_urls(config, url):
    with pytest.raises(ConfigurationError, match="url") as caught:
        config("ssh", url=url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("mode", ["anonymous", "basic", "bearer"])
def test_other_modes_only_accept_https(config, mode):
    for url in ("ssh://git@git.example.com/srv", "http://git.example.com"):
        with pytest.raises(ConfigurationError, match="url"):
            config(mode, url=url)


@pytest.mark.parametrize("branch", ["", "a b", "a..b", "/a", "a~1"])
def test_a_default_branch_must_be_allowed_by_git(config, branch):
    with pytest.raises(ConfigurationError, match="default_branch"):
        config(default_branch=branch)
    assert config(default_branch="refs/heads/trunk").default_branch == "trunk"


@pytest.mark.parametrize(
    ("mode", "field", "value"),
    [
        ("basic", "username", "a:b"),
        ("basic", "password", SecretStr(" ")),
        ("basic", "password", SecretStr("a\nb")),
        ("bearer", "token", SecretStr("a b")),
    ],
)
def test_impossible_credentials_are_rejected(config, mode, field, value):
    with pytest.raises(ConfigurationError, match=field):
        config(mode, **{field: value})


def test_mode_ssh_requires_a_key_or_an_agent(values):
    given = values("ssh", repositories="acme/shop")
    name = given.pop("name")
    with pytest.raises(ConfigurationError, match="mode ssh requires") as caught:
        parse_fields(PlainGitProvider.Config, given, {}, name=name, kind="git")
    assert "--ssh-private-key-file PATH" in caught.value.hint
    parsed = parse_fields(
        PlainGitProvider.Config, {**given, "ssh_agent": "true"}, {}, name=name, kind="git"
    )
    assert parsed.core.uses_ssh


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://git.example.com/git/site.git", "_/site"),
        ("https://git.example.com/site", "_/site"),
        ("https://git.example.com/git/acme/shop.git", "acme/shop"),
        ("git@git.example.com:site.git", "_/site"),
    ],
)
def test_a_repository_address_without_an_owner_is_parsed(address, name):
    by_host = partial(repository_by, load_plugin("git"))
    found = read_repository(address, lambda: ["https://git.example.com/git"], by_host)
    assert str(found) == name


def test_the_host_of_an_ssh_url_identifies_the_provider(config):
    assert config("ssh").api_base_url == "https://git.example.com"
    assert config("ssh", url="ssh://[::1]:22/srv").api_base_url == "https://[::1]"
    assert config("ssh").account == "git"
