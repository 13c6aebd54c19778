"""The sandbox rejects what Bitbucket Data Center rejects, with the same messages.

Each exchange of these tests is checked against the API description; see
``tests.openapi_data_center``.
"""

from __future__ import annotations

import pytest
import requests
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    RemoteRefused,
)
from deploycore.events import CommitStatus
from deploycore.git import GitSettings, export
from deploycore.models import BranchQuery, CommitHash, OwnerQuery, PullRequestQuery, RepositoryId
from deploycore.testing.scenarios import MANY, ONE, TWO, Access

SETTINGS = GitSettings(connect_timeout=5, read_timeout=10, retries=0)
ALL = RepositoryId(owner="WEB", slug="engine")


@pytest.fixture
def get(sandbox):
    """Sends a request to the API, with a token with all permissions unless another header is
    given."""
    token = sandbox.add_credential("personal-token").secret.get_secret_value()

    def ask(path, authorization=f"Bearer {token}", **query):
        headers = {"Authorization": authorization} if authorization else {}
        return requests.get(
            f"{sandbox.base_url}/rest/api/latest/{path}", headers=headers, params=query, timeout=10
        )

    return ask


def test_pages_are_limited_and_contain_the_start_of_the_next_one(sandbox, get):
    sandbox.arrange(MANY)
    first = get("projects/WEB/repos", limit=1000).json()
    assert (first["size"], first["limit"], first["nextPageStart"]) == (100, 100, 100)
    assert first["isLastPage"] is False
    last = get("projects/WEB/repos", limit=1000, start=200).json()
    assert (last["size"], last["isLastPage"]) == (50, True)
    assert "nextPageStart" not in last
    assert get("projects/WEB/repos").json()["size"] == 25
    assert get("projects/WEB/repos", start="x").status_code == 400


def test_project_keys_are_case_insensitive(sandbox, get):
    sandbox.arrange(ONE)
    assert get("projects/web/repos/shop").json()["project"]["key"] == "WEB"


def test_links_contain_the_username_and_the_plugin_removes_it(sandbox, get, on_sandbox):
    sandbox.arrange(ONE)
    (link, _) = get("projects/WEB/repos/shop").json()["links"]["clone"]
    assert "//ada@127.0.0.1" in link["href"]
    (shop,) = on_sandbox().list_repos()
    assert [link.name for link in shop.clone_links] == ["https", "ssh"]
    assert shop.clone_links[0].href == f"{sandbox.base_url}/scm/web/shop.git"
    assert shop.clone_links[1].href == "ssh://git@127.0.0.1:7999/web/shop.git"


@pytest.mark.parametrize("path", ["projects/WEB/repos", "projects/WEB/repos/shop", "projects"])
def test_unauthenticated_requests_are_rejected(sandbox, get, path):
    sandbox.arrange(ONE)
    refused = get(path, None)
    assert refused.status_code == 401
    assert "X-AUSERNAME" not in refused.headers
    (row,) = refused.json()["errors"]
    assert row["exceptionName"].endswith("IncorrectPasswordAuthenticationException")


def test_hidden_resources_are_rejected_as_a_missing_permission(sandbox, get):
    sandbox.arrange(ONE)
    for path in ("projects/rival/repos/hidden", "projects/rival/repos"):
        refused = get(path)
        assert refused.status_code == 401
        assert refused.headers["X-AUSERNAME"] == "ada"
        assert refused.json()["errors"][0]["exceptionName"].endswith("AuthorisationException")
    assert get("projects/WEB/repos/nowhere").status_code == 404


def test_hidden_resources_and_missing_permissions_are_distinguished(sandbox, on_sandbox, mode):
    sandbox.arrange(ONE)
    hidden = RepositoryId(owner="rival", slug="hidden")
    with pytest.raises(NotFound):
        on_sandbox(mode).find_repository(hidden)
    with pytest.raises(PermissionDenied, match="Repository read"):
        raise_with_hint(on_sandbox(mode, Access.UNSCOPED).find_repository, hidden)


def raise_with_hint(call, *arguments):
    try:
        call(*arguments)
    except PermissionDenied as error:
        raise PermissionDenied(f"{error.message} {error.hint}") from None


def test_with_basic_authentication_disabled_only_tokens_are_accepted(sandbox, on_sandbox, tmp_path):
    (shop,) = sandbox.arrange(ONE)
    sandbox.basic = False
    for mode in ("personal-token", "access-token"):
        provider = on_sandbox(mode)
        provider.authenticate()
        source = provider.clone_url(RepositoryId(owner=shop.owner, slug=shop.slug))
        export(source, shop.default_branch, tmp_path / mode, settings=SETTINGS)
    with pytest.raises(AuthenticationFailed, match="Basic authentication is turned off") as caught:
        on_sandbox("password").authenticate()
    assert "personal-token" in caught.value.hint


