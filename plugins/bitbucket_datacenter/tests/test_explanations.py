"""Error responses, and the errors that explain them."""

from __future__ import annotations

import json

import pytest
from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
)
from deploycore.http import ErrorAnswer
from deploycore.models import RepositoryId

from deploycore_bitbucket_datacenter.explanations import (
    Question,
    explain,
    explain_git_refusal,
)

SHOP = RepositoryId(owner="WEB", slug="shop")
SIGNED_IN = {"X-AUSERNAME": "ada"}
NOT_PERMITTED = ("You are not permitted to access this resource", "AuthorisationException")
WRONG = (
    "Authentication failed. Please check your credentials and try again.",
    "IncorrectPasswordAuthenticationException",
)
BASIC_IS_OFF = "Basic Authentication has been disabled on this instance."
CAPTCHA = ("CAPTCHA required. Your account has been marked.", "CaptchaRequiredException")


def refusal(status, message="", exception="NoSuchEntityException", **headers):
    name = f"com.atlassian.bitbucket.{exception}"
    body = {"errors": [{"context": None, "message": message, "exceptionName": name}]}
    return ErrorAnswer(
        status=status,
        method="GET",
        path="/rest/api/latest/x",
        headers=headers,
        text=json.dumps(body),
        json=body,
    )


def about(config, *mode, action="read", **changes):
    return Question(config(*mode, **changes), "WEB", SHOP, action)


def test_401_for_rejected_credentials_says_what_to_check(config, mode):
    error = explain(refusal(401, *WRONG), about(config, mode))
    assert isinstance(error, AuthenticationFailed)
    assert "Authentication failed" in error.message
    assert {"password": "Basic", "access-token": "settings of the project"}.get(
        mode, "/plugins/servlet/access-tokens/manage"
    ) in error.hint


def test_401_for_a_signed_in_user_means_a_missing_permission(config, mode):
    error = explain(refusal(401, *NOT_PERMITTED, **SIGNED_IN), about(config, mode))
    assert isinstance(error, PermissionDenied)
    assert "may not read the repository WEB/shop" in error.message
    assert "Repository read for WEB/shop or its project" in error.hint


def test_without_the_user_header_the_exception_name_decides(config):
    error = explain(refusal(401, *NOT_PERMITTED), about(config))
    assert isinstance(error, PermissionDenied)


def test_401_on_a_public_endpoint_is_not_a_missing_permission(config):
    question = Question(config())
    error = explain(refusal(401, *NOT_PERMITTED), question)
    assert isinstance(error, AuthenticationFailed)
    assert "proxy" in error.hint
    assert isinstance(
        explain(refusal(401, *NOT_PERMITTED, **SIGNED_IN), question), PermissionDenied
    )


@pytest.mark.parametrize("body", [None, [], {"errors": None}, {"errors": [7]}, "x"])
def test_401_without_details_is_about_the_credentials(config, body):
    answer = ErrorAnswer(status=401, method="GET", path="/", headers=SIGNED_IN, text="", json=body)
    assert isinstance(explain(answer, about(config)), AuthenticationFailed)


def test_403_explains_that_passwords_are_disabled(config):
    error = explain(refusal(403, BASIC_IS_OFF), about(config, "password"))
    assert isinstance(error, AuthenticationFailed)
    assert "mode personal-token" in error.hint


def test_403_in_plain_text_explains_it(config):
    answer = ErrorAnswer(status=403, method="GET", path="/", headers={}, text=BASIC_IS_OFF)
    assert isinstance(explain(answer, about(config, "password")), AuthenticationFailed)


@pytest.mark.parametrize("status", [401, 403])
def test_a_captcha_must_be_solved_in_a_browser(config, status):
    error = explain(refusal(status, *CAPTCHA), about(config, "password"))
    assert isinstance(error, AuthenticationFailed)
    assert "https://git.example.com/bitbucket/login" in error.hint


def test_any_other_403_means_a_missing_permission(config):
    assert isinstance(explain(refusal(403, "XSRF check failed"), about(config)), PermissionDenied)


@pytest.mark.parametrize(
    ("action", "said", "permission"),
    [
        ("register webhook", "may not register a webhook for", "Repository admin"),
        ("list webhooks", "may not list the webhooks of", "Repository admin"),
        ("remove webhook", "may not remove a webhook from", "Repository admin"),
        ("report status", "may not report a build status to", "Repository read"),
    ],
)
def test_each_operation_names_its_required_permission(config, action, said, permission):
    question = about(config, action=action)
    error = explain(refusal(401, *NOT_PERMITTED, **SIGNED_IN), question)
    assert said in error.message
    assert permission in error.hint


def test_the_hint_for_a_repository_token_is_to_name_the_repository(config):
    refused = refusal(401, *NOT_PERMITTED, **SIGNED_IN)
    error = explain(refused, Question(config("access-token", project="WEB"), "WEB"))
    assert "deploycore provider edit work --repository PROJECT/SLUG" in error.hint
    for question in (about(config, "access-token"), Question(config(), "WEB")):
        assert "--repository" not in explain(refused, question).hint


def test_404_names_the_requested_resource(config):
    error = explain(refusal(404), about(config))
    assert isinstance(error, NotFound)
    assert "Repository WEB/shop was not found" in error.message
    error = explain(refusal(404), Question(config(), "WEB"))
    assert "Project 'WEB' was not found" in error.message
    error = explain(refusal(404), Question(config()))
    assert "No Bitbucket Data Center was found" in error.message


def test_a_rejected_webhook_is_reported_with_the_message_of_the_server(config):
    error = explain(refusal(400, "The URL is wrong."), about(config, action="register webhook"))
    assert type(error) is ProviderError
    assert "The URL is wrong." in error.message


@pytest.mark.parametrize("status", [400, 409, 429, 500, 503])
def test_statuses_handled_by_the_client_get_no_explanation(config, status):
    assert explain(refusal(status, "x"), about(config)) is None


@pytest.mark.parametrize(
    ("mode", "status", "message", "said"),
    [
        ("password", 401, "", "mode personal-token"),
        ("password", 403, BASIC_IS_OFF, "mode personal-token"),
        ("personal-token", 403, BASIC_IS_OFF, "Remove the username"),
        ("access-token", 401, "", "settings of the project"),
        ("access-token", 403, "", "Repository read"),
        ("personal-token", 404, "Repository not found", "project key"),
        ("personal-token", 429, "", "limits requests"),
        ("password", None, "CAPTCHA required", "browser"),
    ],
)
def test_git_errors_have_a_hint(config, mode, status, message, said):
    changes = {"username": "ada"} if mode == "personal-token" else {}
    assert said in explain_git_refusal(config(mode, **changes), status, message)


def test_other_git_errors_have_no_hint(config):
    assert explain_git_refusal(config(), 500, "out of order") is None
