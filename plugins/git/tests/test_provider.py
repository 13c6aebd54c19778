"""The hooks, on the sandbox; over SSH, see ``tests/end_to_end/test_plain_git.py``."""

from itertools import islice

import pytest
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
)
from deploycore.models import (
    BranchQuery,
    GitCredential,
    RepositoryId,
    RepositoryQuery,
    TagQuery,
)
from deploycore.provider.core_fields import CoreFields
from deploycore.testing.faults import Fault, answer
from deploycore.testing.scenarios import MANY, ODD, ONE, TWO, Access

SHOP = RepositoryId(owner="acme", slug="shop")


@pytest.fixture
def shop(sandbox):
    (arranged,) = sandbox.arrange(ONE)
    return arranged


def test_repositories_are_listed_in_the_configured_order(sandbox, on_sandbox):
    arranged = sandbox.arrange(ODD)
    slugs = [row.slug for row in reversed(arranged)]
    provider = on_sandbox(repositories=" ".join(f"acme/{slug}" for slug in slugs))
    found = list(provider.list_repos())
    assert [each.slug for each in found] == slugs
    assert found[0].clone_links[0].href == f"{sandbox.url}/acme/{slugs[0]}"
    wanted = RepositoryQuery(name_contains="UPPER")
    assert [each.slug for each in provider.list_repos(wanted)] == ["Upper_Case-9"]
    assert len(list(provider.list_repos(RepositoryQuery(owner="acme", limit=2)))) == 2


def test_each_repository_is_requested_when_it_is_read(sandbox, on_sandbox):
    sandbox.arrange(MANY)
    provider = on_sandbox()
    before = sandbox.request_count
    listing = provider.list_repos()
    assert sandbox.request_count == before
    first = list(islice(listing, 3))
    listing.close()
    assert len(first) == 3
    assert sandbox.request_count - before <= 3 * 2  # capabilities, then refs


def test_an_empty_repository_has_no_default_branch(sandbox, on_sandbox):
    sandbox.arrange(TWO)
    found = {each.slug: each.default_branch for each in on_sandbox().list_repos()}
    assert found == {"engine": "main", "notes": "main", "vacant": None}
    given = on_sandbox(default_branch="trunk")
    found = {each.slug: each.default_branch for each in given.list_repos()}
    assert found == {"engine": "main", "notes": "main", "vacant": "trunk"}


def test_missing_repositories_are_reported_after_the_others(sandbox, on_sandbox):
    sandbox.arrange(TWO)
    provider = on_sandbox(repositories="acme/typo acme/engine acme/notes")
    found = []
    with pytest.raises(NotFound, match="Repository acme/typo was not found") as caught:
        for each in provider.list_repos():
            found.append(each.slug)
    assert found == ["engine", "notes"]
    assert "provider edit plain --repositories" in caught.value.hint
    assert caught.value.details["repository"] == "acme/typo"


def test_the_hint_for_a_mistyped_path_works(sandbox, shop, on_sandbox):
    with pytest.raises(NotFound, match="Repository acme/typo was not found"):
        on_sandbox(repositories="acme/typo").authenticate()
    assert on_sandbox(repositories="acme/shop").authenticate().username == "acme"


def test_an_owner_without_repositories_is_unknown(sandbox, shop, on_sandbox):
    with pytest.raises(NotFound, match="has no repository of 'other'") as caught:
        list(on_sandbox().list_repos(RepositoryQuery(owner="other")))
    assert "--repositories 'acme/shop …'" in caught.value.hint
    sandbox.add_owner("other")
    sandbox.publish("other", "tool", "main", {"a": b"1"}, "Start")
    wider = on_sandbox(repositories="acme/shop other/tool")
    assert [row.slug for row in wider.list_repos(RepositoryQuery(owner="other"))] == ["tool"]


