"""The hooks as the core calls them: their requests, and the results of the responses."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from deploycore_github.sandbox import GitHubSandbox

from deploycore.errors import NotFound, PermissionDenied
from deploycore.models import Account, BranchQuery, RepositoryId, RepositoryQuery
from deploycore.testing.scenarios import MANY, ODD, ODD_BRANCHES, TWO, Access

API = "https://api.github.com"
SHOP = RepositoryId(owner="ada", slug="shop")
HASH = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"


def repository(name, owner="ada", *, private=True):
    return {
        "name": name,
        "owner": {"login": owner},
        "html_url": f"https://github.com/{owner}/{name}",
        "private": private,
        "default_branch": "main",
        "clone_url": f"https://github.com/{owner}/{name}.git",
        "ssh_url": f"git@github.com:{owner}/{name}.git",
    }


def branch(name):
    return {"name": name, "commit": {"sha": HASH}}


def asked(mock):
    """The requests so far: the path as it was sent, and the query."""
    return [
        (urlsplit(call.request.url).path, parse_qs(urlsplit(call.request.url).query))
        for call in mock.calls
    ]


def paths(sandbox, since=0):
    return [request.path.removeprefix("/api/v3") for request in sandbox.requests[since:]]


@pytest.fixture
def provider(open_provider, config):
    return open_provider(config())


@pytest.fixture
def full(sandbox) -> GitHubSandbox:
    """Two repositories of a user, one of them public, and one of an organization."""
    sandbox.add_repository("ada", "shop")
    sandbox.add_repository("ada", "notes", private=False)
    sandbox.add_repository("guild", "hall")
    sandbox.add_repository("rival", "hidden")
    sandbox.add_repository("rival", "leaflet", private=False)
    return sandbox


def names(provider, owner=None):
    return [str(found.id) for found in provider.list_repos(RepositoryQuery(owner=owner))]


# Requests


def test_every_request_contains_the_api_version(provider, github):
    github.get(f"{API}/user", json={"login": "ada", "name": None})
    assert provider.authenticate() == Account(username="ada")
    headers = github.calls[0].request.headers
    assert headers["Accept"] == "application/vnd.github+json"
    assert headers["X-GitHub-Api-Version"] == "2022-11-28"
    assert headers["Authorization"].startswith("Bearer github_pat_")


def test_pages_have_the_maximum_size_of_github(provider, github):
    github.get(f"{API}/user/repos", json=[repository("shop")])
    assert names(provider) == ["ada/shop"]
    assert asked(github) == [("/user/repos", {"per_page": ["100"], "sort": ["full_name"]})]


def test_a_limit_reduces_the_page_size_unless_names_are_filtered_locally(provider, github):
    github.get(f"{API}/user/repos", json=[repository("notes"), repository("shop")])
    list(provider.list_repos(RepositoryQuery(limit=3)))
    found = list(provider.list_repos(RepositoryQuery(limit=3, name_contains="SHO")))
    assert [each.slug for each in found] == ["shop"]
    assert [query["per_page"] for _, query in asked(github)] == [["3"], ["100"]]


def test_links_with_the_owner_number_are_followed_unchanged(provider, github):
    following = f"{API}/organizations/9919/repos?per_page=100&sort=full_name&page=2"
    last = f"{API}/organizations/9919/repos?per_page=100&sort=full_name&page=9"
    github.get(
        f"{API}/orgs/guild/repos",
        json=[repository("hall", "guild")],
        headers={"Link": f'<{following}>; rel="next", <{last}>; rel="last"'},
    )
    github.get(following, json=[repository("yard", "guild")])
    assert names(provider, "guild") == ["guild/hall", "guild/yard"]
    assert github.calls[1].request.url == following


# Owners


@pytest.mark.parametrize(
    ("owner", "found", "requests"),
    [
        (None, ["ada/shop", "ada/notes", "guild/hall"], ["/user/repos"]),
        ("guild", ["guild/hall"], ["/orgs/guild/repos"]),
        ("ada", ["ada/shop", "ada/notes"], ["/orgs/ada/repos", "/user", "/user/repos"]),
        ("rival", ["rival/leaflet"], ["/orgs/rival/repos", "/user", "/users/rival/repos"]),
    ],
)
def test_a_token_uses_the_endpoint_that_lists_the_owner_completely(
    full, connect, owner, found, requests
):
    provider = connect()
    assert names(provider, owner) == found
    assert paths(full) == requests


def test_only_the_configured_owner_is_listed(full, connect):
    assert names(connect(owner="guild")) == ["guild/hall"]


def test_the_own_login_is_case_insensitive(full, connect, github, open_provider, config):
    github.get(f"{API}/orgs/Ada/repos", status=404, json={"message": "Not Found"})
    github.get(f"{API}/user", json={"login": "ada"})
    github.get(f"{API}/user/repos", json=[repository("shop")])
    assert names(open_provider(config(owner="Ada"))) == ["ada/shop"]
    assert asked(github)[2][1]["affiliation"] == ["owner"]


@pytest.mark.parametrize(
    ("owner", "found", "last"),
    [
        (None, ["ada/shop", "ada/notes"], "/installation/repositories"),
        ("ada", ["ada/shop", "ada/notes"], "/installation/repositories"),
        ("rival", ["rival/leaflet"], "/users/rival/repos"),
    ],
)
def test_an_app_lists_the_repositories_of_its_installation(full, connect, owner, found, last):
    provider = connect("app")
    assert names(provider, owner) == found
    assert paths(full)[-1] == last


def test_all_pages_of_an_installation_are_read(sandbox, connect):
    arranged = sandbox.arrange(MANY)
    assert len(names(connect("app"))) == len(arranged) == 250


def test_a_configured_installation_token_is_used_as_such(full, connect, open_provider, config):
    token = connect("app").clone_url(SHOP).credential.password
    provider = open_provider(config(url=full.url, token=token))
    assert provider.authenticate() == Account(username="ada")
    assert names(provider) == names(provider, "ada") == ["ada/shop", "ada/notes"]
    assert names(provider, "rival") == ["rival/leaflet"]


def test_an_installation_token_without_repositories_is_valid(
    sandbox, connect, open_provider, config
):
    token = connect("app").clone_url(SHOP).credential.password
    provider = open_provider(config(url=sandbox.url, token=token))
    assert provider.authenticate() == Account(username="installation")
    assert names(provider) == []


@pytest.mark.parametrize("mode", ["token", "app"])
def test_an_unknown_owner_is_named(sandbox, connect, mode):
    with pytest.raises(NotFound, match="ser or organization 'nobody' was not found"):
        names(connect(mode), "nobody")


def test_a_classic_token_without_scopes_lists_public_repositories(full, connect):
    assert names(connect("classic", Access.UNSCOPED)) == ["ada/notes"]


def test_a_hidden_repository_is_explained_for_a_classic_token_without_scopes(full, connect):
    with pytest.raises(NotFound, match="epository ada/shop was not found") as caught:
        list(connect("classic", Access.UNSCOPED).list_branches(SHOP))
    assert "lacks the scope repo" in caught.value.hint


def test_a_fine_grained_token_without_the_permission_gets_its_name(full, connect):
    with pytest.raises(PermissionDenied, match="lacks contents=read") as caught:
        list(connect(access=Access.UNSCOPED).list_branches(SHOP))
    assert "Contents: Read-only" in caught.value.hint
    assert caught.value.details["needed"] == "contents=read"


def test_an_empty_list_has_a_hint(provider):
    assert "resource owner" in provider.no_repositories_hint


# Branches


@pytest.mark.parametrize("name", ODD_BRANCHES)
def test_finding_a_branch_of_any_name_takes_one_request(sandbox, connect, name):
    plain = sandbox.arrange(ODD)[0]
    provider = connect()
    found = provider.find_branch(RepositoryId(owner="ada", slug=plain.slug), name)
    assert found.commit == plain.branches[name]
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("feature/deep/er", "feature%2Fdeep%2Fer"),
        ("percent%2Fencoded", "percent%252Fencoded"),
        ("100%", "100%25"),
        ("fix#17", "fix%2317"),
        ("a&b=c+d", "a%26b%3Dc%2Bd"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
def test_the_name_of_a_branch_is_encoded_once(provider, github, name, path):
    github.get(f"{API}/repos/ada/shop/branches/{path}", json=branch(name))
    assert provider.find_branch(SHOP, name).name == name
    assert github.calls[0].request.url == f"{API}/repos/ada/shop/branches/{path}"


def test_looking_up_an_unknown_branch_also_requests_the_repository(sandbox, connect):
    sandbox.arrange(TWO)
    engine = RepositoryId(owner="ada", slug="engine")
    provider = connect()
    assert list(provider.list_branches(engine, BranchQuery(name="nowhere"))) == []
    assert paths(sandbox) == ["/repos/ada/engine/branches/nowhere", "/repos/ada/engine"]


def test_a_repository_without_commits_has_no_branches(sandbox, connect):
    sandbox.arrange(TWO)
    vacant = RepositoryId(owner="ada", slug="vacant")
    assert list(connect().list_branches(vacant, BranchQuery(name="main"))) == []


def test_a_branch_redirect_to_another_name_is_not_a_match(sandbox, connect):
    sandbox.publish("ada", "shop", "main", {"a": b"a"}, "One")
    assert list(connect().list_branches(SHOP, BranchQuery(name="master"))) == []
    assert [request.status for request in sandbox.requests] == [301, 200]


def test_a_limit_of_branches_reduces_the_page_size(provider, github):
    github.get(f"{API}/repos/ada/shop/branches", json=[branch("a"), branch("b")])
    assert len(list(provider.list_branches(SHOP, BranchQuery(limit=2)))) == 2
    assert asked(github)[0][1] == {"per_page": ["2"]}


def test_unusual_repository_names_do_not_escape_from_the_path(provider, github):
    github.get(f"{API}/repos/ada/a%2Fb%3Fc%23d/branches", json=[branch("main")])
    odd = RepositoryId(owner="ada", slug="a/b?c#d")
    assert [found.name for found in provider.list_branches(odd)] == ["main"]


def test_a_renamed_repository_is_found_by_its_old_name(sandbox, connect):
    commit = sandbox.publish("ada", "shop-2", "main", {"a": b"a"}, "One")
    sandbox.rename("ada", "shop", "shop-2")
    provider = connect()
    assert [found.commit for found in provider.list_branches(SHOP)] == [commit]
    assert provider.find_branch(SHOP, "main").commit == commit
    assert [request.status for request in sandbox.requests] == [301, 200, 301, 200]


# Cloning


@pytest.mark.parametrize("kind", ["fine-grained", "classic", "installation"])
def test_a_clone_url_is_built_from_the_configuration(open_provider, config, kind):
    made = config(kind)
    found = open_provider(made).clone_url(SHOP)
    assert found.url == "https://github.com/ada/shop.git"
    assert found.credential.username == "x-access-token"
    assert found.credential.password == made.token


def test_a_clone_url_follows_the_configured_address(open_provider, config):
    found = open_provider(config(url="https://github.company.example")).clone_url(SHOP)
    assert found.url == "https://github.company.example/ada/shop.git"
