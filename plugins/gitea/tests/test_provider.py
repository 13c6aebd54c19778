"""The requests of the hooks and the results of the responses, on a host with given responses."""

from __future__ import annotations

import pytest
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.testing.messages import json_answer, text_answer, with_headers

from .test_answers import BRANCH, REPOSITORY, SHOP, USER

ADA_SHOP = RepositoryId(owner="ada", slug="shop")
LACKS_USER = "token does not have at least one of required scope(s): [read:user]"


def asked(host):
    return [f"{request.path}?{request.query}".rstrip("?") for request in host.requests]


def says(body, status=200):
    return lambda request, **names: json_answer(body, status)


def refuses(status, message="not found"):
    return says({"message": message, "url": "https://git.example.com/api/swagger"}, status)


def owned_by(login, number=9, name="shop"):
    owner = {**USER, "login": login, "id": number}
    return {**REPOSITORY, "name": name, "owner": owner}


def test_a_token_is_sent_as_gitea_documents_it(serve):
    seen = []

    def user(request):
        seen.append(request.headers["authorization"])
        return json_answer(USER)

    provider, _ = serve(
        {
            "GET /api/v1/user": user,
            "GET /api/v1/repos/search": says({"ok": True, "data": []}),
        }
    )
    assert provider.authenticate().display_name == "Ada Lovelace"
    assert seen == ["token 9fcb1158165773dd010fca5f0cf7174316c3e37d"]


def test_authentication_checks_whether_repositories_are_readable(serve):
    lacks = "token does not have at least one of required scope(s): [read:repository]"
    provider, _ = serve(
        {"GET /api/v1/user": says(USER), "GET /api/v1/repos/search": refuses(403, lacks)}
    )
    with pytest.raises(PermissionDenied, match="read:repository"):
        provider.authenticate()


def test_a_token_without_user_scope_is_identified_by_its_owner(serve):
    provider, host = serve(
        {
            "GET /api/v1/user": refuses(403, LACKS_USER),
            "GET /api/v1/repos/search": says({"ok": True, "data": []}),
        },
        owner="engines",
    )
    assert provider.authenticate().username == "engines"
    assert asked(host)[1] == "/api/v1/repos/search?limit=1&q=engines%2F"


def test_any_other_error_of_the_user_endpoint_is_raised(serve):
    provider, host = serve(
        {"GET /api/v1/user": refuses(403, "This account is prohibited from signing in")}
    )
    with pytest.raises(PermissionDenied, match="prohibited"):
        provider.authenticate()
    assert len(asked(host)) == 1


def test_a_server_below_a_path_is_requested_there_and_its_links_are_followed(serve):
    def page(request, owner):
        if request.query.get("page") == "2":
            return json_answer([REPOSITORY])
        link = f'<{request.origin}/git/api/v1/users/ada/repos?limit=50&page=2>; rel="next"'
        return with_headers(json_answer([owned_by("ada", name="first")]), {"Link": link})

    provider, host = serve({"GET /git/api/v1/users/{owner}/repos": page}, path="/git")
    assert [row.slug for row in provider.list_repos()] == ["first", "shop"]
    assert provider.clone_url(ADA_SHOP).url == f"{host.url}/git/ada/shop.git"


def test_a_listed_repository_is_parsed(serve):
    provider, host = serve({"GET /api/v1/users/{owner}/repos": says([REPOSITORY])})
    assert list(provider.list_repos()) == [SHOP]
    assert asked(host) == ["/api/v1/users/ada/repos?limit=50"]


@pytest.mark.parametrize(("limit", "size"), [(1, 1), (50, 50), (51, 50)])
def test_a_limit_reduces_the_page_size(serve, limit, size):
    provider, host = serve({"GET /api/v1/users/{owner}/repos": says([REPOSITORY])})
    list(provider.list_repos(RepositoryQuery(limit=limit)))
    assert asked(host) == [f"/api/v1/users/ada/repos?limit={size}"]


def test_a_partial_name_is_searched_within_the_owner(serve):
    provider, host = serve(
        {
            "GET /api/v1/users/{owner}": says({**USER, "id": 4}),
            "GET /api/v1/repos/search": says({"ok": True, "data": [REPOSITORY]}),
        }
    )
    assert list(provider.list_repos(RepositoryQuery(name_contains="HO"))) == [SHOP]
    assert asked(host) == [
        "/api/v1/users/ada",
        "/api/v1/repos/search?limit=50&sort=id&uid=4&exclusive=true&q=HO",
    ]


def test_a_renamed_owner_is_found_by_its_number(serve):
    provider, _ = serve(
        {
            "GET /api/v1/users/{owner}": says({**USER, "login": "lovelace", "id": 9}),
            "GET /api/v1/repos/search": says({"ok": True, "data": [owned_by("lovelace")]}),
        }
    )
    query = RepositoryQuery(owner="ada", name_contains="shop")
    assert [row.owner.username for row in provider.list_repos(query)] == ["lovelace"]


@pytest.mark.parametrize(("part", "searched"), [(None, "ada%2F"), ("sho", "ada%2Fsho")])
def test_without_the_scope_for_users_the_owner_is_searched_for_by_name(serve, part, searched):
    found = [owned_by("adam"), owned_by("Ada"), owned_by("canada")]
    provider, host = serve(
        {
            "GET /api/v1/users/{owner}": refuses(403, LACKS_USER),
            "GET /api/v1/users/{owner}/repos": refuses(403, LACKS_USER),
            "GET /api/v1/repos/search": says({"ok": True, "data": found}),
        }
    )
    listed = provider.list_repos(RepositoryQuery(name_contains=part))
    assert [row.owner.username for row in listed] == ["Ada"]
    assert asked(host)[1:] == [f"/api/v1/repos/search?limit=50&sort=id&q={searched}"]


