"""The hooks as the core calls them, against answers of Bitbucket's shapes."""

from __future__ import annotations

import base64
import json
import threading
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from deploycore_bitbucket import BitbucketProvider

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneLink,
    Owner,
    Repository,
    RepositoryId,
    RepositoryQuery,
)

API = "https://api.bitbucket.org/2.0"
REPOSITORIES = f"{API}/repositories/acme"
BRANCHES = f"{API}/repositories/acme/shop/refs/branches"
SHOP = RepositoryId(owner="acme", slug="shop")
HASH = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"
USER = "type,username,nickname,display_name,account_id,uuid"
PAGE = "next,size,page,pagelen"
MECHANISM = "This API is not accessible by this authentication mechanism"
ODD_NAMES = ["main", "feature/a b", "100%", "fix#1", "größe/日本", 'say-"hi"', "a&b=c", "v1.0+x"]


def error_body(message, **more):
    return {"type": "error", "error": {"message": message, **more}}


def repository(name, workspace="acme"):
    return {
        "full_name": f"{workspace}/{name}",
        "name": name.title(),
        "is_private": True,
        "mainbranch": {"name": "main", "type": "branch"},
        "workspace": {"name": "Acme Corporation"},
        "links": {
            "html": {"href": f"https://bitbucket.org/{workspace}/{name}"},
            "clone": [
                {"name": "https", "href": f"https://dana@bitbucket.org/{workspace}/{name}.git"}
            ],
        },
    }


def branch(name):
    return {"name": name, "target": {"hash": HASH}}


@pytest.fixture
def bitbucket():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def asked(bitbucket):
    """The requests so far: path and query of each, as the server saw them."""
    return [
        (urlsplit(call.request.url).path, parse_qs(urlsplit(call.request.url).query))
        for call in bitbucket.calls
    ]


def basic(text):
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_the_plugin_conforms_to_the_contract(plugin):
    assert BitbucketProvider.API_VERSION == 1
    assert plugin.hooks == (
        "authenticate",
        "list_repos",
        "list_branches",
        "find_repository",
        "clone_url",
        "ssh_clone_url",
        "list_owners",
        "list_tags",
        "list_pull_requests",
        "explain_git_refusal",
        "verify_webhook",
        "parse_webhook",
        "register_webhook",
        "list_webhooks",
        "remove_webhook",
        "add_deploy_key",
        "list_deploy_keys",
        "remove_deploy_key",
        "deploy_keys_page",
        "report_status",
    )


def test_a_listing_without_repositories_has_a_hint(provider):
    assert "workspace slug" in provider().no_repositories_hint


# authenticate


@pytest.mark.parametrize("mode", ["app-password", "api-token"])
def test_credentials_of_a_person_are_verified_by_the_user_endpoint(provider, bitbucket, mode):
    user = {"username": "dana", "nickname": "Dana", "display_name": "Dana Doe", "type": "user"}
    bitbucket.get(f"{API}/user", json=user)
    assert provider(mode).authenticate() == Account(username="dana", display_name="Dana Doe")
    assert asked(bitbucket) == [("/2.0/user", {"fields": [USER]})]


def test_each_mode_uses_its_own_authorization_header(provider, bitbucket, mode, secrets):
    bitbucket.get(f"{API}/user", json={"nickname": "dana"})
    bitbucket.get(REPOSITORIES, json={"values": []})
    provider(mode).authenticate()
    expected = {
        "app-password": basic(f"dana:{secrets['app-password']}"),
        "api-token": basic(f"dana@example.com:{secrets['api-token']}"),
        "access-token": f"Bearer {secrets['access-token']}",
    }
    assert [call.request.headers["Authorization"] for call in bitbucket.calls] == [expected[mode]]


def test_an_access_token_is_verified_by_listing_repositories(provider, bitbucket):
    bitbucket.get(REPOSITORIES, json={"values": [{"full_name": "acme/shop"}]})
    assert provider("access-token").authenticate() == Account(username="acme")
    assert asked(bitbucket) == [
        ("/2.0/repositories/acme", {"pagelen": ["1"], "fields": ["values.full_name"]})
    ]


@pytest.mark.parametrize("mode", ["app-password", "api-token"])
@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 403, "json": error_body("Your credentials lack privilege scopes.")},
        {
            "status": 403,
            "json": error_body("Scopes.", detail={"required": ["account"], "granted": ["x"]}),
        },
        {"status": 403, "json": error_body(MECHANISM)},
        {"status": 401, "json": error_body(MECHANISM)},
        {"status": 401, "body": MECHANISM, "content_type": "text/plain"},
    ],
)
def test_a_token_without_user_scope_is_verified_by_listing_repositories(
    provider, bitbucket, mode, refusal
):
    bitbucket.get(f"{API}/user", **refusal)
    bitbucket.get(REPOSITORIES, json={"values": []})
    assert provider(mode).authenticate() == Account(username="acme")


