"""The sandbox rejects what GitLab rejects, and sends the same responses."""

from __future__ import annotations

import pytest
import requests
from deploycore.errors import RemoteRefused
from deploycore.git import GitSettings, export
from deploycore.models import CloneUrl, GitCredential, RepositoryId
from deploycore.testing.scenarios import EMPTY, MANY, ONE, TWO, Access

from deploycore_gitlab.sandbox import GitLabSandbox

SHOP = RepositoryId(owner="acme/platform", slug="shop")
SETTINGS = GitSettings(connect_timeout=5, read_timeout=10, retries=0)


def revealed(credential):
    return credential.secret.get_secret_value()


@pytest.fixture
def token(sandbox):
    return revealed(sandbox.add_credential("access-token"))


@pytest.fixture
def get(sandbox, token):
    """Sends a request to the API: ``get(path, headers=…, **query)``."""

    def ask(path, headers=None, **query):
        headers = {"PRIVATE-TOKEN": token} if headers is None else headers
        return requests.get(
            f"{sandbox.url}/api/v4{path}", params=query, headers=headers, timeout=10
        )

    return ask


# Permissions for the API


@pytest.mark.parametrize("how", ["private", "bearer"])
def test_access_tokens_are_accepted_in_either_header(get, token, how):
    headers = {
        "private": {"PRIVATE-TOKEN": token},
        "bearer": {"Authorization": f"Bearer {token}"},
    }
    assert get("/user", headers[how]).status_code == 200


def test_oauth_tokens_are_only_accepted_as_bearer(sandbox, get):
    secret = revealed(sandbox.add_credential("oauth-token"))
    assert get("/user", {"Authorization": f"Bearer {secret}"}).status_code == 200
    assert get("/user", {"PRIVATE-TOKEN": secret}).status_code == 401


def test_the_api_rejects_deploy_tokens_and_usernames(sandbox, get, token):
    credential = sandbox.add_credential("deploy-token")
    deploy_token = sandbox.settings(credential)["deploy_token"].get_secret_value()
    for headers in (
        {"PRIVATE-TOKEN": deploy_token},
        {"Authorization": f"Bearer {deploy_token}"},
        {"Deploy-Token": deploy_token},
        {},
    ):
        refused = get("/projects", headers)
        assert (refused.status_code, refused.json()) == (401, {"message": "401 Unauthorized"})
    url = f"{sandbox.url}/api/v4/user"
    assert requests.get(url, auth=("oauth2", token), timeout=10).status_code == 401


def test_an_expired_token_is_reported_by_the_api(sandbox, get):
    secret = revealed(sandbox.add_credential("access-token", Access.EXPIRED))
    refused = get("/user", {"PRIVATE-TOKEN": secret})
    assert refused.status_code == 401
    assert refused.json()["error"] == "invalid_token"
    assert refused.json()["error_description"].startswith("Token is expired.")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/projects", "/groups/acme%2Fplatform/projects"])
def test_an_error_lists_the_scopes_that_would_be_accepted(sandbox, get, path):
    secret = revealed(sandbox.add_credential("access-token", Access.UNSCOPED))
    refused = get(path, {"PRIVATE-TOKEN": secret})
    assert refused.status_code == 403
    assert refused.json()["error"] == "insufficient_scope"
    assert refused.json()["scope"] == "api read_api"


def test_a_token_with_any_scopes_can_query_itself(sandbox, get):
    secret = revealed(sandbox.add_credential("access-token", scopes=["read_registry"]))
    headers = {"PRIVATE-TOKEN": secret}
    assert get("/personal_access_tokens/self", headers).json()["scopes"] == ["read_registry"]
    assert get("/user", headers).status_code == 403


def test_oauth_tokens_are_described_by_another_endpoint(sandbox, get):
    secret = revealed(sandbox.add_credential("oauth-token", Access.LEAST))
    headers = {"Authorization": f"Bearer {secret}"}
    assert get("/personal_access_tokens/self", headers).status_code == 400
    url = f"{sandbox.url}/oauth/token/info"
    found = requests.get(url, headers=headers, timeout=10)
    assert found.json()["scope"] == ["read_api", "read_repository"]
    refused = requests.get(url, headers={"Authorization": "Bearer x"}, timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")


def test_the_minimum_permissions_are_those_documented(sandbox):
    granted = {mode: sandbox.granted(mode, Access.LEAST) for mode in GitLabSandbox.MODES}
    assert granted == {
        "access-token": ("read_api", "read_repository"),
        "oauth-token": ("read_api", "read_repository"),
        "deploy-token": ("read_api",),
    }


# Responses


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/groups/rival/projects", "404 Group Not Found"),
        ("/users/nobody/projects", "404 User Not Found"),
        ("/projects/rival%2Fhidden/repository/branches", "404 Project Not Found"),
        ("/projects/acme%2Fplatform%2Fshop/repository/branches/nowhere", "404 Branch Not Found"),
    ],
)
def test_hidden_and_missing_resources_are_not_found(sandbox, get, path, said):
    sandbox.arrange(ONE)
    refused = get(path)
    assert (refused.status_code, refused.json()) == (404, {"message": said})


