"""Error responses, with bodies from the source code of Gitea and Forgejo, and the errors that
explain them."""

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
    """Returns the error for a status and a message."""

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
def test_a_rejected_token_is_explained(refused, message):
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


def test_a_rejected_password_may_be_due_to_two_factor_authentication(refused):
    error = refused(401, "invalid username, password or token", "basic")
    assert "the username 'ada'" in error.message
    assert "two-factor" in error.hint
    assert "mode token" in error.hint


def test_a_server_that_requires_sign_in_means_rejected_credentials(refused):
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
def test_a_missing_scope_is_named_with_the_page_to_create_a_token(refused, message):
    error = refused(403, message, owner="ada")
    assert isinstance(error, PermissionDenied)
    assert "read:repository" in error.message
    assert "the repositories of 'ada'" in error.message
    assert TOKENS in error.hint
    assert missing_scopes(error) == ["read:repository"]


def test_several_missing_scopes_are_named(refused):
    error = refused(403, "at least one of required scope(s): [read:user read:organization]")
    assert missing_scopes(error) == ["read:user", "read:organization"]


def test_a_token_limited_to_public_repositories_is_reported_as_such(refused):
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
def test_a_missing_permission_names_who_can_grant_it(refused, action, message, what, hint):
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
def test_a_missing_write_scope_requires_a_new_token(refused, action):
    said = "token does not have at least one of required scope(s): [write:repository]"
    error = refused(403, said, repository=SHOP, action=action)
    assert "lacks the scope write:repository" in error.message
    assert "write:repository and read:user" in error.hint
    assert missing_scopes(error) == ["write:repository"]


def test_a_rejected_webhook_is_reported_with_the_message_of_the_server(refused):
    error = refused(422, "Invalid url", repository=SHOP, action="register webhook")
    assert (
        "refuses to register a webhook for the repository ada/shop (Invalid url)" in error.message
    )
    assert refused(422, "Invalid url", repository=SHOP, action="report status") is None


def test_other_denials_are_reported_with_the_message_of_the_server(refused):
    said = "You must change your password. Change it at: https://git.example.com/x"
    error = refused(403, said)
    assert isinstance(error, PermissionDenied)
    assert said in error.message


def test_a_long_message_is_omitted_instead_of_truncated(refused):
    assert "xxx" not in refused(401, "x" * 5000).message


def test_a_missing_resource_is_named(refused):
    assert "epository ada/shop was not found" in refused(404, "not found", repository=SHOP).message
    assert "organization 'ada'" in refused(404, "not found", owner="ada").message


def test_an_address_without_gitea_is_reported_as_the_cause(refused):
    error = refused(404, "404 page not found")
    assert isinstance(error, NotFound)
    assert "No Gitea or Forgejo was found at https://git.example.com" in error.message
    assert "path" in error.hint


@pytest.mark.parametrize("status", [400, 409, 429, 500, 503])
def test_other_statuses_have_the_default_explanation(refused, status):
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
def test_a_git_error_has_a_hint(config, mode, status, message, said):
    assert said in explain_git_refusal(config(mode), status, message)


@pytest.mark.parametrize("status", [None, 500])
def test_other_git_errors_are_not_changed(config, status):
    assert explain_git_refusal(config(), status, "") is None