def test_a_token_without_any_scope_gets_an_error_naming_the_missing_scope(provider, bitbucket):
    user = {"required": ["read:user:bitbucket"], "granted": []}
    repositories = {"required": ["read:repository:bitbucket"], "granted": []}
    bitbucket.get(f"{API}/user", status=403, json=error_body("Scopes.", detail=user))
    bitbucket.get(REPOSITORIES, status=403, json=error_body("Scopes.", detail=repositories))
    with pytest.raises(PermissionDenied, match="lack the scope read:repository:bitbucket"):
        provider().authenticate()


def test_rejected_credentials_are_not_tried_twice(provider, bitbucket, mode):
    for url in (f"{API}/user", REPOSITORIES):
        bitbucket.get(url, status=401, body="Unauthorized", content_type="text/plain")
    with pytest.raises(AuthenticationFailed) as caught:
        provider(mode).authenticate()
    assert len(bitbucket.calls) == 1
    assert caught.value.details["provider"] == "work"


def test_an_unknown_workspace_does_not_verify_an_access_token(provider, bitbucket):
    body = error_body("No workspace with identifier 'acme'.")
    bitbucket.get(REPOSITORIES, status=404, json=body)
    with pytest.raises(NotFound, match="Workspace 'acme' was not found"):
        provider("access-token").authenticate()


@pytest.mark.parametrize("body", ["7", "[]", "null"])
def test_a_response_that_is_not_a_page_verifies_nothing(provider, bitbucket, body):
    bitbucket.get(REPOSITORIES, body=body, content_type="application/json")
    with pytest.raises(UnexpectedAnswer):
        provider("access-token").authenticate()


# list_repos


def test_repositories_are_requested_in_full_pages_with_required_fields_only(provider, bitbucket):
    bitbucket.get(REPOSITORIES, json={"values": [repository("shop")]})
    assert list(provider().list_repos()) == [
        Repository(
            name="Shop",
            slug="shop",
            url="https://bitbucket.org/acme/shop",
            commit_url="https://bitbucket.org/acme/shop/commits/{commit}",
            owner=Owner(username="acme", display_name="Acme Corporation"),
            default_branch="main",
            private=True,
            clone_links=(CloneLink(name="https", href="https://bitbucket.org/acme/shop.git"),),
            empty=False,
        )
    ]
    ((path, query),) = asked(bitbucket)
    assert path == "/2.0/repositories/acme"
    assert query == {
        "pagelen": ["100"],
        "fields": [
            "next,size,page,pagelen,values.full_name,values.name,values.is_private,"
            "values.mainbranch.name,values.workspace.name,values.links.html.href,"
            "values.links.clone,values.uuid,values.size,values.updated_on"
        ],
    }


def test_a_workspace_without_repositories_yields_nothing(provider, bitbucket):
    bitbucket.get(REPOSITORIES, json={"values": [], "size": 0, "page": 1, "pagelen": 100})
    assert list(provider().list_repos()) == []


def test_links_of_the_server_are_followed_unchanged(provider, bitbucket):
    odd = f"{REPOSITORIES}?ctx=%7Ba%2Fb%7D&x=+1"
    bitbucket.get(
        REPOSITORIES,
        json={"values": [repository("a")], "next": odd},
        match=[responses.matchers.query_param_matcher({"pagelen": "100"}, strict_match=False)],
    )
    bitbucket.get(
        REPOSITORIES,
        json={"values": [repository("b")]},
        match=[responses.matchers.query_string_matcher("ctx=%7Ba%2Fb%7D&x=+1")],
    )
    assert [found.slug for found in provider().list_repos()] == ["a", "b"]
    assert bitbucket.calls[1].request.url == odd


