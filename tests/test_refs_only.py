"""A mode with an SSH key and without an API: its git requests, and its errors about missing
features."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    PluginError,
)
from deploycore.git_reader import GitRef
from deploycore.hookspecs import hookimpl
from deploycore.models import (
    BranchQuery,
    CloneUrl,
    RepositoryId,
    RepositoryQuery,
    SshAddress,
    TagQuery,
)
from deploycore.provider import Provider
from deploycore.provider.core_fields import CoreFields, parse_fields
from deploycore.provider.observers import Observers
from deploycore.provider.registry import check_provider_class, load_plugin
from deploycore.refs_only import RefsOnlyConfig, RefsOnlyProvider

A, B = "a" * 40, "b" * 40
SHOP = RepositoryId(owner="acme", slug="shop")


class Config(RefsOnlyConfig):
    @property
    def api_base_url(self):
        return "https://git.example.com"


class Nested(Config):
    HAS_NESTED_OWNERS = True


class FakeReader:
    """Has the refs of some repositories, by the URL that is asked for."""

    def __init__(self, known):
        self.known, self.asked = known, []

    def _of(self, source):
        assert isinstance(source, SshAddress)
        self.asked.append(source.url)
        found = self.known.get(source.url, NotFound("The server refuses.", hint="?"))
        if isinstance(found, Exception):
            raise found
        return found

    def refs(self, source, *, prefix="refs/heads/"):
        for name, commit in self._of(source).items():
            if name.startswith(prefix):
                yield GitRef(name=name, commit=commit)

    def default_branch(self, source):
        return "main" if self._of(source) else None


REFS = {
    "refs/heads/main": A,
    "refs/heads/main-2": B,
    "refs/tags/v1": A,
    "refs/tags/v1.1": B,
}


@pytest.fixture
def git():
    base = "ssh://git@git.example.com"
    return FakeReader({f"{base}/acme/shop.git": REFS, f"{base}/acme/empty.git": {}})


def config_of(repositories="acme/shop acme/empty", type_=Config, **more):
    values = {"name": "work", "mode": "deploy-key", "repositories": repositories, **more}
    return parse_config(type_, values, kind="acme")


@pytest.fixture
def opened(git):
    def make(*given, **more):
        return RefsOnlyProvider(config_of(*given, **more), None, git)

    return make


def test_access_to_the_first_repository_verifies_the_key(opened, git):
    assert opened().authenticate().username == "acme"
    assert git.asked == ["ssh://git@git.example.com/acme/shop.git"]


def test_the_configured_repositories_are_listed(opened, git):
    provider = opened("acme/empty, /acme/shop.git acme/shop")
    listing = provider.list_repos(RepositoryQuery())
    assert git.asked == []
    empty, shop = listing
    assert (empty.slug, empty.default_branch) == ("empty", None)
    assert (shop.slug, shop.default_branch, shop.owner.username) == ("shop", "main", "acme")
    assert shop.url == "https://git.example.com/acme/shop"
    assert [link.href for link in shop.clone_links] == ["ssh://git@git.example.com/acme/shop.git"]
    named = provider.list_repos(RepositoryQuery(owner="Acme", name_contains="SHO"))
    assert [each.slug for each in named] == ["shop"]


def test_branches_and_tags_are_listed_and_found_by_their_full_name(opened):
    provider = opened()
    found = {each.name: each.commit for each in provider.list_branches(SHOP, BranchQuery())}
    assert found == {"main": A, "main-2": B}
    [branch] = provider.list_branches(SHOP, BranchQuery(name="main"))
    assert (branch.name, branch.commit) == ("main", A)
    assert list(provider.list_branches(SHOP, BranchQuery(name="other"))) == []
    assert [each.name for each in provider.list_tags(SHOP, TagQuery())] == ["v1", "v1.1"]
    assert [each.commit for each in provider.list_tags(SHOP, TagQuery(name="v1.1"))] == [B]


def test_a_configured_ssh_address_is_used(opened, git):
    git.known = {"ssh://deploy@git.example.com:2222/srv/acme/shop.git": REFS}
    provider = opened(ssh_url="ssh://deploy@git.example.com:2222/srv/")
    assert provider.authenticate().username == "acme"
    assert provider.ssh_clone_url(SHOP).url in git.known


def test_a_missing_repository_is_reported_after_the_others(opened):
    listing = opened("acme/gone acme/shop").list_repos(RepositoryQuery())
    assert next(listing).slug == "shop"
    with pytest.raises(NotFound, match="acme/gone was not found, or the SSH key") as caught:
        next(listing)
    assert "deploycore provider edit work --repositories" in caught.value.hint


@pytest.mark.parametrize("error", [AuthenticationFailed, PermissionDenied])
def test_a_rejected_key_is_reported_with_the_repository(opened, git, error):
    git.known = {"ssh://git@git.example.com/acme/shop.git": error("The server refuses.", hint="?")}
    with pytest.raises(error) as caught:
        opened().authenticate()
    assert "is a deploy key of acme/shop" in caught.value.hint
    assert caught.value.details["repository"] == "acme/shop"


def test_an_owner_without_repositories_is_unknown(opened):
    with pytest.raises(NotFound, match="no repository of 'ada'") as caught:
        opened().list_repos(RepositoryQuery(owner="ada"))
    assert "--repositories 'acme/shop acme/empty …'" in caught.value.hint


def test_cloning_requires_the_key(opened):
    with pytest.raises(ConfigurationError, match="only over SSH") as caught:
        opened().clone_url(SHOP)
    assert "deploycore provider edit work --ssh-private-key-file PATH" in caught.value.hint


def test_the_mode_cannot_be_used_if_git_clones_over_https():
    class OverHttps(Config):
        def source_of(self, repository):
            return CloneUrl(url=self.page_of(repository))

    provider = RefsOnlyProvider(config_of(type_=OverHttps), None, None)
    assert provider.clone_url(SHOP).url == "https://git.example.com/acme/shop"
    with pytest.raises(ConfigurationError, match="in mode deploy-key git clones over HTTPS"):
        provider.ssh_clone_url(SHOP)


@pytest.mark.parametrize(
    "text", [" , ", "shop", "acme/web/shop", "acme/../shop", "https://git.example.com/acme/shop"]
)
def test_an_invalid_repository_is_rejected(text):
    with pytest.raises(ConfigurationError, match="repositories: "):
        config_of(text)


def test_an_owner_can_be_nested_if_the_host_supports_it():
    [found] = config_of("acme/web/shop.git", Nested).repository_ids
    assert (found.owner, found.slug) == ("acme/web", "shop")


@pytest.mark.parametrize(
    "url", ["https://git.example.com", "git@git.example.com", "ssh://h:x", "ssh://a:pw@h/ s"]
)
def test_an_invalid_ssh_address_is_rejected_without_its_password(url):
    with pytest.raises(ConfigurationError, match="ssh_url: ") as caught:
        config_of(ssh_url=url)
    assert "pw" not in str(caught.value).replace("password", "")


def test_the_mode_requires_a_key_or_an_agent():
    given = {"mode": "deploy-key", "repositories": "acme/shop"}
    with pytest.raises(ConfigurationError, match="mode deploy-key requires") as caught:
        parse_fields(Config, given, {}, name="work", kind="acme")
    assert "--ssh-private-key-file PATH" in caught.value.hint
    assert parse_fields(
        Config, {**given, "ssh_agent": "true"}, {}, name="work", kind="acme"
    ).core.uses_ssh


def test_a_provider_in_this_mode_has_no_other_hooks_and_reports_it():
    plugin = load_plugin("gitea")
    given = {"mode": "deploy-key", "repositories": "acme/shop", "url": "https://git.example.com"}
    config = parse_config(plugin.config_type, {"name": "work", **given}, kind="gitea")
    core = CoreFields(ssh_agent=True)
    with Provider(plugin, config, core=core, observers=Observers()) as provider:
        assert provider.supports("parse_webhook")
        assert not provider.supports("report_status")
        assert provider.clone_url(SHOP).url == "ssh://git@git.example.com/acme/shop.git"
        with pytest.raises(ConfigurationError, match="gitea in mode deploy-key do") as caught:
            provider.register_webhook(SHOP, "https://deploy.example.com", SecretStr("x"))
        assert "--by-hand" in caught.value.hint
        with pytest.raises(ConfigurationError, match="do not support list_pull_requests") as caught:
            next(iter(provider.list_pull_requests(SHOP)))
        assert "deploycore provider add --kind gitea --help" in caught.value.hint


def test_other_modes_use_the_class_of_the_plugin():
    plugin = load_plugin("gitea")
    given = {"mode": "token", "token": "x", "owner": "acme", "url": "https://git.example.com"}
    config = parse_config(plugin.config_type, {"name": "work", **given}, kind="gitea")
    assert plugin.for_config(config) is plugin


def test_an_invalid_class_of_a_mode_is_a_plugin_error():
    class Faulty(RefsOnlyProvider):
        @hookimpl
        def parse_webhook(self, request):
            """With a parameter that the contract does not have."""

    class Whole(RefsOnlyProvider):
        CLASSES_OF_MODES = (Faulty,)

    with pytest.raises(PluginError, match=r"Faulty.*parse_webhook\(self, request\) should be"):
        check_provider_class(Whole, plugin="acme 1.0")


def test_a_class_of_a_mode_uses_a_configuration_of_the_plugin():
    class Unused(RefsOnlyProvider):
        Config = Nested

    class Whole(RefsOnlyProvider):
        Config = Config
        CLASSES_OF_MODES = (Unused,)

    with pytest.raises(PluginError, match=r"Unused.*not one of those of Whole"):
        check_provider_class(Whole, plugin="acme 1.0")
