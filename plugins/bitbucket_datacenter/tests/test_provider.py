"""The requests of the hooks and the results of the responses, on a host with given responses."""

from __future__ import annotations

import json

import pytest
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.events import CommitStatus
from deploycore.models import (
    BranchQuery,
    PullRequestQuery,
    RepositoryId,
    RepositoryQuery,
    TagQuery,
)
from deploycore.testing.messages import Answer, json_answer, with_headers

from .test_answers import COMMIT, MY_REPO, PULL_REQUEST, REPOSITORY

API = "/rest/api/latest"
REPO = f"{API}/projects/{{project}}/repos/{{slug}}"
SHOP = RepositoryId(owner="PRJ", slug="my-repo")
RECENT = f"GET {API}/profile/recent/repos"


def asked(host):
    return [f"{request.path}?{request.query}".rstrip("?") for request in host.requests]


def says(body, status=200, **headers):
    return lambda request, **names: with_headers(json_answer(body, status), headers)


def page(*values, **more):
    return {"size": len(values), "limit": 25, "isLastPage": True, "values": values, **more}


def refuses(status, message="x", exception="NoSuchEntityException", **headers):
    name = f"com.atlassian.bitbucket.{exception}"
    row = {"context": None, "message": message, "exceptionName": name}
    return says({"errors": [row]}, status, **headers)


def not_permitted(**headers):
    return refuses(401, "You are not permitted", "AuthorisationException", **headers)


def test_the_user_header_identifies_the_account(serve):
    provider, host = serve({RECENT: says(page(), **{"X-AUSERNAME": "ada%40example.com"})})
    assert provider.authenticate().username == "ada@example.com"
    assert asked(host) == [f"{API}/profile/recent/repos?limit=1"]


@pytest.mark.parametrize(
    ("mode", "changes", "name"),
    [
        ("password", {}, "ada"),
        ("personal-token", {"username": "bo"}, "bo"),
        ("personal-token", {"project": "PRJ"}, "PRJ"),
        ("personal-token", {}, "unknown"),
    ],
)
def test_without_the_user_header_the_configuration_identifies_the_account(
    serve, mode, changes, name
):
    provider, _ = serve({RECENT: says(page())}, mode=mode, **changes)
    assert provider.authenticate().username == name


def test_a_response_without_a_user_means_rejected_credentials(serve):
    provider, _ = serve({RECENT: not_permitted()})
    with pytest.raises(AuthenticationFailed, match="does not accept"):
        provider.authenticate()


def test_a_wrong_context_path_is_reported(serve):
    provider, _ = serve({})
    with pytest.raises(NotFound, match="No Bitbucket Data Center") as caught:
        provider.authenticate()
    assert "context path" in caught.value.hint


def test_an_outdated_server_is_reported_with_its_version(serve):
    version = {f"GET {API}/application-properties": says({"version": "4.14.3"})}
    with pytest.raises(NotFound, match=r"Bitbucket 4\.14\.3") as caught:
        serve(version)[0].authenticate()
    assert "Upgrade Bitbucket to version 7.21 or later" in caught.value.hint
    upgraded, _ = serve(
        {f"GET {API}/application-properties": says({"version": "7.21.0"}), RECENT: says(page())}
    )
    assert upgraded.authenticate()


def test_a_project_token_is_verified_by_listing_its_repositories(serve):
    provider, host = serve(
        {f"GET {API}/projects/{{project}}/repos": says(page())}, mode="access-token", project="PRJ"
    )
    assert provider.authenticate().username == "PRJ"
    assert asked(host) == [f"{API}/projects/PRJ/repos?limit=1"]


def test_a_token_without_a_project_is_verified_by_listing_all_repositories(serve):
    header = {"X-AUSERNAME": "access-token-user%2F1%2F2"}
    provider, host = serve({f"GET {API}/repos": says(page(), **header)}, mode="access-token")
    assert provider.authenticate().username == "access-token-user/1/2"
    assert asked(host) == [f"{API}/repos?limit=1"]