def paged(bitbucket, url, values, *, per_page):
    """Serve a list-based collection as Bitbucket does."""
    last = -(-len(values) // per_page)

    def answer(request):
        query = parse_qs(urlsplit(request.url).query)
        number = int(query.get("page", ["1"])[0])
        body = {
            "values": values[(number - 1) * per_page : number * per_page],
            "size": len(values),
            "page": number,
            "pagelen": per_page,
        }
        if number < last:
            body["next"] = f"{url}?pagelen={per_page}&page={number + 1}"
        return 200, {}, json.dumps(body)

    bitbucket.add_callback("GET", url, callback=answer, content_type="application/json")


@pytest.mark.parametrize("prefetch", [0, 1, 2, 8])
def test_many_pages_are_read_completely_and_in_order(provider, bitbucket, prefetch):
    names = [f"repository-{number:03}" for number in range(95)]
    paged(bitbucket, REPOSITORIES, [repository(name) for name in names], per_page=10)
    found = provider(prefetch_pages=prefetch).list_repos()
    assert [item.slug for item in found] == names
    assert len(bitbucket.calls) == 10


def test_the_first_repository_is_available_after_the_first_page(provider, bitbucket):
    paged(bitbucket, REPOSITORIES, [repository(f"r{n}") for n in range(50)], per_page=10)
    listing = provider().list_repos()
    assert len(bitbucket.calls) == 0
    assert next(listing).slug == "r0"
    assert len(bitbucket.calls) == 1
    listing.close()


def test_an_abandoned_listing_leaves_no_thread(provider, bitbucket):
    paged(bitbucket, REPOSITORIES, [repository(f"r{n}") for n in range(500)], per_page=10)
    listing = provider().list_repos()
    assert len(list(islice(listing, 25))) == 25
    listing.close()
    assert [t for t in threading.enumerate() if t.name.startswith("bitbucket-")] == []


def test_filter_and_limit_are_sent_to_the_server(provider, bitbucket):
    bitbucket.get(REPOSITORIES, json={"values": [repository("shop"), repository("shopper")]})
    query = RepositoryQuery(name_contains="shop", limit=1)
    assert [found.slug for found in provider().list_repos(query)] == ["shop"]
    ((_, sent),) = asked(bitbucket)
    assert sent["pagelen"] == ["1"]
    assert sent["q"] == ['name ~ "shop"']


def test_a_filter_that_the_server_cannot_express_is_applied_locally(provider, bitbucket):
    quoted = {**repository("quoted"), "name": 'the "big" Shop'}
    values = [repository("the-shop"), quoted]
    bitbucket.get(REPOSITORIES, json={"values": values})
    query = RepositoryQuery(name_contains='"BIG"', limit=5)
    assert [found.slug for found in provider().list_repos(query)] == ["quoted"]
    ((_, sent),) = asked(bitbucket)
    assert sent["pagelen"] == ["100"]
    assert sent["q"] == ['name ~ "BIG"']


def test_another_owner_than_the_configured_one_can_be_listed(provider, bitbucket):
    bitbucket.get(f"{API}/repositories/%7B1f-2%7D", json={"values": []})
    assert list(provider().list_repos(RepositoryQuery(owner="{1f-2}"))) == []


def test_the_username_is_the_default_workspace(provider, bitbucket):
    bitbucket.get(f"{API}/repositories/dana", json={"values": []})
    assert list(provider("app-password", workspace=None).list_repos()) == []


def test_an_invalid_repository_does_not_lose_the_others(provider, bitbucket, caplog):
    broken = {**repository("broken"), "is_private": "yes"}
    rows = [repository("one"), broken, None, {"type": "repository"}, repository("two")]
    bitbucket.get(REPOSITORIES, json={"values": rows})
    assert [found.slug for found in provider().list_repos()] == ["one", "two"]
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "list_repos: 3 item(s)" in said
    assert "is_private is not true or false" in said
    assert "full_name is missing" in said
    assert "broken" not in said


def test_a_listing_with_only_unreadable_items_is_rejected(provider, bitbucket):
    broken = {**repository("broken"), "is_private": "yes"}
    bitbucket.get(REPOSITORIES, json={"values": [broken]})
    with pytest.raises(UnexpectedAnswer, match="is_private") as caught:
        list(provider().list_repos())
    assert caught.value.details["hook"] == "list_repos"


# list_branches


def test_branches_are_requested_in_full_pages_with_required_fields_only(provider, bitbucket):
    bitbucket.get(BRANCHES, json={"values": [branch(name) for name in ODD_NAMES]})
    found = list(provider().list_branches(SHOP))
    assert found == [Branch(name=name, commit=HASH) for name in ODD_NAMES]
    assert asked(bitbucket) == [
        (
            "/2.0/repositories/acme/shop/refs/branches",
            {
                "pagelen": ["100"],
                "fields": [f"{PAGE},values.name,values.target.hash"],
            },
        )
    ]


def test_all_pages_of_branches_are_read_in_order(provider, bitbucket):
    names = [f"branch/{number:03}" for number in range(55)]
    paged(bitbucket, BRANCHES, [branch(name) for name in names], per_page=10)
    assert [found.name for found in provider().list_branches(SHOP)] == names


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_branch_is_found_by_its_exact_name(provider, bitbucket, name):
    others = [name.upper(), f"{name}-2", f"x{name}"]
    bitbucket.get(BRANCHES, json={"values": [branch(other) for other in (*others, name)]})
    assert provider().find_branch(SHOP, name) == Branch(name=name, commit=HASH)
    ((_, sent),) = asked(bitbucket)
    assert sent["q"] == [f'name = "{name}"' if '"' not in name else 'name ~ "say-"']


def test_an_unknown_branch_yields_an_empty_result(provider, bitbucket):
    bitbucket.get(BRANCHES, json={"values": []})
    assert list(provider().list_branches(SHOP, BranchQuery(name="gone"))) == []


def test_a_partial_name_filter_is_sent_to_the_server(provider, bitbucket):
    bitbucket.get(BRANCHES, json={"values": [branch("feature/one"), branch("Feature/Two")]})
    query = BranchQuery(name_contains="feature/", limit=2)
    assert len(list(provider().list_branches(SHOP, query))) == 2
    ((_, sent),) = asked(bitbucket)
    assert sent["q"] == ['name ~ "feature/"']
    assert sent["pagelen"] == ["2"]


def test_branches_of_an_unknown_repository_are_not_found(provider, bitbucket):
    bitbucket.get(BRANCHES, status=404, json=error_body("You may not have access"))
    with pytest.raises(NotFound, match="epository acme/shop was not found") as caught:
        list(provider().list_branches(SHOP, BranchQuery(name="main")))
    assert caught.value.details["repository"] == "acme/shop"


def test_unusual_slugs_do_not_escape_from_the_path(provider, bitbucket):
    bitbucket.get(
        f"{API}/repositories/acme/a%2Fb%3Fc%23d/refs/branches", json={"values": [branch("main")]}
    )
    odd = RepositoryId(owner="acme", slug="a/b?c#d")
    assert [found.name for found in provider().list_branches(odd)] == ["main"]


# clone_url


@pytest.mark.parametrize(
    ("mode", "user"),
    [
        ("app-password", "dana"),
        ("api-token", "x-bitbucket-api-token-auth"),
        ("access-token", "x-token-auth"),
    ],
)
def test_a_clone_url_has_no_credential_and_comes_with_the_git_credential(
    provider, secrets, mode, user
):
    found = provider(mode).clone_url(SHOP)
    assert found.url == "https://bitbucket.org/acme/shop.git"
    assert found.credential.username == user
    assert found.credential.password.get_secret_value() == secrets[mode]


def test_the_url_with_credentials_encodes_special_characters_of_a_token(provider):
    joined = provider("api-token").clone_url(SHOP).reveal_joined()
    assert joined.startswith("https://x-bitbucket-api-token-auth:ATATT")
    assert "%3D" in joined
    assert joined.endswith("@bitbucket.org/acme/shop.git")


def test_a_clone_url_encodes_unusual_slugs(provider):
    odd = RepositoryId(owner="{1f-2}", slug="a b#c")
    assert provider().clone_url(odd).url == "https://bitbucket.org/%7B1f-2%7D/a%20b%23c.git"


def test_git_errors_are_explained_through_the_core(provider):
    assert "2026-07-28" in provider("app-password").explain_git_refusal(410, "CHANGE-3222")


# Failures


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"body": "<html>Sign in</html>", "content_type": "text/html"}, UnexpectedAnswer),
        ({"body": '{"values": [{"na', "content_type": "application/json"}, UnexpectedAnswer),
        ({"body": "", "content_type": "application/json"}, UnexpectedAnswer),
        ({"json": {"values": "none"}}, UnexpectedAnswer),
        ({"json": {"values": [], "next": ["x"]}}, UnexpectedAnswer),
        ({"json": {"values": [], "next": "https://evil.example/2.0/x"}}, ProviderError),
        ({"json": {"values": [], "next": "http://api.bitbucket.org/2.0/x"}}, ProviderError),
        ({"json": {"values": [], "next": REPOSITORIES}}, ProviderError),
        ({"status": 410, "json": error_body("CHANGE-2770 - deprecated")}, UnexpectedAnswer),
        ({"status": 429, "body": "Rate limit for this resource has been exceeded"}, RateLimited),
        ({"status": 503, "body": "down"}, ProviderUnavailable),
    ],
)
def test_every_invalid_response_is_a_typed_error(provider, bitbucket, secrets, answer, error):
    bitbucket.get(REPOSITORIES, **answer)
    with pytest.raises(error) as caught:
        list(provider().list_repos())
    told = json.dumps(caught.value.as_dict())
    assert caught.value.details["provider"] == "work"
    assert secrets["api-token"] not in told


def test_no_request_is_sent_to_the_host_of_a_foreign_link(provider, bitbucket):
    foreign = "https://evil.example/2.0/repositories/acme?page=2"
    body = {"values": [repository("a")], "next": foreign, "size": 9, "page": 1, "pagelen": 1}
    bitbucket.get(REPOSITORIES, json=body)
    bitbucket.get(foreign, json={"values": [repository("stolen")]})
    listing = provider().list_repos()
    assert next(listing).slug == "a"
    with pytest.raises(ProviderError):
        next(listing)
    assert {urlsplit(call.request.url).hostname for call in bitbucket.calls} == {
        "api.bitbucket.org"
    }