def test_a_path_with_unencoded_slashes_is_not_found(sandbox, get):
    sandbox.arrange(ONE)
    refused = get("/projects/acme/platform/shop/repository/branches")
    assert (refused.status_code, refused.json()) == (404, {"error": "404 Not Found"})


def test_numbered_pages_have_the_links_and_headers_of_gitlab(sandbox, get):
    sandbox.arrange(MANY)
    page = get("/groups/acme%2Fplatform/projects", page=2, per_page=100, sort="asc")
    address = f"{sandbox.url}/api/v4/groups/acme%2Fplatform/projects"
    query = "id=acme%2Fplatform&page={}&per_page=100&sort=asc"
    assert page.headers["Link"] == ", ".join(
        f'<{address}?{query.format(number)}>; rel="{relation}"'
        for relation, number in (("prev", 1), ("next", 3), ("first", 1), ("last", 3))
    )
    counts = {name: value for name, value in page.headers.items() if name.startswith("X-")}
    assert counts == {
        "X-Next-Page": "3",
        "X-Page": "2",
        "X-Per-Page": "100",
        "X-Prev-Page": "1",
        "X-Total": "250",
        "X-Total-Pages": "3",
    }


def test_a_page_has_twenty_items_by_default_and_at_most_a_hundred(sandbox, get):
    sandbox.arrange(MANY)
    assert len(get("/groups/acme%2Fplatform/projects").json()) == 20
    assert len(get("/groups/acme%2Fplatform/projects", per_page=500).json()) == 100


@pytest.mark.parametrize("query", [{"page": "x"}, {"page": "0"}, {"per_page": "-1"}])
def test_an_invalid_page_is_rejected(get, query):
    assert get("/projects", **query).status_code == 400


def test_keyset_pagination_follows_the_order_by_id(sandbox, get):
    sandbox.arrange(TWO)
    query = {"pagination": "keyset", "membership": "true", "sort": "asc"}
    page = get("/projects", order_by="id", **query)
    assert "id_after=" in page.headers["Link"]
    assert "X-Total" not in page.headers
    last = requests.get(page.links["next"]["url"], headers=page.request.headers, timeout=10)
    assert (last.json(), "Link" in last.headers) == ([], False)
    assert get("/projects", **query).status_code == 405


def test_keyset_pagination_can_start_with_the_newest_item(sandbox, get):
    sandbox.arrange(TWO)
    query = {"pagination": "keyset", "order_by": "id", "per_page": 2, "membership": "true"}
    page = get("/projects", **query)
    assert [row["path"] for row in page.json()] == ["vacant", "notes"]
    rest = requests.get(page.links["next"]["url"], headers=page.request.headers, timeout=10)
    assert [row["path"] for row in rest.json()] == ["engine"]


def test_the_first_numbered_page_of_branches_always_has_a_next_one(sandbox, get):
    sandbox.arrange(ONE)
    page = get("/projects/acme%2Fplatform%2Fshop/repository/branches")
    assert len(page.json()) == 1
    following = requests.get(page.links["next"]["url"], headers=page.request.headers, timeout=10)
    assert (following.json(), "next" in following.links) == ([], False)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("re", ["release/2.0"]),
        ("^develop$", ["develop"]),
        ("^e", []),
        ("E/2", ["release/2.0"]),
        ("0$", ["release/2.0"]),
        ("m*n", ["main"]),
    ],
)
def test_branches_can_be_searched_by_part_start_end_and_wildcard(sandbox, get, search, found):
    sandbox.arrange(TWO)
    page = get("/projects/acme%2Fplatform%2Fengine/repository/branches", search=search)
    assert [row["name"] for row in page.json()] == found


def test_a_renamed_project_redirects_to_its_number(sandbox, get):
    sandbox.arrange(ONE)
    row = sandbox.find("acme/platform", "shop")
    sandbox.moved["acme/old"] = row
    url = f"{sandbox.url}/api/v4/projects/acme%2Fold/repository/branches?per_page=5"
    headers = get("/user").request.headers
    moved = requests.get(url, headers=headers, timeout=10, allow_redirects=False)
    assert moved.status_code == 301
    place = f"{sandbox.url}/api/v4/projects/{row.number}/repository/branches?per_page=5"
    assert moved.headers["Location"] == place
    assert place in moved.text


# Git