def test_branches_and_tags_are_read_from_the_server(sandbox, shop, on_sandbox):
    [commit] = set(shop.branches.values())
    sandbox.add_branches("acme", "shop", ["topic", "topics"], at=commit)
    sandbox.add_tag("acme", "shop", "v1.0", at=commit)
    provider = on_sandbox()
    names = {each.name: each.commit for each in provider.list_branches(SHOP)}
    assert names == dict.fromkeys(("trunk", "topic", "topics"), commit)
    found = list(provider.list_branches(SHOP, BranchQuery(name="topic")))
    assert [each.name for each in found] == ["topic"]
    [tag] = provider.list_tags(SHOP, TagQuery())
    assert (tag.name, tag.commit) == ("v1.0", commit)
    assert list(provider.list_tags(SHOP, TagQuery(name="v1"))) == []


@pytest.mark.parametrize(
    ("mode", "said"),
    [("basic", "replace the password"), ("bearer", "bearer token")],
)
def test_rejected_credentials_are_reported_by_mode(shop, on_sandbox, mode, said):
    with pytest.raises(AuthenticationFailed) as caught:
        on_sandbox(mode, Access.WRONG).authenticate()
    assert said in caught.value.hint
    assert "deploycore provider rotate plain" in caught.value.hint


def test_a_server_that_requires_credentials_says_so(shop, on_sandbox):
    with pytest.raises(AuthenticationFailed) as caught:
        on_sandbox("anonymous", Access.WRONG).authenticate()
    assert "mode basic, bearer or ssh" in caught.value.hint


def test_a_forbidden_request_is_reported_as_such(sandbox, shop, on_sandbox):
    sandbox.faults.add(Fault(answer(403, "no")))
    with pytest.raises(PermissionDenied, match="does not allow"):
        on_sandbox().authenticate()


def test_a_clone_url_consists_of_the_url_and_the_path(config, open_provider):
    odd = RepositoryId(owner="größe & co", slug="a?b.git")
    found = open_provider(config("basic")).clone_url(odd)
    assert found.url == "https://git.example.com/git/gr%C3%B6%C3%9Fe%20%26%20co/a%3Fb.git"
    assert found.credential == config("basic").git_credential
    listed = open_provider(config("basic")).clone_url(SHOP)
    assert listed.url == "https://git.example.com/git/acme/shop.git"
    bearer = open_provider(config("bearer")).clone_url(SHOP).credential
    assert isinstance(bearer, GitCredential)
    assert bearer.scheme == "bearer"
    assert open_provider(config("anonymous")).clone_url(SHOP).credential is None


def test_over_ssh_the_core_adds_the_key(config, open_provider):
    core = CoreFields(ssh_agent=True)
    found = open_provider(config("ssh"), core=core).clone_url(SHOP)
    assert found.url == "ssh://git@git.example.com:2222/srv/acme/shop.git"
    assert found.credential.agent
    with pytest.raises(ConfigurationError, match="There is no SSH key") as caught:
        open_provider(config("ssh")).authenticate()
    assert "ssh_private_key" in caught.value.hint


def test_a_key_cannot_be_used_over_https(config, open_provider):
    provider = open_provider(config("basic"), core=CoreFields(ssh_agent=True))
    with pytest.raises(ConfigurationError, match="its mode is basic") as caught:
        provider.clone_url(SHOP)
    assert "with mode ssh and an ssh:// url, or without the key" in caught.value.hint
    over_ssh = open_provider(config("ssh"), core=CoreFields(ssh_agent=True))
    assert over_ssh.clone_url(SHOP).credential.agent
    assert open_provider(config("basic")).clone_url(SHOP).url.startswith("https://")


@pytest.mark.parametrize("mode", ["anonymous", "basic", "bearer", "ssh"])
def test_clone_errors_are_explained(config, open_provider, mode):
    provider = open_provider(config(mode))
    assert provider.explain_git_refusal(404, "").startswith("Check the repository's path")
    assert provider.explain_git_refusal(401, "") == provider.explain_git_refusal(403, "")
    assert provider.explain_git_refusal(500, "") is None
