"""What refusals mean: the bodies are Gitea's and Forgejo's, from their sources."""

from __future__ import annotations

import json

import pytest
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied
from deploycore.http import ErrorAnswer
from deploycore.models import RepositoryId

from deploycore_gitea.explanations import (
    Question,
    explain,
    explain_git_refusal,
    missing_scopes,
)

SHOP = RepositoryId(owner="ada", slug="shop")
TOKENS = "https://git.example.com/user/settings/applications"


@pytest.fixture
def refused(config):
    """What a refusal with a status and a message means."""

    def make(status, message, mode="token", **about):
        body = {"message": message, "url": "https://git.example.com/api/swagger"}
        answer = ErrorAnswer(
            status=status,
            method="GET",
            path="/api/v1/user",
            headers={},
            text=json.dumps(body),
            json=body,
        )
        return explain(answer, Question(config(mode), **about))

    return make


@pytest.mark.parametrize(
    "message",
    [
        "invalid username, password or token",
        "user does not exist [uid: 0, name: ]",
        "token is required",
    ],
)
def test_a_token_that_is_not_accepted(refused, message):
    error = refused(401, message)
    assert isinstance(error, AuthenticationFailed)
    assert "does not accept the token" in error.message
    assert message in error.message
    assert TOKENS in error.hint


@pytest.mark.parametrize(
    "message",
    [
        "invalid provided OTP",
        "Basic authorization is not allowed while having security keys enrolled",
        "basic authorization is not allowed while WebAuthn enrolled",
    ],
)
def test_the_error_for_two_factor_authentication_suggests_a_token(refused, message):
    error = refused(401, message, "basic")
    assert isinstance(error, AuthenticationFailed)
    assert "has two-factor authentication" in error.hint
    assert "mode token" in error.hint
    assert TOKENS in error.hint


def test_a_wrong_password_may_also_be_a_second_factor(refused):
    error = refused(401, "invalid username, password or token", "basic")
    assert "the username 'ada'" in error.message
    assert "two-factor" in error.hint
    assert "mode token" in error.hint


def test_a_server_that_wants_everybody_to_sign_in_does_not_accept_the_credentials(refused):
    error = refused(403, "Only signed in user is allowed to call APIs.", "basic")
    assert isinstance(error, AuthenticationFailed)


@pytest.mark.parametrize(
    "message",
    [
        "token does not have at least one of required scope(s): [read:repository]",
        "token does not have at least one of required scope(s), required=[read:repository], "
        "token scope=read:user",
    ],
)
def test_a_missing_scope_is_named_with_where_to_make_a_token(refused, message):
    error = refused(403, message, owner="ada")
    assert isinstance(error, PermissionDenied)
    assert "read:repository" in error.message
    assert "the repositories of 'ada'" in error.message
    assert TOKENS in error.hint
    assert missing_scopes(error) == ["read:repository"]


def test_several_missing_scopes_are_named(refused):
    error = refused(403, "at least one of required scope(s): [read:user read:organization]")
    assert missing_scopes(error) == ["read:user", "read:organization"]


def test_a_token_for_public_repositories_only_is_named_as_such(refused):
    error = refused(403, "token scope is limited to public repos", repository=SHOP)
    assert isinstance(error, PermissionDenied)
    assert "public repositories only" in error.message
    assert "all repositories" in error.hint
    assert missing_scopes(error) == []


@pytest.mark.parametrize(
    ("action", "message", "what", "hint"),
    [
        (
            "register webhook",
            "user should be an owner or a collaborator with admin write of a repository",
            "may not register a webhook for the repository ada/shop",
            "administrators of the repository",
        ),
        (
            "remove webhook",
            "webhooks disabled by administrator",
            "may not remove a webhook from the repository ada/shop",
            "webhooks turned off",
        ),
        (
            "report status",
            "user should have a permission to write to a repo",
            "may not report a status to the repository ada/shop",
            "write access",
        ),
    ],
)
def test_what_an_account_is_not_entitled_to_says_who_is(refused, action, message, what, hint):
    for mode in ("token", "basic"):
        error = refused(403, message, mode, repository=SHOP, action=action)
        assert isinstance(error, PermissionDenied)
        assert what in error.message
        assert message in error.message
        assert hint in error.hint
        assert ("the scope write:repository" in error.hint) == (
            mode == "token" and "turned off" not in error.hint
        )


@pytest.mark.parametrize("action", ["list webhooks", "report status"])
def test_a_scope_that_is_missing_to_write_is_asked_for_anew(refused, action):
    said = "token does not have at least one of required scope(s): [write:repository]"
    error = refused(403, said, repository=SHOP, action=action)
    assert "lacks the scope write:repository" in error.message
    assert "write:repository and read:user" in error.hint
    assert missing_scopes(error) == ["write:repository"]


def test_a_webhook_that_is_not_taken_is_told_in_the_servers_words(refused):
    error = refused(422, "Invalid url", repository=SHOP, action="register webhook")
    assert (
        "refuses to register a webhook for the repository ada/shop (Invalid url)" in error.message
    )
    assert refused(422, "Invalid url", repository=SHOP, action="report status") is None


def test_other_denials_are_told_in_the_servers_words(refused):
    said = "You must change your password. Change it at: https://git.example.com/x"
    error = refused(403, said)
    assert isinstance(error, PermissionDenied)
    assert said in error.message


def test_a_long_text_is_left_out_rather_than_cut(refused):
    assert "xxx" not in refused(401, "x" * 5000).message


def test_what_is_not_there_is_named(refused):
    assert "epository ada/shop was not found" in refused(404, "not found", repository=SHOP).message
    assert "organization 'ada'" in refused(404, "not found", owner="ada").message


def test_an_address_without_gitea_is_said_to_be_the_fault(refused):
    error = refused(404, "404 page not found")
    assert isinstance(error, NotFound)
    assert "No Gitea or Forgejo was found at https://git.example.com" in error.message
    assert "path" in error.hint


@pytest.mark.parametrize("status", [400, 409, 429, 500, 503])
def test_what_the_status_says_itself_is_left_to_the_core(refused, status):
    assert refused(status, "whatever") is None


@pytest.mark.parametrize(
    ("mode", "status", "message", "said"),
    [
        ("token", 401, "Unauthorized", "has not been deleted"),
        ("token", 403, "Forbidden", "read:repository"),
        ("token", 403, "Interacting with repositories by HTTP protocol is not allowed", "HTTPS"),
        ("token", 404, "Repository not found", "names of the owner and the repository"),
        ("token", 429, "", "limits requests"),
        ("basic", 401, "Please create and use a personal access token", "two-factor"),
        ("basic", 401, "Unauthorized", "mode token"),
        ("basic", 403, "Your account is disabled.", "active"),
    ],
)
def test_a_refusal_of_the_git_server_says_what_to_do(config, mode, status, message, said):
    assert said in explain_git_refusal(config(mode), status, message)


@pytest.mark.parametrize("status", [None, 500])
def test_other_failures_of_the_git_server_are_left_alone(config, status):
    assert explain_git_refusal(config(), status, "") is None
