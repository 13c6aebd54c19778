"""The plugin against the sandbox, over real sockets: each mode, long listings, odd names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tracemalloc
from itertools import islice

import pytest
from deploycore_bitbucket.sandbox import Fault, User, faults
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.http import HttpSettings
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.testing.paging import JsonLink
from tests.processes import Process

ADA = User(username="ada", email="ada@example.com", display_name="Ada")
SHOP = RepositoryId(owner="acme", slug="shop")
ODD_BRANCHES = [
    "100%",
    "a&b=c+d",
    "feature/deep/er",
    "fix#1",
    "größe/日本",
    "main",
    "percent%2Fencoded",
    'say-"hi"',
]


@pytest.fixture
def make_acme(make_sandbox):
    """Starts a sandbox with user ada and her workspace acme."""

    def make(**options):
        sandbox = make_sandbox(**options)
        assert sandbox.add_user("ada") == ADA
        sandbox.add_workspace("acme", "Acme Corporation", members=[ADA])
        return sandbox

    return make


@pytest.fixture
def sandbox(make_acme):
    return make_acme()


@pytest.fixture
def connect(provider):
    """Opens the plugin on a sandbox with a new credential of a mode."""

    def connect_one(sandbox, mode="api-token", /, *, scopes=None, http_settings=None, **changes):
        given = {} if scopes is None else {"scopes": scopes}
        match mode:
            case "app-password":
                credential = sandbox.add_app_password(ADA, **given)
                values = {"username": "ada", "app_password": credential.secret}
            case "api-token":
                credential = sandbox.add_api_token(ADA, **given)
                values = {"email": ADA.email, "token": credential.secret}
            case _:
                credential = sandbox.add_access_token("acme", **given)
                values = {"token": credential.secret}
        addresses = {"api_url": sandbox.api_url, "git_url": sandbox.git_url}
        values |= {"workspace": "acme", **addresses, **changes}
        return provider(mode, http_settings=http_settings, **values)

    return connect_one


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bitbucket-")]


def test_each_mode_connects_lists_and_returns_a_clone_url(sandbox, connect, mode):
    sandbox.add_repository("acme", "shop", files={"README.md": b"# Shop\n"})
    opened = connect(sandbox, mode)
    assert opened.authenticate().username == ("acme" if mode == "access-token" else "ada")
    (repository,) = opened.list_repos()
    assert str(repository.id) == "acme/shop"
    assert repository.default_branch == "main"
    assert repository.owner.display_name == "Acme Corporation"
    assert all("@" not in link.href for link in repository.clone_links if link.name == "https")
    (branch,) = opened.list_branches(repository.id)
    assert branch.name == "main"
    assert opened.clone_url(repository.id).url == f"{sandbox.git_url}/acme/shop.git"


LEAST_SCOPES = {
    "app-password": ["repository"],
    "api-token": ["read:repository:bitbucket"],
    "access-token": ["repository"],
}


OTHER_SCOPES = {
    "app-password": ["webhook"],
    "api-token": ["read:pullrequest:bitbucket"],
    "access-token": ["webhook"],
}


def test_the_least_privileged_credentials_connect_in_each_mode(sandbox, connect, mode):
    sandbox.add_repository("acme", "shop")
    opened = connect(sandbox, mode, scopes=LEAST_SCOPES[mode])
    assert opened.authenticate().username == "acme"
    assert [repository.slug for repository in opened.list_repos()] == ["shop"]


def test_the_error_without_repository_scope_names_the_missing_scope(sandbox, connect, mode):
    sandbox.add_repository("acme", "shop")
    opened = connect(sandbox, mode, scopes=OTHER_SCOPES[mode])
    with pytest.raises(PermissionDenied, match="scope") as caught:
        opened.authenticate()
    expected = {"api-token": "select: read:repository:bitbucket"}
    assert expected.get(mode, "select: Repositories: Read") in caught.value.hint


def test_removed_app_passwords_explain_the_migration(make_acme, connect):
    opened = connect(make_acme(app_passwords="removed"), "app-password")
    with pytest.raises(AuthenticationFailed) as caught:
        opened.authenticate()
    assert "2026-07-28" in caught.value.hint
    assert "api-tokens" in caught.value.hint


@pytest.mark.parametrize(
    ("mode", "wrong"),
    [
        ("app-password", {"app_password": SecretStr("ATBBwrongwrongwrong")}),
        ("app-password", {"username": "eve"}),
        ("api-token", {"token": SecretStr("ATATTwrongwrongwrong")}),
        ("api-token", {"email": "eve@example.com"}),
        ("access-token", {"token": SecretStr("ATCTTwrongwrongwrong")}),
    ],
)
def test_rejected_credentials_are_named_by_mode(sandbox, connect, mode, wrong):
    opened = connect(sandbox, mode, **wrong)
    for action in (opened.authenticate, lambda: list(opened.list_repos())):
        with pytest.raises(AuthenticationFailed) as caught:
            action()
        assert mode.replace("-", " ") in caught.value.message.lower()


def test_unknown_workspaces_and_repositories_are_distinguished(sandbox, connect):
    sandbox.add_repository("acme", "hidden", readers=[])
    opened = connect(sandbox)
    with pytest.raises(NotFound, match="Workspace 'nowhere' was not found"):
        list(opened.list_repos(RepositoryQuery(owner="nowhere")))
    for slug in ("nothing", "hidden"):
        repository = RepositoryId(owner="acme", slug=slug)
        with pytest.raises(NotFound, match=f"epository acme/{slug} was not found"):
            opened.find_branch(repository, "main")


def test_branches_with_unusual_names_are_listed_and_found(sandbox, connect):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"a"}, "Start")
    sandbox.add_branches("acme", "shop", ODD_BRANCHES, at=commit)
    opened = connect(sandbox)
    assert [branch.name for branch in opened.list_branches(SHOP)] == sorted(ODD_BRANCHES)
    for name in ODD_BRANCHES:
        assert opened.find_branch(SHOP, name).commit == commit


def test_a_filter_finds_parts_of_unusual_names(sandbox, connect):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"a"}, "Start")
    sandbox.add_branches("acme", "shop", ODD_BRANCHES, at=commit)
    opened = connect(sandbox)
    for part, expected in [("%", ["100%", "percent%2Fencoded"]), ('"HI"', ['say-"hi"'])]:
        found = opened.list_branches(SHOP, BranchQuery(name_contains=part))
        assert [branch.name for branch in found] == expected


def test_a_repository_without_commits_has_no_branches(sandbox, connect):
    sandbox.add_repository("acme", "shop")
    opened = connect(sandbox)
    assert next(opened.list_repos()).default_branch is None
    assert list(opened.list_branches(SHOP)) == []


def test_filter_and_limit_are_applied_by_the_server(sandbox, connect):
    sandbox.listed_repositories("acme", 300)
    sandbox.listed_repositories("acme", 300, prefix="shop")
    query = RepositoryQuery(name_contains="SHOP", limit=5)
    found = [repository.slug for repository in connect(sandbox).list_repos(query)]
    assert found == [f"shop-00{number}" for number in range(1, 6)]
    assert len(sandbox.requests) == 1


# Long listings


@pytest.mark.parametrize("pagination", ["list", "iterator"])
@pytest.mark.parametrize("prefetch", [0, 8])
def test_a_long_listing_is_complete_ordered_and_unique(make_acme, connect, pagination, prefetch):
    sandbox = make_acme(pagination=pagination)
    sandbox.listed_repositories("acme", 1_234)
    found = [item.slug for item in connect(sandbox, prefetch_pages=prefetch).list_repos()]
    assert found == [f"repository-{number:04}" for number in range(1, 1_235)]
    assert len(sandbox.requests) == 13


LARGE_SANDBOX = """
import json, sys
from deploycore_bitbucket.sandbox import Sandbox

