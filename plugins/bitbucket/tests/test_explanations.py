"""Every entry of Bitbucket's troubleshooting list is a typed error with the next step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from deploycore_bitbucket.explanations import explain, explain_git_refusal
from deploycore_bitbucket.questions import Question
from requests.structures import CaseInsensitiveDict

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    UnexpectedAnswer,
)
from deploycore.http import ErrorAnswer
from deploycore.models import RepositoryId

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SHOP = RepositoryId(owner="acme", slug="shop")
TOKEN_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"
NO_REPOSITORY = (
    "You may not have access to this repository or it no longer exists in this workspace. If you "
    "think this repository exists and you have access, make sure you are authenticated."
)


def answer(status, message=None, *, text="", headers=(), path="/2.0/repositories/acme", **error):
    body = None if message is None else {"type": "error", "error": {"message": message, **error}}
    return ErrorAnswer(
        status=status,
        method="GET",
        path=path,
        headers=CaseInsensitiveDict(headers),
        text=text or json.dumps(body),
        json=body,
    )


@pytest.fixture
def explained(config):
    """What a refusal to a mode means: ``explained(answer, "api-token", about="acme")``."""

    def ask(refusal, mode="api-token", /, *, about="acme", repository=None, **changes):
        question = Question(config(mode, **changes), about, repository)
        return explain(refusal, question, now=NOW)

    return ask


REFUSED = [answer(401, "Invalid"), answer(401, text="Unauthorized"), answer(401, text="")]


@pytest.mark.parametrize("refusal", REFUSED)
def test_a_rejected_api_token_suggests_checking_email_expiry_and_scope(explained, refusal):
    error = explained(refusal, "api-token")
    assert isinstance(error, AuthenticationFailed)
    assert error.message == "Bitbucket does not accept the API token of dana@example.com."
    for cause in ("email", "username", "expired", "revoked", "read:repository:bitbucket"):
        assert cause in error.hint
    assert TOKEN_PAGE in error.hint


@pytest.mark.parametrize("refusal", REFUSED)
def test_a_rejected_app_password_explains_their_removal_and_the_migration(explained, refusal):
    error = explained(refusal, "app-password")
    assert isinstance(error, AuthenticationFailed)
    assert error.message == "Bitbucket does not accept the app password of the user 'dana'."
    for step in ("2026-07-28", TOKEN_PAGE, "mode api-token", "email address", "not the email"):
        assert step in error.hint


@pytest.mark.parametrize("refusal", REFUSED)
def test_a_rejected_access_token_names_its_expiry_and_settings_page(explained, refusal):
    error = explained(refusal, "access-token")
    assert isinstance(error, AuthenticationFailed)
    assert "access token for the workspace 'acme'" in error.message
    for cause in ("expired", "revoked", "Repositories: Read", "Access tokens", "mode api-token"):
        assert cause in error.hint


@pytest.mark.parametrize("status", [401, 403])
def test_access_tokens_without_a_user_endpoint_are_not_reported_as_invalid(explained, status):
    message = "This API is not accessible by this authentication mechanism"
    for refusal in (answer(status, message), answer(status, text=message)):
        error = explained(refusal, "access-token", about=None)
        assert isinstance(error, PermissionDenied)
        assert "access-token" in error.message


SCOPES = "Your credentials lack one or more required privilege scopes."


def lacking(required, granted):
    return answer(403, SCOPES, detail={"required": required, "granted": granted})


@pytest.mark.parametrize(
    ("mode", "required", "box"),
    [
        ("api-token", "read:repository:bitbucket", "select: read:repository:bitbucket."),
        ("api-token", "repository", "select: read:repository:bitbucket."),
        ("api-token", "account", "select: read:user:bitbucket."),
        ("access-token", "repository", "select: Repositories: Read."),
        ("app-password", "repository", "select: Repositories: Read."),
        ("access-token", "something:new", "select: something:new."),
    ],
)
def test_a_missing_scope_is_named_with_the_checkbox_to_select(explained, mode, required, box):
    error = explained(lacking(["webhook", required], ["webhook"]), mode)
    assert isinstance(error, PermissionDenied)
    assert error.message == (
        f"The credentials may not read the workspace 'acme': they lack the scope {required}."
    )
    assert box in error.hint
    assert error.details["missing_scopes"] == [required]
    assert error.details["granted_scopes"] == ["webhook"]


@pytest.mark.parametrize(
    "detail", [None, "text", [], {}, {"required": "x"}, {"required": [7], "granted": None}]
)
def test_an_error_without_usable_scopes_means_missing_access(explained, detail):
    error = explained(answer(403, "Forbidden", detail=detail), repository=SHOP)
    assert isinstance(error, PermissionDenied)
    assert "access to the repository acme/shop" in error.message
    assert "administrator" in error.hint
    assert "read:repository:bitbucket" in error.hint


def test_an_access_token_without_access_is_explained_by_what_it_belongs_to(explained):
    error = explained(answer(403, "Access denied"), "access-token", repository=SHOP)
    assert "token of this repository, or of its project" in error.hint


def test_an_unknown_workspace_may_be_a_display_name(explained):
    refusal = answer(404, "No workspace with identifier 'acme'.")
    for repository in (None, SHOP):
        error = explained(refusal, repository=repository)
        assert isinstance(error, NotFound)
        assert "Workspace 'acme' was not found" in error.message
        assert "bitbucket.org/<workspace>" in error.hint
        assert "display name" in error.hint


def test_an_unknown_workspace_derived_from_the_username_is_explained(explained):
    refusal = answer(404, "No workspace with identifier 'dana'.")
    error = explained(refusal, "app-password", about="dana", workspace=None)
    assert "the username was used" in error.hint
    error = explained(refusal, "app-password", about="other", workspace=None)
    assert "the username was used" not in error.hint


@pytest.mark.parametrize("message", [NO_REPOSITORY, "Repository acme/shop not found"])
def test_an_unknown_repository_may_be_inaccessible(explained, message):
    error = explained(answer(404, message), repository=SHOP)
    assert isinstance(error, NotFound)
    assert "epository acme/shop was not found" in error.message
    assert "slugs" in error.hint
    assert "read access" in error.hint
    assert error.details["repository"] == "acme/shop"


def test_a_missing_user_has_the_default_explanation(explained):
    assert explained(answer(404, "Not found"), about=None) is None


def test_a_removed_endpoint_is_named_with_its_announcement(explained):
    refusal = answer(
        410,
        "CHANGE-2770 - Functionality has been deprecated",
        detail="This endpoint was removed.",
        data={"announcement_url": "https://developer.atlassian.com/changelog/#CHANGE-2770"},
        path="/2.0/repositories",
    )
    for mode in ("app-password", "api-token", "access-token"):
        error = explained(refusal, mode)
        assert isinstance(error, UnexpectedAnswer)
        assert "no longer offers /2.0/repositories" in error.message
        assert "Upgrade deploycore-bitbucket" in error.hint
        assert "changelog/#CHANGE-2770" in error.hint


@pytest.mark.parametrize("data", [None, "x", {}, {"announcement_url": 7}])
def test_a_removed_endpoint_without_an_announcement_is_explained(explained, data):
    error = explained(answer(410, "Gone", data=data))
    assert "announcement" not in error.hint


def test_the_removal_of_app_passwords_is_not_a_removed_endpoint(explained):
    refusal = answer(410, text="CHANGE-3222 - Functionality has been deprecated")
    error = explained(refusal, "app-password")
    assert isinstance(error, AuthenticationFailed)
    assert "2026-07-28" in error.hint


LIMITED = "Rate limit for this resource has been exceeded"


@pytest.mark.parametrize(
    ("mode", "known"),
    [
        ("app-password", "1,000 requests in a rolling hour"),
        ("api-token", "1,000 requests in a rolling hour"),
        ("access-token", "1,000 requests in a rolling hour, more in large workspaces"),
    ],
)
def test_a_rate_limit_without_a_time_ends_within_an_hour(explained, mode, known):
    error = explained(answer(429, text=LIMITED), mode)
    assert isinstance(error, RateLimited)
    assert error.retry_at is None
    assert "in an hour" in error.hint
    assert known in error.hint


def test_a_rate_limit_in_the_response_is_quoted(explained):
    refusal = answer(429, text=LIMITED, headers={"X-RateLimit-Limit": "4500"})
    assert "4500 requests in a rolling hour" in explained(refusal, "access-token").hint


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        ("90", NOW + timedelta(seconds=90)),
        (" 0 ", NOW),
        ("Tue, 24 Nov 2026 12:30:00 GMT", NOW + timedelta(minutes=30)),
        ("Tue, 24 Nov 2026 12:30:00 -0000", NOW + timedelta(minutes=30)),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_ignored(explained, header, moment):
    error = explained(answer(429, text=LIMITED, headers={"Retry-After": header}))
    assert error.retry_at == moment
    assert ("Try again after 2026-11-24 12:" in error.hint) is (moment is not None)


@pytest.mark.parametrize("status", [400, 405, 500, 502, 503])
def test_other_errors_have_the_default_explanation(explained, status):
    assert explained(answer(status, "Something else")) is None


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429])
@pytest.mark.parametrize("body", [[], "text", {"error": None}, {"error": "x"}, {"error": {}}])
def test_unusual_bodies_are_explained(explained, mode, status, body):
    refusal = ErrorAnswer(
        status=status, method="GET", path="/2.0/x", headers={}, text="odd", json=body
    )
    error = explained(refusal, mode)
    assert error.message
    assert error.hint


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429])
def test_no_explanation_contains_a_secret(explained, mode, secrets, status):
    error = explained(answer(status, "Refused", detail={"required": ["x"]}), mode)
    assert secrets[mode] not in json.dumps(error.as_dict())


@pytest.mark.parametrize("status", [410, None])
def test_git_rejecting_an_app_password_explains_their_removal(config, status):
    message = "CHANGE-3222 - Functionality has been deprecated" if status is None else "Gone"
    said = explain_git_refusal(config("app-password"), status, message)
    assert "2026-07-28" in said
    assert TOKEN_PAGE in said


@pytest.mark.parametrize("status", [401, 403, 404])
def test_git_rejecting_credentials_says_what_to_check(config, mode, status):
    said = explain_git_refusal(config(mode), status, "Authentication failed")
    wanted = {"app-password": "username", "api-token": "email", "access-token": "Access tokens"}
    assert wanted[mode] in said
    assert ("slugs" in said) is (status == 404)


def test_a_git_rate_limit_says_when_to_retry(config, mode):
    assert "in an hour" in explain_git_refusal(config(mode), 429, "")


def test_a_removed_git_endpoint_does_not_blame_app_passwords(config):
    assert "App passwords" not in explain_git_refusal(config("api-token"), 410, "Gone")


@pytest.mark.parametrize("status", [None, 500, 503])
def test_other_git_errors_have_no_additional_explanation(config, mode, status):
    assert explain_git_refusal(config(mode), status, "broken") is None