def test_an_error_on_a_later_page_does_not_start_a_search(serve):
    def page(request, owner):
        if request.query.get("page") == "2":
            return json_answer({"message": LACKS_USER}, 403)
        return with_headers(
            json_answer([REPOSITORY]), {"Link": f'<{request.link(page="2")}>; rel="next"'}
        )

    provider, _ = serve({"GET /api/v1/users/{owner}/repos": page})
    listing = provider.list_repos()
    assert next(listing) == SHOP
    with pytest.raises(PermissionDenied):
        next(listing)


def test_finding_a_branch_by_its_exact_name_takes_one_request(serve):
    provider, host = serve({"GET /api/v1/repos/{owner}/{slug}/branches/{name*}": says(BRANCH)})
    (found,) = provider.list_branches(ADA_SHOP, BranchQuery(name="release/2.0"))
    assert found.commit == "5b1f" * 16
    assert asked(host) == ["/api/v1/repos/ada/shop/branches/release/2.0"]


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("a/b", "a/b"),
        ("100%", "100%25"),
        ("percent%2Fencoded", "percent%252Fencoded"),
        ("fix#17", "fix%2317"),
        ("what?", "what%3F"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
def test_unusual_branch_names_are_encoded_once_and_keep_their_slashes(serve, name, quoted):
    provider, host = serve(
        {"GET /api/v1/repos/{owner}/{slug}/branches/{name*}": says({**BRANCH, "name": name})}
    )
    assert [row.name for row in provider.list_branches(ADA_SHOP, BranchQuery(name=name))] == [name]
    assert asked(host) == [f"/api/v1/repos/ada/shop/branches/{quoted}"]


@pytest.mark.parametrize("name", ["..", "../../../user", "a/./b", "main/", "/main", "a//b", "/"])
def test_a_name_that_git_forbids_is_never_put_in_a_url(serve, name):
    provider, host = serve({"GET /api/v1/repos/{owner}/{slug}": says(REPOSITORY)})
    assert list(provider.list_branches(ADA_SHOP, BranchQuery(name=name))) == []
    assert asked(host) == ["/api/v1/repos/ada/shop"]


def test_an_unknown_branch_is_none_and_an_unknown_repository_an_error(serve):
    missing = {"GET /api/v1/repos/{owner}/{slug}/branches/{name*}": refuses(404)}
    query = BranchQuery(name="nowhere")
    provider, _ = serve({**missing, "GET /api/v1/repos/{owner}/{slug}": says(REPOSITORY)})
    assert list(provider.list_branches(ADA_SHOP, query)) == []
    provider, _ = serve({**missing, "GET /api/v1/repos/{owner}/{slug}": refuses(404)})
    with pytest.raises(NotFound, match="ada/shop"):
        list(provider.list_branches(ADA_SHOP, query))


@pytest.mark.parametrize("query", [BranchQuery(), BranchQuery(name="main")])
def test_an_empty_repository_has_no_branches_in_any_server_version(serve, query):
    provider, _ = serve(
        {
            "GET /api/v1/repos/{owner}/{slug}/branches": says(None),
            "GET /api/v1/repos/{owner}/{slug}/branches/{name*}": refuses(500, ""),
            "GET /api/v1/repos/{owner}/{slug}": says({**REPOSITORY, "empty": True}),
        }
    )
    assert list(provider.list_branches(ADA_SHOP, query)) == []


@pytest.mark.parametrize(
    ("query", "error"),
    [(BranchQuery(), UnexpectedAnswer), (BranchQuery(name="main"), ProviderUnavailable)],
)
def test_the_same_responses_are_errors_if_there_are_commits(serve, query, error):
    provider, _ = serve(
        {
            "GET /api/v1/repos/{owner}/{slug}/branches": says(None),
            "GET /api/v1/repos/{owner}/{slug}/branches/{name*}": refuses(500, ""),
            "GET /api/v1/repos/{owner}/{slug}": says(REPOSITORY),
        }
    )
    with pytest.raises(error):
        list(provider.list_branches(ADA_SHOP, query))


def test_a_rate_limit_of_a_proxy_is_reported_with_its_end(serve):
    def later(request, owner):
        return with_headers(text_answer("slow down", 429), {"Retry-After": "90"})

    provider, _ = serve({"GET /api/v1/users/{owner}/repos": later})
    with pytest.raises(RateLimited) as caught:
        list(provider.list_repos())
    assert caught.value.retry_at is not None


def test_git_receives_the_token_as_the_password(config, open_provider):
    found = open_provider(config()).clone_url(ADA_SHOP)
    assert found.url == "https://git.example.com/ada/shop.git"
    assert found.credential.username == "token"
    assert found.credential.password.get_secret_value() == config().token.get_secret_value()


def test_git_receives_username_and_password(config, open_provider):
    found = open_provider(config("basic", username="ada@example.com")).clone_url(ADA_SHOP)
    assert found.credential.username == "ada@example.com"
    assert found.credential.password == config("basic").password


def test_an_error_shows_no_token_even_if_the_server_repeats_it(serve, values):
    token = values()["token"].get_secret_value()
    says_token = f"access token does not exist [sha: {token}]"
    provider, _ = serve({"GET /api/v1/user": refuses(401, says_token)})
    with pytest.raises(AuthenticationFailed, match="access token does not exist") as caught:
        provider.authenticate()
    assert token not in str(caught.value.as_dict())
