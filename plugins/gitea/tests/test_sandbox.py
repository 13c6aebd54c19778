"""The sandbox rejects what Gitea rejects, with the same messages."""

from __future__ import annotations

import pytest
import requests
from deploycore.errors import AuthenticationFailed, PermissionDenied, RemoteRefused
from deploycore.git import GitSettings, export
from deploycore.models import RepositoryId
from deploycore.testing.scenarios import MANY, ONE, TWO, Access

SETTINGS = GitSettings(connect_timeout=5, read_timeout=10, retries=0)


@pytest.fixture
def get(sandbox):
    """Sends a request to the API, with a token with all scopes unless another header is given."""
    token = sandbox.add_credential("token").secret.get_secret_value()

    def ask(path, authorization=f"token {token}", **query):
        headers = {"Authorization": authorization} if authorization else {}
        return requests.get(
            f"{sandbox.url}/api/v1/{path}", headers=headers, params=query, timeout=10
        )

    return ask


def test_links_have_the_format_of_gitea(sandbox, get):
    sandbox.arrange(MANY)
    base = f"{sandbox.url}/api/v1/users/ada/repos?limit=50"
    first, middle = get("users/ada/repos", limit=50), get("users/ada/repos", limit=50, page=2)
    assert first.headers["Link"] == f'<{base}&page=2>; rel="next",<{base}&page=5>; rel="last"'
    assert middle.headers["Link"] == (
        f'<{base}&page=3>; rel="next",<{base}&page=5>; rel="last",'
        f'<{base}&page=1>; rel="first",<{base}&page=1>; rel="prev"'
    )
    assert first.headers["X-Total-Count"] == "250"


def test_a_page_has_fifty_items_at_most_and_thirty_by_default(sandbox, get):
    sandbox.arrange(MANY)
    assert len(get("users/ada/repos", limit=1000).json()) == 50
    assert len(get("users/ada/repos").json()) == 30


@pytest.mark.parametrize("scheme", ["token", "Bearer"])
def test_both_authorization_schemes_accept_a_token(sandbox, get, scheme):
    secret = sandbox.add_credential("token").secret.get_secret_value()
    assert get("user", f"{scheme} {secret}").json()["login"] == "ada"


def test_a_password_is_not_accepted_as_a_token(sandbox, get):
    secret = sandbox.add_credential("basic").secret.get_secret_value()
    refused = get("user", f"token {secret}")
    assert refused.status_code == 401
    assert refused.json()["message"] == "invalid username, password or token"


def test_hidden_resources_are_not_found(sandbox, get):
    sandbox.arrange(ONE)
    hidden, unknown = get("repos/rival/hidden"), get("repos/ada/nowhere")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.json() == unknown.json()


def test_branches_of_an_empty_repository_are_null(sandbox, get):
    sandbox.arrange(TWO)
    assert get("repos/ada/vacant/branches").json() is None


def test_users_and_repositories_have_separate_scopes(sandbox, get):
    least = f"token {sandbox.add_credential('token', Access.LEAST).secret.get_secret_value()}"
    assert get("repos/search", least).status_code == 200
    for path in ("user", "users/ada", "users/ada/repos"):
        refused = get(path, least)
        assert refused.status_code == 403
        assert refused.json()["message"] == (
            "token does not have at least one of required scope(s), required=[read:user], "
            "token scope=read:repository"
        )


def test_with_two_factor_authentication_the_api_only_accepts_tokens(sandbox, on_sandbox):
    sandbox.arrange(ONE)
    sandbox.two_factor = True
    assert on_sandbox("token").authenticate().username == "ada"
    with pytest.raises(AuthenticationFailed, match="OTP") as caught:
        on_sandbox("basic").authenticate()
    assert "has two-factor authentication" in caught.value.hint


def test_with_two_factor_authentication_git_only_accepts_tokens(sandbox, on_sandbox, tmp_path):
    (shop,) = sandbox.arrange(ONE)
    sandbox.two_factor = True
    repository = RepositoryId(owner=shop.owner, slug=shop.slug)
    source = on_sandbox("token").clone_url(repository)
    export(source, shop.default_branch, tmp_path / "by-token", settings=SETTINGS)
    provider = on_sandbox("basic")
    with pytest.raises(RemoteRefused) as caught:
        source = provider.clone_url(repository)
        export(source, shop.default_branch, tmp_path / "by-password", settings=SETTINGS)
    said = provider.explain_git_refusal(401, str(caught.value))
    assert "mode token" in said


def test_an_email_address_can_replace_the_username(sandbox, on_sandbox):
    assert on_sandbox("basic", username="ada@example.com").authenticate().username == "ada"
    with pytest.raises(AuthenticationFailed):
        on_sandbox("basic", username="eve").authenticate()


def test_a_token_without_the_repository_scope_cannot_clone(sandbox, on_sandbox, tmp_path):
    (shop,) = sandbox.arrange(ONE)
    provider = on_sandbox("token", Access.UNSCOPED)
    source = provider.clone_url(RepositoryId(owner=shop.owner, slug=shop.slug))
    with pytest.raises(RemoteRefused):
        export(source, shop.default_branch, tmp_path / "clone", settings=SETTINGS)
    with pytest.raises(PermissionDenied, match="read:repository"):
        provider.authenticate()