def test_a_repository_token_is_verified_by_its_repository_and_only_lists_it(serve):
    provider, host = serve(
        {f"GET {REPO}": says({**REPOSITORY, "defaultBranch": "main"})},
        mode="access-token",
        repository="PRJ/my-repo",
    )
    assert provider.authenticate().username == "PRJ/my-repo"
    assert [row.slug for row in provider.list_repos()] == ["my-repo"]
    assert [row.slug for row in provider.list_repos(RepositoryQuery(owner="prj"))] == ["my-repo"]
    with pytest.raises(PermissionDenied, match="cannot list the project 'OPS'") as caught:
        list(provider.list_repos(RepositoryQuery(owner="OPS")))
    assert set(asked(host)) == {f"{API}/projects/PRJ/repos/my-repo"}
    assert caught.value.hint == "Use a token of the project, or of a user."
    routes = {f"GET {API}/projects/OPS/repos": says(page(REPOSITORY))}
    for mode in ("access-token", "personal-token"):
        wider, _ = serve(routes, mode=mode)
        assert len(list(wider.list_repos(RepositoryQuery(owner="OPS")))) == 1


def test_requests_include_the_context_path(serve):
    url = "https://git.example.com/bitbucket"
    routes = {f"GET /bitbucket{API}/projects/{{project}}/repos": says(page(REPOSITORY))}
    provider, host = serve(routes, path="/bitbucket", project="PRJ")
    (found,) = provider.list_repos()
    assert found.url == MY_REPO.url.replace(url, f"{host.url}/bitbucket")
    clone = provider.clone_url(SHOP)
    assert clone.url == f"{host.url}/bitbucket/scm/prj/my-repo.git"


def test_personal_repositories_are_cloned_from_their_own_path(serve):
    provider, host = serve({})
    found = provider.clone_url(RepositoryId(owner="~Ada.L", slug="notes"))
    assert found.url == f"{host.url}/scm/~ada.l/notes.git"


def test_without_a_project_all_readable_repositories_are_listed(serve):
    provider, host = serve({f"GET {API}/repos": says(page(REPOSITORY))})
    assert [row.slug for row in provider.list_repos()] == ["my-repo"]
    assert asked(host) == [f"{API}/repos?limit=500&permission=REPO_READ"]


def test_an_owner_overrides_the_project(serve):
    provider, host = serve({f"GET {API}/projects/{{project}}/repos": says(page())}, project="PRJ")
    list(provider.list_repos(RepositoryQuery(owner="~ada", limit=3)))
    assert asked(host) == [f"{API}/projects/~ada/repos?limit=3"]


def test_the_next_page_starts_only_where_the_server_says(serve):
    """A server that limits the page size, and leaves out items that it has counted."""

    def listing(request, project):
        starts = {"": (1, 7), "7": (0, 40), "40": (2, None)}
        count, following = starts[request.query.get("start", "")]
        start = int(request.query.get("start", "0"))
        rows = [{**REPOSITORY, "slug": f"r{start + number}"} for number in range(count)]
        more = {"isLastPage": following is None, "nextPageStart": following}
        return json_answer({**page(*rows), **more})

    provider, host = serve({f"GET {API}/projects/{{project}}/repos": listing}, project="PRJ")
    assert [row.slug for row in provider.list_repos()] == ["r0", "r40", "r41"]
    address = f"{API}/projects/PRJ/repos?limit=500"
    assert asked(host) == [address, f"{address}&start=7", f"{address}&start=40"]


def test_the_last_page_ends_the_listing_whatever_else_it_contains(serve):
    provider, host = serve({f"GET {API}/repos": says(page(REPOSITORY, nextPageStart=1))})
    assert len(list(provider.list_repos())) == 1
    assert len(asked(host)) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"isLastPage": False, "nextPageStart": None},
        {"isLastPage": False},
        {"isLastPage": False, "nextPageStart": "25"},
        {"isLastPage": False, "nextPageStart": -1},
        {"isLastPage": False, "nextPageStart": True},
        {"isLastPage": "no"},
    ],
)
def test_a_page_without_the_start_of_the_next_page_is_unexpected(serve, more):
    answers = [says({**page(REPOSITORY), **more}), says(page(REPOSITORY))]
    provider, _ = serve({f"GET {API}/repos": lambda request: answers.pop(0)(request)})
    with pytest.raises(UnexpectedAnswer) as caught:
        list(provider.list_repos())
    is_lost = "does not say where the next one starts" in str(caught.value)
    assert ("Try again." if is_lost else "upgrade the provider's plugin") in caught.value.hint
    assert len(list(provider.list_repos())) == 1


@pytest.mark.parametrize("body", [{}, {"isLastPage": True}, {"message": "Sign in"}])
def test_a_response_without_values_is_not_an_empty_listing(serve, body):
    provider, _ = serve({f"GET {REPO}/branches": says(body)})
    with pytest.raises(UnexpectedAnswer):
        list(provider.list_branches(SHOP))