def test_with_basic_authentication_disabled_git_reports_it(sandbox, on_sandbox, tmp_path):
    (shop,) = sandbox.arrange(ONE)
    sandbox.basic = False
    source = on_sandbox("password").clone_url(RepositoryId(owner=shop.owner, slug=shop.slug))
    with pytest.raises(RemoteRefused):
        export(source, shop.default_branch, tmp_path / "clone", settings=SETTINGS)


def test_a_project_token_is_not_accepted_as_a_password(sandbox, on_sandbox):
    secret = sandbox.add_credential("access-token").secret
    with pytest.raises(AuthenticationFailed):
        on_sandbox("password", password=secret).authenticate()
    secret = sandbox.add_credential("personal-token").secret
    assert on_sandbox("password", password=secret).authenticate().username == "ada"


def test_a_personal_token_can_clone_with_its_username(sandbox, on_sandbox, tmp_path):
    (shop,) = sandbox.arrange(ONE)
    source = on_sandbox(username="ada").clone_url(RepositoryId(owner=shop.owner, slug=shop.slug))
    assert source.credential.scheme == "basic"
    done = export(source, shop.default_branch, tmp_path / "clone", settings=SETTINGS)
    assert done.commit == shop.branches[shop.default_branch]


def test_every_response_read_matches_the_documentation(sandbox, on_sandbox, mode):
    sandbox.arrange(TWO)
    sandbox.publish("~ada", "diary", "main", {"a": b"1"}, "Start")
    engine = sandbox.existing("WEB", "engine")
    commit = sandbox.git.branches(engine)["main"]
    sandbox.add_tag("WEB", "engine", "v1.0", at=commit)
    sandbox.publish("WEB", "engine", "develop", {"b": b"1"}, "Go on")
    row = sandbox.open_pull_request("WEB", "engine", "develop", "main", title="Go on")
    provider = on_sandbox(mode)
    assert provider.authenticate().username == ("WEB" if mode == "access-token" else "ada")
    assert {found.slug for found in provider.list_repos()} == {"engine", "notes", "vacant"}
    assert [found.username for found in provider.list_owners(OwnerQuery())] == ["WEB"]
    assert len(list(provider.list_branches(ALL))) == 3
    query = BranchQuery(name="develop")
    assert [found.name for found in provider.list_branches(ALL, query)] == ["develop"]
    assert [(tag.name, tag.commit) for tag in provider.list_tags(ALL)] == [("v1.0", commit)]
    assert [found.title for found in provider.list_pull_requests(ALL)] == ["Go on"]
    sandbox.merge_pull_request(row)
    query = PullRequestQuery(number=row.number)
    assert [found.state for found in provider.list_pull_requests(ALL, query)] == ["merged"]
    found = provider.find_repository(ALL)
    assert (found.default_branch, found.host_id) == ("main", str(engine.number))


def test_personal_repositories_are_listed_and_cloned(sandbox, on_sandbox, tmp_path):
    commit = sandbox.publish("~ada", "diary", "main", {"a": b"1"}, "Start")
    provider = on_sandbox(project="~ada")
    (diary,) = provider.list_repos()
    assert diary.url == f"{sandbox.base_url}/users/ada/repos/diary/browse"
    source = provider.clone_url(diary.id)
    assert source.url == f"{sandbox.base_url}/scm/~ada/diary.git"
    assert export(source, "main", tmp_path / "clone", settings=SETTINGS).commit == commit


def test_without_a_project_all_readable_repositories_are_listed(sandbox, on_sandbox):
    sandbox.arrange(ONE)
    sandbox.publish("~ada", "diary", "main", {"a": b"1"}, "Start")
    provider = on_sandbox(project=None)
    assert [str(row.id) for row in provider.list_repos()] == ["WEB/shop", "~ada/diary"]


def test_the_default_branch_is_requested_if_responses_lack_it(sandbox, on_sandbox):
    sandbox.arrange(TWO)
    sandbox.tells_default_branch = False
    provider = on_sandbox()
    assert provider.find_repository(ALL).default_branch == "main"
    vacant = RepositoryId(owner="WEB", slug="vacant")
    assert provider.find_repository(vacant).default_branch is None
    assert {row.default_branch for row in provider.list_repos()} == {None}


def status(commit: CommitHash, state="in_progress"):
    return CommitStatus(commit=commit, key="deploycore/shop", state=state, name="shop")


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, ["in_progress", "successful", "failed", "stopped"]),
        ({"knows_cancelled": False}, ["in_progress", "successful", "failed", "failed"]),
        ({"has_builds": False}, ["in_progress", "successful", "failed", "failed"]),
    ],
)
def test_statuses_work_with_servers_of_all_versions(sandbox, on_sandbox, settings, shown):
    (shop,) = sandbox.arrange(ONE)
    commit = shop.branches[shop.default_branch]
    for name, value in settings.items():
        setattr(sandbox, name, value)
    provider, found = on_sandbox(), []
    for state in ("in_progress", "successful", "failed", "stopped"):
        provider.report_status(RepositoryId(owner="WEB", slug="shop"), status(commit, state))
        (only,) = sandbox.statuses("WEB", "shop", commit)
        found.append(only.state)
    assert found == shown
