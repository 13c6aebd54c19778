"""After the instruction in a hint was followed on the sandbox, the operation succeeds."""

from __future__ import annotations

import pytest
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RemoteRefused,
)
from deploycore.events import CommitStatus
from deploycore.git import GitSettings, export
from deploycore.models import RepositoryId, RepositoryQuery
from deploycore.testing.scenarios import ONE, Access
from deploycore.testing.webhooks import Listener
from pydantic import SecretStr

SETTINGS = GitSettings(connect_timeout=5, read_timeout=10, retries=0)
SHOP = RepositoryId(owner="WEB", slug="shop")
SECRET = SecretStr("first-secret")


@pytest.fixture
def shop(sandbox):
    (made,) = sandbox.arrange(ONE)
    return made


@pytest.fixture
def with_scopes(sandbox, on_sandbox):
    """Opens a provider whose credentials have only these permissions."""

    def connect(mode, *scopes):
        credential = sandbox.add_credential(mode, scopes=scopes).secret
        field = "password" if mode == "password" else "token"
        return on_sandbox(mode, **{field: credential})

    return connect


def test_the_permission_named_in_a_hint_is_sufficient(shop, with_scopes, mode):
    with pytest.raises(PermissionDenied, match="may not read the repositories") as caught:
        list(with_scopes(mode).list_repos(RepositoryQuery(owner="WEB")))
    assert "the permission Repository read in the project WEB" in caught.value.hint
    reading = with_scopes(mode, "Repository read")
    assert [row.slug for row in reading.list_repos(RepositoryQuery(owner="WEB"))] == ["shop"]
    with Listener() as listener:
        with pytest.raises(PermissionDenied, match="may not register a webhook") as caught:
            reading.register_webhook(SHOP, listener.address, SECRET)
        assert "the permission Repository admin for WEB/shop" in caught.value.hint
        permitted = with_scopes(mode, "Repository read", "Repository admin")
        assert permitted.register_webhook(SHOP, listener.address, SECRET)


@pytest.mark.parametrize("access", [Access.EXPIRED, Access.WRONG])
def test_new_credentials_of_the_same_kind_are_accepted(shop, on_sandbox, mode, access):
    with pytest.raises(AuthenticationFailed, match="does not accept") as caught:
        on_sandbox(mode, access).authenticate()
    assert {"password": "the password"}.get(mode, "has not expired") in caught.value.hint
    assert on_sandbox(mode).authenticate()


def test_a_token_without_a_username_is_accepted_if_basic_is_disabled(
    sandbox, shop, on_sandbox, tmp_path
):
    sandbox.basic = False
    with pytest.raises(AuthenticationFailed, match="Basic authentication is turned off") as caught:
        on_sandbox("password").authenticate()
    assert caught.value.hint.startswith("Create an HTTP access token with Repository read at ")
    assert "in mode personal-token" in caught.value.hint
    named, unnamed = on_sandbox(username="ada"), on_sandbox()
    with pytest.raises(RemoteRefused, match="Basic Authentication has been disabled") as refused:
        export(named.clone_url(SHOP), shop.default_branch, tmp_path / "a", settings=SETTINGS)
    said = named.explain_git_refusal(403, refused.value.message)
    assert said == "Remove the username: deploycore provider edit work --unset username"
    unnamed.authenticate()
    export(unnamed.clone_url(SHOP), shop.default_branch, tmp_path / "a", settings=SETTINGS)


def test_a_complete_address_is_accepted_for_a_webhook(shop, on_sandbox):
    with Listener() as listener:
        with pytest.raises(ProviderError, match="valid HTTP or HTTPS URL") as caught:
            on_sandbox().register_webhook(SHOP, "ftp://deploy.example.com/1", SECRET)
        assert "begins with http:// or https://" in caught.value.hint
        assert on_sandbox().register_webhook(SHOP, listener.address, SECRET)


def test_the_owner_and_repository_in_the_address_are_found(shop, sandbox, on_sandbox):
    with pytest.raises(NotFound, match="Repository WEB/Web Shop was not found") as caught:
        on_sandbox().find_repository(RepositoryId(owner="WEB", slug="Web Shop"))
    assert "/projects/<PROJECT>/repos/<SLUG>" in caught.value.hint
    assert on_sandbox().find_repository(SHOP).slug == "shop"
    sandbox.publish("~ada", "diary", "main", {"a": b"1"}, "Start")
    for name, key, slugs in (("The Web", "WEB", ["shop"]), ("ada", "~ada", ["diary"])):
        with pytest.raises(NotFound, match=f"Project '{name}' was not found") as caught:
            list(on_sandbox().list_repos(RepositoryQuery(owner=name)))
        assert "~<user>" in caught.value.hint
        assert [row.slug for row in on_sandbox().list_repos(RepositoryQuery(owner=key))] == slugs


def test_a_hidden_repository_is_found_with_the_permission(shop, sandbox, on_sandbox, monkeypatch):
    hidden = RepositoryId(owner="rival", slug="hidden")
    with pytest.raises(NotFound, match="cannot read it") as caught:
        on_sandbox().find_repository(hidden)
    assert "Give the token the permission Repository read for it" in caught.value.hint
    monkeypatch.setattr(sandbox, "readable", lambda row: True)
    assert on_sandbox().find_repository(hidden).slug == "hidden"


def test_the_latest_commit_gets_a_status(shop, on_sandbox):
    status = CommitStatus(commit="1" * 40, state="successful", key="deploy", name="Deployment")
    with pytest.raises(NotFound, match="has no commit") as caught:
        on_sandbox().report_status(SHOP, status)
    assert "Deploy the newest commit" in caught.value.hint
    newest = shop.branches[shop.default_branch]
    on_sandbox().report_status(SHOP, status.model_copy(update={"commit": newest}))


def test_the_context_path_is_part_of_the_address(shop, sandbox, on_sandbox):
    with pytest.raises(NotFound, match="No Bitbucket Data Center was found") as caught:
        on_sandbox(url=sandbox.url).authenticate()
    assert "with its context path" in caught.value.hint
    assert on_sandbox(url=sandbox.base_url).authenticate().username == "ada"