@pytest.mark.parametrize("following", [0, 1])
def test_a_loop_of_pages_is_stopped(serve, following):
    rows = page(REPOSITORY, isLastPage=False, nextPageStart=following)
    provider, host = serve({f"GET {API}/repos": says(rows)})
    with pytest.raises(UnexpectedAnswer):
        list(provider.list_repos())
    assert len(asked(host)) <= 3


def test_a_branch_search_by_exact_name_reads_one_page(serve):
    rows = [{"id": f"refs/heads/{name}", "latestCommit": COMMIT} for name in ("main", "main-line")]
    more = {"isLastPage": False, "nextPageStart": 2}
    provider, host = serve({f"GET {REPO}/branches": says({**page(*rows), **more})})
    assert [row.name for row in provider.list_branches(SHOP, BranchQuery(name="main"))] == ["main"]
    (only,) = asked(host)
    assert only.endswith("?limit=500&orderBy=ALPHABETICAL&filterText=main&boostMatches=true")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("a&b=c#", "a%26b%3Dc%23"), ("größe%", "gr%C3%B6%C3%9Fe%25"), ("🚀", "%F0%9F%9A%80")],
)
def test_a_filter_is_encoded_once(serve, name, quoted):
    provider, host = serve({f"GET {REPO}/branches": says(page()), f"GET {REPO}/tags": says(page())})
    list(provider.list_branches(SHOP, BranchQuery(name_contains=name)))
    list(provider.list_tags(SHOP, TagQuery(name=name)))
    assert all(f"filterText={quoted}" in request for request in asked(host))


def test_a_hidden_repository_is_not_found(serve):
    """The server sends the same response to credentials that can read nothing."""
    provider, host = serve(
        {
            f"GET {REPO}/branches": not_permitted(**{"X-AUSERNAME": "ada"}),
            f"GET {API}/repos": says(page(REPOSITORY)),
        }
    )
    with pytest.raises(NotFound, match="cannot read it") as caught:
        list(provider.list_branches(SHOP))
    assert "Repository read" in caught.value.hint
    assert asked(host)[1:] == [f"{API}/repos?limit=1&permission=REPO_READ"]


@pytest.mark.parametrize("others", [says(page()), refuses(503), says("nonsense")])
def test_credentials_that_can_read_nothing_get_a_permission_error(serve, others):
    provider, _ = serve(
        {
            f"GET {REPO}/branches": not_permitted(**{"X-AUSERNAME": "ada"}),
            f"GET {API}/repos": others,
        }
    )
    with pytest.raises(PermissionDenied, match="may not read"):
        list(provider.list_branches(SHOP))


def test_the_default_branch_is_requested_if_the_repository_lacks_it(serve):
    provider, host = serve(
        {
            f"GET {REPO}": says(REPOSITORY),
            f"GET {REPO}/default-branch": says({"id": "refs/heads/trunk", "displayId": "trunk"}),
        }
    )
    assert provider.find_repository(SHOP).default_branch == "trunk"
    assert len(asked(host)) == 2


@pytest.mark.parametrize("default", [refuses(404), lambda request, **names: Answer(204, {})])
def test_an_empty_repository_has_no_default_branch(serve, default):
    provider, _ = serve({f"GET {REPO}": says(REPOSITORY), f"GET {REPO}/default-branch": default})
    assert provider.find_repository(SHOP).default_branch is None


def test_an_unknown_pull_request_is_none_and_an_unknown_repository_an_error(serve):
    number = PullRequestQuery(number=9)
    provider, _ = serve({f"GET {REPO}": says(REPOSITORY)})
    assert list(provider.list_pull_requests(SHOP, number)) == []
    provider, _ = serve({})
    with pytest.raises(NotFound):
        list(provider.list_pull_requests(SHOP, number))


def test_open_pull_requests_are_requested(serve):
    provider, host = serve({f"GET {REPO}/pull-requests": says(page(PULL_REQUEST))})
    assert [row.number for row in provider.list_pull_requests(SHOP)] == [101]
    assert asked(host)[0].endswith("/pull-requests?limit=500&state=OPEN")


def test_a_rate_limit_error_has_its_end_time(serve):
    provider, _ = serve({f"GET {API}/repos": refuses(429, **{"Retry-After": "1800"})})
    with pytest.raises(RateLimited) as caught:
        list(provider.list_repos())
    assert caught.value.retry_at is not None