from deploycore.testing.paging import JsonLink

with Sandbox() as sandbox:
    sandbox.add_workspace("acme")
    sandbox.listed_repositories("acme", 10_000)
    token = sandbox.add_access_token("acme").secret.get_secret_value()
    print(json.dumps({"api_url": sandbox.api_url, "token": token}), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def large_sandbox():
    """Values to connect to a sandbox of 10,000 repositories, with memory of its own."""
    command = [sys.executable, "-c", LARGE_SANDBOX]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with Process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        values = json.loads(process.stdout.readline())
        yield {**values, "token": SecretStr(values["token"])}
        process.stdin.close()


def test_ten_thousand_repositories_are_listed_in_order_in_bounded_memory(provider, large_sandbox):
    opened = provider("access-token", **large_sandbox)
    expected = 0
    tracemalloc.start()
    try:
        for expected, repository in enumerate(opened.list_repos(), start=1):
            assert repository.slug == f"repository-{expected:05}"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert expected == 10_000
    assert threads() == []
    assert peak < 8 * 1024 * 1024


def test_an_abandoned_listing_sends_no_more_requests(sandbox, connect):
    sandbox.listed_repositories("acme", 10_000)
    listing = connect(sandbox, prefetch_pages=4).list_repos()
    assert len(list(islice(listing, 250))) == 250
    listing.close()
    assert threads() == []
    assert len(sandbox.requests) <= 3 + 5


def test_concurrent_listings_do_not_affect_each_other(sandbox, connect):
    sandbox.listed_repositories("acme", 900)
    opened = connect(sandbox)
    one, other = opened.list_repos(), opened.list_repos()
    assert [(a.slug, b.slug) for a, b in zip(one, other, strict=True)] == [
        (f"repository-{number:03}",) * 2 for number in range(1, 901)
    ]


# Failures

REPOSITORIES = "/2.0/repositories/acme"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (faults.html(), UnexpectedAnswer),
        (faults.malformed_json(), UnexpectedAnswer),
        (faults.truncated_json(), UnexpectedAnswer),
        (faults.wrong_types(), UnexpectedAnswer),
        (faults.looping_next(JsonLink()), ProviderError),
        (faults.next_elsewhere(JsonLink(), "http://127.0.0.2:9"), ProviderError),
        (faults.connection_cut(), ProviderUnavailable),
        (faults.connection_reset(), ProviderUnavailable),
        (faults.rate_limited(), RateLimited),
        (faults.answer(500, "broken"), ProviderError),
        (faults.answer(503, "down"), ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("query", ["*", "*page=4"], ids=["always", "on page 4"])
def test_every_fault_is_a_typed_error_and_leaves_no_thread_behind(
    sandbox, connect, change, error, query
):
    sandbox.listed_repositories("acme", 950)
    opened = connect(sandbox)
    sandbox.faults.add(Fault(change, path=REPOSITORIES, query=query))
    with pytest.raises(error) as caught:
        list(opened.list_repos())
    assert caught.value.details["provider"] == "work"
    assert threads() == []


def test_endless_pages_are_an_error(sandbox, connect):
    sandbox.listed_repositories("acme", 150)
    sandbox.faults.add(Fault(faults.endless_pages(JsonLink()), path=REPOSITORIES))
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        list(connect(sandbox).list_repos())


def test_a_temporary_fault_during_a_listing_is_retried(sandbox, connect):
    sandbox.listed_repositories("acme", 950)
    settings = HttpSettings(backoff_first=0.001, backoff_most=0.01)
    opened = connect(sandbox, http_settings=settings)
    for change in (faults.answer(503, "down"), faults.rate_limited(), faults.connection_reset()):
        sandbox.faults.add(Fault(change, path=REPOSITORIES, query="*page=4", times=1))
    assert len(list(opened.list_repos())) == 950


def test_a_rate_limit_during_prefetching_is_waited_for_page_by_page(sandbox, connect):
    sandbox.listed_repositories("acme", 950)
    sandbox.faults.add(Fault(faults.rate_limited(), path=REPOSITORIES, query="*page=4", times=1))
    assert len(list(connect(sandbox).list_repos())) == 950
    assert threads() == []


def test_no_server_log_or_error_contains_a_secret(sandbox, connect, mode, caplog):
    opened = connect(sandbox, mode)
    secret = sandbox.credentials[-1].secret.get_secret_value()
    sandbox.faults.add(Fault(faults.answer(500, f"you sent {secret}")))
    with pytest.raises(ProviderError) as caught:
        opened.authenticate()
    assert secret not in str(caught.value.as_dict())
    assert secret not in caplog.text
    assert secret not in str(sandbox.requests)
