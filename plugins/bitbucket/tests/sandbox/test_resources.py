from __future__ import annotations

import pytest

NO_REPOSITORY = "You may not have access to this repository or it no longer exists"


@pytest.fixture
def token(sandbox, ada):
    return sandbox.add_api_token(ada)


def test_a_workspace_has_its_name(get, token):
    assert get("/workspaces/acme", token).json()["name"] == "Acme Corporation"


@pytest.mark.parametrize("identifier", ["Acme Corporation", "nobody", "{nobody}"])
@pytest.mark.parametrize("path", ["/workspaces/", "/repositories/"])
def test_a_workspace_is_not_found_by_its_display_name(get, token, path, identifier):
    answer = get(path + identifier, token)
    assert answer.status_code == 404
    expected = f"No workspace with identifier '{identifier}'."
    assert answer.json()["error"]["message"] == expected


def test_workspace_and_repository_are_found_by_uuid(sandbox, get, token):
    sandbox.add_repository("acme", "shop")
    known = get("/repositories/acme/shop", token).json()
    found = get(f"/repositories/{known['workspace']['uuid']}/{known['uuid']}", token).json()
    assert found["full_name"] == "acme/shop"


def test_workspaces_of_the_caller_have_neither_name_nor_permission(sandbox, get, token):
    values = get("/user/workspaces", token).json()["values"]
    assert [row["workspace"]["slug"] for row in values] == ["ada", "acme"]
    assert all(row["administrator"] is True for row in values)
    assert all("name" not in row["workspace"] and "permission" not in row for row in values)


def test_workspaces_of_the_caller_can_be_filtered_by_administration(sandbox, get, token, ada):
    sandbox.add_workspace("club")
    sandbox.add_member("club", ada)
    members = get("/user/workspaces", token, administrator="false").json()["values"]
    assert [row["workspace"]["slug"] for row in members] == ["club"]


def test_a_foreign_workspace_is_hidden(sandbox, get, token):
    sandbox.add_workspace("elsewhere")
    assert get("/workspaces/elsewhere", token).status_code == 404


def test_a_repository_has_the_documented_fields(sandbox, get, token):
    sandbox.add_repository("acme", "shop", name="Shop", files={"README.md": b"# Shop\n"})
    row = get("/repositories/acme/shop", token).json()
    assert (row["name"], row["slug"], row["full_name"]) == ("Shop", "shop", "acme/shop")
    assert row["mainbranch"]["name"] == "main"
    assert row["workspace"]["slug"] == "acme"
    assert row["is_private"] is True
    links = {link["name"]: link["href"] for link in row["links"]["clone"]}
    host = sandbox.git_url.removeprefix("http://")
    assert links["https"] == f"http://x-bitbucket-api-token-auth@{host}/acme/shop.git"
    assert links["ssh"] == "git@bitbucket.org:acme/shop.git"


def test_an_empty_repository_has_no_main_branch(sandbox, get, token):
    sandbox.add_repository("acme", "empty")
    assert get("/repositories/acme/empty", token).json()["mainbranch"] is None
    assert get("/repositories/acme/empty/refs/branches", token).json()["values"] == []


def test_an_unknown_repository_is_not_found(get, token):
    answer = get("/repositories/acme/nothing", token)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith(NO_REPOSITORY)


def test_an_inaccessible_repository_looks_like_an_unknown_one(sandbox, get, token):
    bob = sandbox.add_user("bob")
    sandbox.add_member("acme", bob)
    sandbox.add_repository("acme", "secret", readers=[bob])
    answer = get("/repositories/acme/secret", token)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith(NO_REPOSITORY)
    assert get("/repositories/acme", token).json()["values"] == []
    assert get("/repositories/acme/secret", sandbox.add_api_token(bob)).status_code == 200


def test_anonymous_callers_only_see_public_repositories(sandbox, get):
    sandbox.add_repository("acme", "open", private=False)
    sandbox.add_repository("acme", "closed")
    assert [row["slug"] for row in get("/repositories/acme").json()["values"]] == ["open"]


def test_a_branch_contains_its_commit(sandbox, get, token):
    commit = sandbox.commit("acme", "shop", "main", {"a": b"1"}, "The message")
    branch = get("/repositories/acme/shop/refs/branches/main", token).json()
    assert branch["target"]["hash"] == commit
    assert branch["target"]["message"] == "The message"
    assert branch["target"]["author"]["raw"] == "Ada Lovelace <ada@example.com>"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("feature/deep/er", "feature/deep/er"),
        ("discount-50%", "discount-50%25"),
        ("fix-#17", "fix-%2317"),
        ("größe/日本", "gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC"),
        ("a%2Fb", "a%252Fb"),
    ],
)
def test_branch_names_keep_raw_slashes_in_paths(sandbox, get, token, name, path):
    commit = sandbox.commit("acme", "shop", name, {"a": b"1"}, "One")
    found = get(f"/repositories/acme/shop/refs/branches/{path}", token).json()
    assert found["name"] == name
    assert found["target"]["hash"] == commit


def test_an_unknown_branch_is_not_found(sandbox, get, token):
    sandbox.commit("acme", "shop", "main", {"a": b"1"}, "One")
    assert get("/repositories/acme/shop/refs/branches/other", token).status_code == 404


@pytest.mark.parametrize("path", ["/repositories", "/workspaces", "/user/permissions/repositories"])
def test_lists_across_workspaces_are_no_longer_available(get, token, path):
    answer = get(path, token)
    assert answer.status_code == 410
    body = answer.json()
    assert body["error"]["message"] == "CHANGE-2770 - Functionality has been deprecated"
    assert body["data"] == body["error"]["data"]
    assert body["data"]["announcement_url"].startswith("https://developer.atlassian.com/")


@pytest.mark.outside_description(reason="asks for what the API does not have")
def test_unknown_paths_and_methods_are_refused_as_errors(sandbox, session, get, token):
    assert get("/nothing/here", token).json()["type"] == "error"
    answer = session.delete(f"{sandbox.api_url}/user", timeout=10)
    assert answer.status_code == 405
