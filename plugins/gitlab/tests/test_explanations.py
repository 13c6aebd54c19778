"""GitLab's error responses, and the errors and hints that explain them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from deploycore.configuration import parse_config
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied, RateLimited
from deploycore.http import ErrorAnswer
from deploycore.models import RepositoryId
from deploycore.times import for_people
from pydantic import SecretStr
from requests.structures import CaseInsensitiveDict

from deploycore_gitlab import GitLabProvider
from deploycore_gitlab.explanations import Question, explain, explain_git_refusal

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SHOP = RepositoryId(owner="acme/platform", slug="shop")
MODES = ("access-token", "oauth-token", "deploy-token")


def config(mode="access-token"):
    values = {"name": "work", "mode": mode, "token": SecretStr("made-up-for-tests")}
    if mode == "deploy-token":
        values["deploy_token_username"] = "gitlab+deploy-token-1"
        values["deploy_token"] = SecretStr("made-up-for-git")
    return parse_config(GitLabProvider.Config, values, kind="gitlab")


def explained(status, body=None, *, text="", headers=None, mode="access-token", **about):
    answer = ErrorAnswer(
        status=status,
        method="GET",
        path="/api/v4/projects",
        headers=CaseInsensitiveDict(headers or {}),
        text=text,
        json=body,
    )
    return explain(answer, Question(config(mode), **about), now=NOW)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "401 Unauthorized"}, "is not accepted (401 Unauthorized)"),
        (
            {"error": "invalid_token", "error_description": "Token is expired. You can …"},
            "has expired (Token is expired.",
        ),
        (
            {"error": "invalid_token", "error_description": "Token was revoked. You have to …"},
            "was revoked (Token was revoked.",
        ),
        (None, "is not accepted."),
    ],
)
def test_a_rejected_token_is_reported_as_wrong_expired_or_revoked(body, said):
    error = explained(401, body)
    assert isinstance(error, AuthenticationFailed)
    assert said in error.message
    assert "https://gitlab.com/-/user_settings/personal_access_tokens" in error.hint


@pytest.mark.parametrize(
    ("mode", "scopes"),
    [
        ("access-token", "scopes=read_api,read_repository"),
        ("oauth-token", "scopes=read_api,read_repository"),
        ("deploy-token", "scopes=read_api,"),
    ],
)
def test_the_link_to_create_a_token_preselects_the_required_scopes(mode, scopes):
    hint = explained(401, {"message": "401 Unauthorized"}, mode=mode).hint
    assert f"?name=deploycore&{scopes}" in hint


def test_the_two_hour_lifetime_of_oauth_tokens_is_explained():
    assert "two hours" in explained(401, {"message": "401 Unauthorized"}, mode="oauth-token").hint


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (
            {
                "error": "insufficient_scope",
                "error_description": "The request requires higher privileges than provided by "
                "the access token.",
                "scope": "api read_api",
            },
            {},
        ),
        ({}, {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="api read_api"'}),
        ({"error": "insufficient_scope"}, {}),
    ],
    ids=["in-the-body", "in-the-header", "nowhere"],
)
def test_the_minimum_sufficient_scope_is_named(body, headers):
    error = explained(403, body, headers=headers, namespace="acme")
    assert isinstance(error, PermissionDenied)
    assert "may not read the projects of acme: it lacks the scope read_api." in error.message
    assert error.details["missing_scopes"] == ["read_api"]
    assert "scopes=read_api,read_repository" in error.hint


def test_if_read_access_is_not_enough_the_scope_required_by_gitlab_is_named():
    body = {"error": "insufficient_scope", "scope": "api admin_mode"}
    error = explained(403, body)
    assert "api or admin_mode" in error.message


def test_a_fine_grained_token_gets_the_permission_named_by_gitlab():
    said = (
        "Access denied: This operation requires a fine-grained personal access token with the "
        "following project permissions: [Branch: Read]."
    )
    body = {"error": "insufficient_granular_scope", "error_description": said}
    error = explained(403, body, repository=SHOP)
    assert isinstance(error, PermissionDenied)
    assert said in error.message
    assert "Code: Download" in error.hint


@pytest.mark.parametrize(
    "said", ["403 Forbidden", "403 Forbidden - Your account has been blocked."]
)
def test_any_other_denial_is_quoted_with_the_required_role(said):
    error = explained(403, {"message": said}, repository=SHOP)
    assert isinstance(error, PermissionDenied)
    assert f"access to the project acme/platform/shop ({said})" in error.message
    assert "Reporter" in error.hint


def test_long_messages_and_html_pages_are_not_quoted():
    assert "(" not in explained(403, {"message": "x" * 301}).message
    assert "(" not in explained(403, text="<h1>Blocked</h1>").message


def test_an_unknown_namespace_may_be_a_group_a_user_or_hidden():
    error = explained(404, {"message": "404 User Not Found"}, namespace="acmee")
    assert isinstance(error, NotFound)
    assert "Group or user 'acmee' was not found" in error.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "404 Project Not Found"}, "Project acme/platform/shop was not found"),
        ({"message": "404 Repository Not Found"}, "has no repository that this token can read"),
        ({"error": "404 Not Found"}, "Project acme/platform/shop was not found"),
    ],
)
def test_an_unknown_project_is_distinguished_from_one_without_a_repository(body, said):
    error = explained(404, body, repository=SHOP)
    assert isinstance(error, NotFound)
    assert said in error.message
    assert "branch" not in error.details


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "404 Branch Not Found"), (400, "The branch refname is invalid")],
)
def test_an_unknown_branch_is_distinguished(status, message):
    error = explained(status, {"message": message}, repository=SHOP, branch="mian")
    assert isinstance(error, NotFound)
    assert error.details["branch"] == "mian"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_other_statuses_have_the_default_explanation(status):
    assert explained(status, {"message": "?"}) is None


@pytest.mark.parametrize(
    ("headers", "retry_at"),
    [
        ({"Retry-After": "60"}, NOW + timedelta(seconds=60)),
        ({"Retry-After": "60", "RateLimit-Reset": "1"}, NOW + timedelta(seconds=60)),
        ({"RateLimit-Reset": "1609844400"}, datetime(2021, 1, 5, 11, 0, tzinfo=UTC)),
        ({"RateLimit-Reset": "9" * 30}, None),
        ({"RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
    ids=["retry-after", "both", "reset", "far-away", "nonsense", "nothing"],
)
def test_a_rate_limit_says_when_to_retry_if_gitlab_does(headers, retry_at):
    error = explained(429, text="Retry later", headers=headers)
    assert isinstance(error, RateLimited)
    assert error.retry_at == retry_at
    assert (for_people(retry_at) if retry_at else "in a few minutes") in error.hint


def test_the_rate_limit_is_quoted_if_gitlab_reports_it():
    error = explained(429, text="Retry later", headers={"RateLimit-Limit": "2000"})
    assert "2000 requests per minute" in error.hint


DENIED = "HTTP Basic: Access denied. If a password was provided for Git authentication, …"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, DENIED, "read_repository"),
        (403, "You are not allowed to download code.", "read_repository"),
        (403, "You are not allowed to download code from this project.", "Reporter"),
        (403, "Forbidden\n", "blocked this machine"),
        (404, "The project you were looking for could not be found", "full path"),
        (429, "Retry later", "in a minute"),
    ],
)
def test_git_errors_are_explained(mode, status, message, said):
    assert said in explain_git_refusal(config(mode), status, message)


def test_the_hint_for_a_rejected_deploy_token_names_its_own_settings():
    said = explain_git_refusal(config("deploy-token"), 401, DENIED)
    assert "deploy_token_username" in said
    assert "a group around it" in said


@pytest.mark.parametrize("status", [None, 500, 503])
def test_other_git_errors_have_no_explanation(status):
    assert explain_git_refusal(config(), status, "") is None
