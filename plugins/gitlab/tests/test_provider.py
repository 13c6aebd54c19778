"""GitLab's own features, over real sockets: namespaces, searches, pages, moves and tokens."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied, RateLimited
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.testing.faults import Fault, answer
from deploycore.testing.scenarios import EMPTY, MANY, ONE, TWO, Access

from deploycore_gitlab import GitLabProvider
from deploycore_gitlab.sandbox import GitLabSandbox

GROUP = "/api/v4/groups/acme%2Fplatform/projects"
SHOP = RepositoryId(owner="acme/platform", slug="shop")
PERMISSIONS = ("granular", "Project: Read", "Branch: Read", "Code: Download")


def slugs(provider, **query):
    return [row.slug for row in provider.list_repos(RepositoryQuery(**query))]


def names(provider, repository=SHOP, **query):
    return [row.name for row in provider.list_branches(repository, BranchQuery(**query))]


def paths(requests):
    return [request.partition("?")[0] for request in requests]


def query_of(request):
    return {name: values[0] for name, values in parse_qs(request.partition("?")[2]).items()}


def test_an_empty_list_has_a_hint():
    assert "full path of the group" in GitLabProvider.NO_REPOSITORIES_HINT


# authenticate


@pytest.mark.parametrize(
    ("mode", "details"),
    [
        ("access-token", "/api/v4/personal_access_tokens/self"),
        ("oauth-token", "/oauth/token/info"),
        ("deploy-token", "/api/v4/personal_access_tokens/self"),
    ],
)
def test_the_account_includes_the_scopes_of_the_token(sandbox, connect, asked, mode, details):
    account = connect(sandbox, sandbox.add_credential(mode, Access.LEAST)).authenticate()
    wanted = ("read_api",) if mode == "deploy-token" else ("read_api", "read_repository")
    assert (account.username, account.display_name, account.scopes) == ("ada", "Ada", wanted)
    assert asked(sandbox) == [details, "/api/v4/user"]


@pytest.mark.parametrize("scope", ["read_user", "read_repository", "write_repository"])
def test_a_token_that_can_list_nothing_is_rejected_even_if_its_owner_is_known(
    sandbox, connect, scope
):
    provider = connect(sandbox, sandbox.add_credential("access-token", scopes=[scope]))
    with pytest.raises(PermissionDenied, match="lacks the scope read_api") as caught:
        provider.authenticate()
    assert caught.value.details["granted_scopes"] == [scope]


@pytest.mark.parametrize("scope", ["api", "read_api"])
def test_either_api_scope_is_sufficient(sandbox, connect, scope):
    provider = connect(sandbox, sandbox.add_credential("access-token", scopes=[scope]))
    assert provider.authenticate().scopes == (scope,)


def test_gitlab_before_15_5_returns_no_scopes(sandbox, connect):
    sandbox.faults.add(Fault(answer(404, '{"error":"404 Not Found"}'), path="*/self"))
    account = connect(sandbox).authenticate()
    assert (account.username, account.scopes) == ("ada", ())


def test_expired_tokens_are_reported_as_expired(sandbox, connect):
    provider = connect(sandbox, sandbox.add_credential("access-token", Access.EXPIRED))
    with pytest.raises(AuthenticationFailed, match="has expired"):
        provider.authenticate()


def test_a_fine_grained_token_is_verified_by_listing_projects(sandbox, connect, asked):
    sandbox.arrange(ONE)
    provider = connect(sandbox, sandbox.add_credential("access-token", scopes=PERMISSIONS))
    account = provider.authenticate()
    assert (account.username, account.scopes) == ("acme/platform", ("granular",))
    assert paths(asked(sandbox)) == ["/api/v4/personal_access_tokens/self", GROUP]
    assert slugs(provider) == ["shop"]
    assert names(provider) == ["trunk"]


def test_a_fine_grained_token_can_identify_its_owner(sandbox, connect):
    more = (*PERMISSIONS, "Personal Access Token: Read", "User: Read")
    provider = connect(sandbox, sandbox.add_credential("access-token", scopes=more))
    account = provider.authenticate()
    assert (account.username, account.scopes) == ("ada", ("granular",))


def test_a_fine_grained_token_without_a_permission_gets_its_name(sandbox, connect):
    sandbox.arrange(ONE)
    provider = connect(sandbox, sandbox.add_credential("access-token", scopes=["granular"]))
    with pytest.raises(PermissionDenied, match=r"\[Project: Read\]"):
        provider.authenticate()
    with pytest.raises(PermissionDenied, match=r"\[Branch: Read\]"):
        names(provider)


# list_repos


def test_a_group_is_requested_by_its_full_path_encoded_once(sandbox, connect, asked):
    sandbox.arrange(ONE)
    assert slugs(connect(sandbox)) == ["shop"]
    (request,) = asked(sandbox)
    assert request.startswith(f"{GROUP}?")
    assert query_of(request) == {
        "order_by": "id",
        "sort": "asc",
        "per_page": "100",
        "include_subgroups": "true",
        "with_shared": "false",
    }


def test_the_projects_of_subgroups_belong_to_the_subgroup(sandbox, connect):
    sandbox.arrange(ONE)
    sandbox.add_owner("acme/platform/tools")
    sandbox.add_repository("acme/platform/tools", "hammer")
    found = list(connect(sandbox, namespace="acme").list_repos())
    assert [str(row.id) for row in found] == ["acme/platform/shop", "acme/platform/tools/hammer"]
    assert slugs(connect(sandbox, include_subgroups=False)) == ["shop"]
    assert slugs(connect(sandbox, namespace="acme", include_subgroups=False)) == []


def test_a_namespace_that_is_not_a_group_is_treated_as_a_user(sandbox, connect, asked):
    sandbox.add_owner("ada")
    for number in range(103):
        sandbox.add_repository("ada", f"notes-{number:03}")
    found = slugs(connect(sandbox, namespace="ada"))
    assert found == [f"notes-{number:03}" for number in range(103)]
    requests = asked(sandbox)
    assert paths(requests) == ["/api/v4/groups/ada/projects", *["/api/v4/users/ada/projects"] * 3]
    assert [query_of(request).get("id_after") for request in requests[1:]] == [None, "100", "103"]
    assert query_of(requests[1])["pagination"] == "keyset"


def test_without_a_namespace_all_member_projects_are_listed(sandbox, connect, asked):
    sandbox.arrange(TWO)
    sandbox.add_repository("rival", "open-source", private=False)
    sandbox.add_owner("ada")
    sandbox.add_repository("ada", "diary")
    provider = connect(sandbox, namespace=None)
    assert slugs(provider) == ["engine", "notes", "vacant", "diary"]
    assert query_of(asked(sandbox)[0]) == {
        "order_by": "id",
        "sort": "asc",
        "per_page": "100",
        "pagination": "keyset",
        "membership": "true",
    }
    assert slugs(provider, owner="rival") == ["open-source"]


def test_a_path_with_a_slash_is_never_treated_as_a_user(sandbox, connect, asked):
    with pytest.raises(NotFound, match="Group or user 'acme/nothing' was not found"):
        slugs(connect(sandbox, namespace="acme/nothing"))
    assert paths(asked(sandbox)) == ["/api/v4/groups/acme%2Fnothing/projects"]


def test_a_name_that_is_neither_group_nor_user_is_not_found(sandbox, connect):
    with pytest.raises(NotFound, match="Group or user 'nobody' was not found"):
        slugs(connect(sandbox, namespace="nobody"))


def test_archived_and_internal_projects_are_listed(sandbox, connect):
    sandbox.arrange(TWO)
    sandbox.archived.add("acme/platform/engine")
    sandbox.internal.add("acme/platform/notes")
    found = {row.slug: row for row in connect(sandbox).list_repos()}
    assert found.keys() == {"engine", "notes", "vacant"}
    assert found["notes"].private
    assert found["vacant"].default_branch is None


@pytest.mark.parametrize(
    ("part", "search", "found"),
    [
        ("the SHOP", "SHOP", ["shop"]),
        ("e sh", None, ["shop"]),
        ("op –", None, ["shop"]),
        ("größer", None, ["shop"]),
        ("shopping", "shopping", []),
    ],
)
def test_names_are_filtered_by_gitlab_as_far_as_its_search_is_complete(
    sandbox, connect, asked, part, search, found
):
    sandbox.arrange(ONE)
    assert slugs(connect(sandbox), name_contains=part) == found
    assert query_of(asked(sandbox)[0]).get("search") == search


def test_a_limit_makes_the_page_smaller_unless_names_are_filtered(sandbox, connect, asked):
    sandbox.arrange(MANY)
    provider = connect(sandbox)
    slugs(provider, limit=3)
    slugs(provider, limit=3, name_contains="repository")
    assert [query_of(request)["per_page"] for request in asked(sandbox)] == ["3", "100"]


# list_branches


@pytest.fixture
def with_branches(sandbox):
    """Adds branches to the shop: ``with_branches(names)``."""
    (shop,) = sandbox.arrange(ONE)

    def add(added):
        row = sandbox.find(shop.owner, shop.slug)
        sandbox.git.add_branches(row, dict.fromkeys(added, shop.branches["trunk"]))

    return add


def test_finding_one_of_thousands_of_branches_takes_one_request(
    sandbox, connect, asked, with_branches
):
    with_branches(f"topic/{number}" for number in range(2000))
    assert names(connect(sandbox), name="topic/1999") == ["topic/1999"]
    branches = "/api/v4/projects/acme%2Fplatform%2Fshop/repository/branches"
    assert asked(sandbox) == [f"{branches}/topic%2F1999"]


@pytest.mark.parametrize(
    "name", ["main", "refs?x", "*", "a b", "a..b", "..", "a/../b", "-x", "@{1}", "x.lock", "\t"]
)
def test_a_name_that_git_forbids_is_an_unknown_branch(sandbox, connect, name):
    sandbox.arrange(ONE)
    assert names(connect(sandbox), name=name) == []


@pytest.mark.parametrize("name", ["main", ".."])
def test_a_branch_of_an_unknown_project_is_an_error(sandbox, connect, name):
    sandbox.arrange(EMPTY)
    with pytest.raises(NotFound, match="Project acme/platform/shop was not found"):
        names(connect(sandbox), name=name)


def test_all_branches_are_read_with_keyset_pagination(sandbox, connect, asked, with_branches):
    with_branches(f"topic/{number:03}" for number in range(150))
    assert len(names(connect(sandbox))) == 151
    first, second = asked(sandbox)
    assert query_of(first) == {"per_page": "100", "pagination": "keyset"}
    assert query_of(second)["page_token"] == "topic/099"


@pytest.mark.parametrize("count", [3, 99, 100, 101, 1500])
def test_a_search_returns_each_branch_once_despite_duplicates(
    sandbox, connect, with_branches, count
):
    with_branches(f"topic/{number:04}" for number in range(count))
    found = [row.name for row in _of_the_hook(sandbox, connect, name_contains="TOPIC")]
    assert found == [f"topic/{number:04}" for number in range(count)]


def _of_the_hook(sandbox, connect, **query):
    """Calls the plugin without the core, which would remove repeated items."""
    provider = connect(sandbox)
    return list(
        provider._connection.hooks.list_branches(repository=SHOP, query=BranchQuery(**query))
    )


@pytest.mark.parametrize(
    ("part", "found"),
    [("x$", ["max$y"]), ("$Y", ["max$y"]), ("^m", []), ("a*", []), ("m", ["max$y", "mäx"])],
)
def test_characters_with_a_meaning_in_searches_are_never_sent(
    sandbox, connect, with_branches, part, found
):
    with_branches(["max$y", "mäx"])
    assert names(connect(sandbox), name_contains=part) == found


def test_a_project_that_was_renamed_is_found_by_its_old_path(sandbox, connect, asked):
    sandbox.arrange(ONE)
    row = sandbox.find(SHOP.owner, SHOP.slug)
    sandbox.moved["acme/legacy/old-shop"] = row
    old = RepositoryId(owner="acme/legacy", slug="old-shop")
    provider = connect(sandbox)
    assert names(provider, old) == ["trunk"]
    assert names(provider, old, name="trunk") == ["trunk"]
    assert paths(asked(sandbox))[1] == f"/api/v4/projects/{row.number}/repository/branches"


def test_a_role_without_code_access_is_reported_as_too_low(sandbox, connect):
    sandbox.arrange(ONE)
    sandbox.faults.add(
        Fault(answer(403, '{"message":"403 Forbidden"}', content_type="application/json"))
    )
    with pytest.raises(PermissionDenied, match=r"\(403 Forbidden\)") as caught:
        names(connect(sandbox))
    assert "Reporter" in caught.value.hint


# All hooks


def test_an_ip_rate_limit_is_reported(sandbox, connect):
    sandbox.faults.add(Fault(sandbox.rate_limited_endpoint(1800)))
    with pytest.raises(RateLimited) as caught:
        slugs(connect(sandbox))
    assert caught.value.retry_at is not None


class BelowAPath(GitLabSandbox):
    """A GitLab below a path, as on a host that also has other programs."""

    RELATIVE_URL = "/tools/gitlab"


@pytest.mark.parametrize("mode", GitLabSandbox.MODES)
def test_gitlab_below_a_path_works_in_every_mode(connect, asked, mode):
    with BelowAPath() as sandbox:
        sandbox.arrange(TWO)
        provider = connect(sandbox, sandbox.add_credential(mode, Access.LEAST))
        assert provider.authenticate().username == "ada"
        assert slugs(provider) == ["engine", "notes", "vacant"]
        engine = RepositoryId(owner="acme/platform", slug="engine")
        assert names(provider, engine) == ["develop", "main", "release/2.0"]
        url = f"{sandbox.url}/tools/gitlab/acme/platform/engine.git"
        assert provider.clone_url(engine).url == url
        assert all(path.startswith("/tools/gitlab/") for path in asked(sandbox))