BUILDS = f"POST {REPO}/commits/{{commit}}/builds"
OLDER = "POST /rest/build-status/latest/commits/{commit}"
STATUS = CommitStatus(commit=COMMIT, key="deploycore/shop", state="stopped", name="shop")
THERE = {
    f"GET {REPO}": says(REPOSITORY),
    f"GET {REPO}/commits/{{commit}}": says({"id": COMMIT}),
}


@pytest.fixture
def taking():
    """A server for statuses: ``taking(states)`` accepts these states, and ``taking.seen`` has the
    requests."""

    class Taking:
        def __init__(self):
            self.seen = []

        def __call__(self, *states):
            def take(request, **names):
                self.seen.append(json.loads(request.body))
                if self.seen[-1]["state"] not in states:
                    return refuses(400, "invalid state")(request)
                return Answer(204, {})

            return take

    return Taking()


def test_a_status_without_a_url_links_to_the_commit(serve, taking):
    provider, host = serve({BUILDS: taking("CANCELLED")})
    provider.report_status(SHOP, STATUS)
    provider.report_status(SHOP, STATUS.model_copy(update={"url": f"https://x/{'y' * 450}"}))
    page_of_commit = f"{host.url}/projects/PRJ/repos/my-repo/commits/{COMMIT}"
    assert [body["url"] for body in taking.seen] == [page_of_commit] * 2
    assert "ref" not in taking.seen[0]


def test_a_server_without_the_cancelled_state_receives_failed(serve, taking):
    provider, _ = serve({BUILDS: taking("FAILED"), **THERE})
    provider.report_status(SHOP, STATUS)
    assert [body["state"] for body in taking.seen] == ["CANCELLED", "FAILED"]


def test_any_other_rejected_state_is_an_error(serve, taking):
    provider, _ = serve({BUILDS: taking(), **THERE})
    with pytest.raises(ProviderError, match="400"):
        provider.report_status(SHOP, STATUS.model_copy(update={"state": "failed"}))
    assert len(taking.seen) == 1


def test_an_older_server_receives_the_older_status_format(serve, taking):
    provider, _ = serve({OLDER: taking("FAILED"), **THERE})
    provider.report_status(SHOP, STATUS)
    assert [body["state"] for body in taking.seen] == ["FAILED"]


def test_a_server_without_either_status_api_is_reported_with_its_version(serve):
    version = {f"GET {API}/application-properties": says({"version": "4.1.0"})}
    provider, _ = serve({**THERE, **version})
    with pytest.raises(NotFound, match=r"Bitbucket 4\.1\.0"):
        provider.report_status(SHOP, STATUS)


@pytest.mark.parametrize("status", [400, 404])
def test_a_deleted_commit_is_not_found(serve, status):
    provider, _ = serve({BUILDS: refuses(status), f"GET {REPO}": says(REPOSITORY)})
    with pytest.raises(NotFound, match="has no commit"):
        provider.report_status(SHOP, STATUS)


def test_the_ssh_address_is_the_link_of_the_repository(serve):
    provider, host = serve({f"GET {REPO}": says(REPOSITORY)})
    found = provider.ssh_clone_url(SHOP)
    assert found.url == "ssh://git@git.example.com:7999/prj/my-repo.git"
    assert found.host_keys == ()
    assert len(asked(host)) == 1


def test_without_a_link_there_is_no_ssh_address(serve):
    provider, _ = serve({f"GET {REPO}": says({**REPOSITORY, "links": {"clone": []}})})
    with pytest.raises(NotFound, match="names no SSH address") as caught:
        provider.ssh_clone_url(SHOP)
    assert "turn on SSH, or clone over HTTPS" in caught.value.hint
    turned_on, host = serve({f"GET {REPO}": says(REPOSITORY)})
    assert turned_on.ssh_clone_url(SHOP).url.startswith("ssh://")
    assert provider.clone_url(SHOP).url.startswith("http://")


def test_a_link_with_another_scheme_is_unexpected(serve):
    links = {"clone": [{"name": "ssh", "href": "https://git.example.com/prj/my-repo.git"}]}
    provider, _ = serve({f"GET {REPO}": says({**REPOSITORY, "links": links})})
    with pytest.raises(UnexpectedAnswer):
        provider.ssh_clone_url(SHOP)