def clone(sandbox, tmp_path, username, secret, repository=SHOP):
    url = f"{sandbox.root}/{repository}.git"
    credential = GitCredential(username=username, password=secret) if username else None
    return export(
        CloneUrl(url=url, credential=credential), "trunk", tmp_path / "c", settings=SETTINGS
    )


@pytest.mark.parametrize("scope", ["api", "read_repository", "write_repository", "Code: Download"])
@pytest.mark.parametrize("username", ["oauth2", "anything"])
def test_git_accepts_an_access_token_with_any_username(sandbox, tmp_path, scope, username):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("access-token", scopes=[scope])
    assert clone(sandbox, tmp_path, username, credential.secret).commit


def test_git_rejects_a_token_without_a_username(sandbox, token):
    sandbox.arrange(ONE)
    url = f"{sandbox.url}/{SHOP}.git/info/refs?service=git-upload-pack"
    assert requests.get(url, auth=("", token), timeout=10).status_code == 401
    assert requests.get(url, auth=("x", token), timeout=10).status_code == 200


@pytest.mark.parametrize("scope", ["read_api", "read_user"])
def test_git_requires_its_own_scope(sandbox, tmp_path, scope):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("access-token", scopes=[scope])
    with pytest.raises(RemoteRefused, match="403"):
        clone(sandbox, tmp_path, "oauth2", credential.secret)


def test_git_accepts_an_oauth_token_with_only_one_username(sandbox, tmp_path):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("oauth-token")
    with pytest.raises(RemoteRefused, match="401"):
        clone(sandbox, tmp_path, "ada", credential.secret)
    assert clone(sandbox, tmp_path, "oauth2", credential.secret).commit


def test_git_accepts_a_deploy_token_with_its_username_in_its_group(sandbox, tmp_path):
    sandbox.arrange(ONE)
    settings = sandbox.settings(sandbox.add_credential("deploy-token"))
    username, secret = settings["deploy_token_username"], settings["deploy_token"]
    for wrong in ("oauth2", "gitlab+deploy-token-99"):
        with pytest.raises(RemoteRefused, match="401"):
            clone(sandbox, tmp_path, wrong, secret)
    sandbox.add_owner("ada")
    sandbox.publish("ada", "diary", "trunk", {"a": b"a"}, "Start")
    elsewhere = RepositoryId(owner="ada", slug="diary")
    with pytest.raises(RemoteRefused, match="401"):
        clone(sandbox, tmp_path, username, secret, elsewhere)
    assert clone(sandbox, tmp_path, username, secret).commit


def test_the_access_token_used_with_a_deploy_token_cannot_read_code(sandbox, tmp_path):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("deploy-token", Access.LEAST)
    with pytest.raises(RemoteRefused, match="403"):
        clone(sandbox, tmp_path, "oauth2", credential.secret)


def test_anonymous_git_requests_get_a_401_whether_or_not_the_project_exists(sandbox):
    sandbox.arrange(EMPTY)
    refs = "info/refs?service=git-upload-pack"
    for repository in ("acme/platform/nothing", "rival/hidden"):
        refused = requests.get(f"{sandbox.url}/{repository}.git/{refs}", timeout=10)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="GitLab"'
        assert refused.text.startswith("HTTP Basic: Access denied.")


def test_git_hides_projects_that_a_token_cannot_see(sandbox, tmp_path):
    sandbox.arrange(EMPTY)
    credential = sandbox.add_credential("access-token")
    with pytest.raises(RemoteRefused, match="404"):
        hidden = RepositoryId(owner="rival", slug="hidden")
        clone(sandbox, tmp_path, "oauth2", credential.secret, hidden)


def test_git_serves_a_renamed_project_at_its_old_path(sandbox, tmp_path):
    sandbox.arrange(ONE)
    sandbox.moved["acme/old"] = sandbox.find("acme/platform", "shop")
    credential = sandbox.add_credential("access-token")
    old = RepositoryId(owner="acme", slug="old")
    assert clone(sandbox, tmp_path, "oauth2", credential.secret, old).commit


def test_read_access_does_not_grant_write_access(sandbox):
    sandbox.arrange(ONE)
    token = revealed(sandbox.add_credential("access-token", Access.LEAST))
    url = f"{sandbox.url}/{SHOP}.git/info/refs?service=git-receive-pack"
    refused = requests.get(url, auth=("oauth2", token), timeout=10)
    assert refused.status_code == 403
    assert refused.text.strip() == "You are not allowed to upload code."


def test_the_demo_has_something_to_connect_to_in_every_mode():
    demo = GitLabSandbox.demo()
    try:
        assert {each.settings["mode"] for each in demo.connections} == set(GitLabSandbox.MODES)
    finally:
        demo.stop()
