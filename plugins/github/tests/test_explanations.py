"""Error responses in the forms that GitHub documents or sends, and the errors that explain them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from deploycore_github.explanations import Question, explain, explain_git_refusal
from deploycore_github.tasks import (
    READING,
    REGISTERING_WEBHOOK,
    REPORTING_DEPLOYMENT,
    REPORTING_STATUS,
)
from pydantic import SecretStr
from requests.structures import CaseInsensitiveDict

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    ProviderError,
    RateLimited,
)
from deploycore.http import ErrorAnswer
from deploycore.models import RepositoryId
from deploycore.testing.faults import Fault, answer

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
EPOCH = str(int(NOW.timestamp()) + 1800)
SHOP = RepositoryId(owner="guild", slug="shop")
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes."
BY_TOKEN = "Resource not accessible by personal access token"
SAML = (
    "Resource protected by organization SAML enforcement. You must grant your Personal Access "
    "token access to this organization."
)


@pytest.fixture
def explained(config):
    """Returns the error for a response: ``explained(403, "…", "classic", {"X-…": "…"})``."""

    def make(status, message, kind="fine-grained", headers=None, *, path="/x", **question):
        body = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        given = ErrorAnswer(
            status=status,
            method="GET",
            path=path,
            headers=CaseInsensitiveDict(headers or {}),
            text=json.dumps(body),
            json=body,
        )
        return explain(given, Question(config(kind), **question), now=NOW)

    return make


# Rate limits


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("message", "headers", "retry_at"),
    [
        (
            "API rate limit exceeded for user ID 1.",
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": EPOCH},
            NOW + timedelta(minutes=30),
        ),
        (
            SECONDARY,
            {"Retry-After": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": EPOCH},
            NOW + timedelta(minutes=1),
        ),
        (SECONDARY, {"x-ratelimit-remaining": "4999", "x-ratelimit-reset": EPOCH}, None),
        ("You have triggered an abuse detection mechanism.", {}, None),
        ("API rate limit exceeded", {"x-ratelimit-reset": "soon"}, None),
    ],
)
def test_a_rate_limit_is_recognized_by_either_status_and_has_its_end(
    explained, status, message, headers, retry_at
):
    error = explained(status, message, headers=headers)
    assert isinstance(error, RateLimited)
    assert error.retry_at == retry_at
    assert ("2026-11-25 12:" in error.hint) is (retry_at is not None)


def test_the_hint_for_a_rate_limit_contains_the_limit(explained):
    headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0"}
    headers["X-RateLimit-Reset"] = EPOCH
    assert (
        "5000 requests per hour"
        in explained(403, "API rate limit exceeded", "classic", headers).hint
    )
    assert "fewer deployments" in explained(403, SECONDARY, "classic", headers).hint


def test_a_short_secondary_limit_is_waited_for(sandbox, open_provider, config):
    token = sandbox.add_credential("token").secret
    provider = open_provider(config(url=sandbox.url, token=token), retries=2)
    limit = answer(403, json.dumps({"message": SECONDARY}), headers={"Retry-After": "0"})
    sandbox.faults.add(Fault(limit, times=1))
    assert provider.authenticate().username == "ada"


def test_a_primary_rate_limit_is_not_retried(sandbox, open_provider, config):
    token = sandbox.add_credential("token").secret
    provider = open_provider(config(url=sandbox.url, token=token), retries=4)
    sandbox.faults.add(Fault(sandbox.rate_limited(1800)))
    with pytest.raises(RateLimited):
        provider.authenticate()
    assert sandbox.request_count == 1


def test_counted_requests_alone_do_not_make_an_error_a_rate_limit(explained):
    counted = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"}
    assert isinstance(explained(403, BY_TOKEN, headers=counted), PermissionDenied)


# Credentials


@pytest.mark.parametrize(
    ("kind", "whose", "hint"),
    [
        ("fine-grained", "fine-grained personal access token", "settings/personal-access-tokens"),
        ("classic", "classic personal access token", "github.com/settings/tokens"),
        ("installation", "installation token", "mode app"),
        ("other", "the token", "settings/personal-access-tokens"),
        ("app", "the GitHub App 1001", "private_key"),
    ],
)
def test_rejected_credentials_are_named_by_their_type(explained, kind, whose, hint):
    error = explained(401, "Bad credentials", kind)
    assert isinstance(error, AuthenticationFailed)
    assert whose in error.message
    assert "(Bad credentials)" in error.message
    assert hint in error.hint


# Permissions


@pytest.mark.parametrize(
    ("kind", "message", "headers", "lacks", "hint"),
    [
        (
            "fine-grained",
            BY_TOKEN,
            {"X-Accepted-GitHub-Permissions": "contents=read"},
            "contents=read",
            "Contents: Read-only (Metadata comes with it): https://github.com/settings/personal",
        ),
        (
            "app",
            "Resource not accessible by integration",
            {"X-Accepted-GitHub-Permissions": "metadata=read"},
            "metadata=read",
            "https://github.com/settings/installations/5001",
        ),
        (
            "classic",
            "Not accessible",
            {"X-OAuth-Scopes": "gist, user", "X-Accepted-OAuth-Scopes": "repo, public_repo"},
            "repo or public_repo",
            "the scope repo: https://github.com/settings/tokens",
        ),
        ("fine-grained", BY_TOKEN, {}, "Contents: Read-only", "Contents: Read-only"),
        ("installation", "Resource not accessible by integration", {}, "Contents", "Create the"),
    ],
)
def test_a_missing_permission_is_named(explained, kind, message, headers, lacks, hint):
    error = explained(403, message, kind, headers, repository=SHOP)
    assert isinstance(error, PermissionDenied)
    assert f"may not read the repository guild/shop: it lacks {lacks}" in error.message
    assert hint in error.hint


def test_one_of_several_scopes_is_enough(explained):
    headers = {"X-OAuth-Scopes": "public_repo", "X-Accepted-OAuth-Scopes": "repo, public_repo"}
    error = explained(403, "Repository access blocked", "classic", headers)
    assert "lacks" not in error.message
    assert "(Repository access blocked)" in error.message


def test_single_sign_on_is_explained_with_the_link_of_github(explained):
    link = "https://github.com/orgs/guild/sso?authorization_request=AZSCKtL4U8yX1H3sCQIVnVgmjmon5f"
    error = explained(
        403, SAML, "classic", {"X-GitHub-SSO": f"required; url={link}"}, owner="guild"
    )
    assert isinstance(error, PermissionDenied)
    assert "single sign-on" in error.message
    assert link in error.hint


@pytest.mark.parametrize(
    "header",
    [
        "required; url=https://github.com.evil.example/orgs/guild/sso",
        "required",
        "",
    ],
)
def test_a_single_sign_on_link_to_another_site_is_not_shown(explained, header):
    error = explained(403, SAML, "classic", {"X-GitHub-SSO": header} if header else {})
    assert "evil" not in error.hint
    assert "Configure SSO at https://github.com/settings/tokens" in error.hint


@pytest.mark.parametrize(
    "message",
    [
        "`guild` forbids access via a personal access token (classic). Please use a GitHub App, "
        "OAuth App, or a personal access token with fine-grained permissions.",
        "Although you appear to have the correct authorization credentials, the `guild` "
        "organization has an IP allow list enabled, and your IP address is not permitted to "
        "access this resource.",
    ],
)
def test_other_errors_are_reported_with_the_message_of_github(explained, message):
    error = explained(403, message, "classic", owner="guild")
    assert isinstance(error, PermissionDenied)
    assert message.rstrip(".")[:250] in error.message
    assert "owner of the organization" in error.hint


def test_a_long_message_is_truncated(explained):
    assert len(explained(403, "no " * 1000).message) < 500


@pytest.mark.parametrize(
    ("kind", "task", "hint"),
    [
        ("fine-grained", REPORTING_STATUS, "permission Commit statuses: Read and write (Metadata"),
        ("classic", REPORTING_STATUS, "the scope repo:status (repo includes it): https://"),
        (
            "oauth",
            REPORTING_STATUS,
            "Create the token with the scope repo:status (repo includes it)",
        ),
        ("oauth", READING, "Create the token with the scope repo."),
        (
            "user",
            REPORTING_STATUS,
            "Create the token with the repository permission Commit statuses",
        ),
        ("installation", REGISTERING_WEBHOOK, "with the repository permission Webhooks: Read and"),
        ("other", REGISTERING_WEBHOOK, "if it is a classic one, the scope admin:repo_hook: https"),
        ("app", REPORTING_DEPLOYMENT, "Give the app the repository permission Deployments: Read"),
    ],
)
def test_the_required_permission_is_named_for_each_type_of_credential(explained, kind, task, hint):
    error = explained(403, BY_TOKEN, kind, repository=SHOP, task=task)
    assert isinstance(error, PermissionDenied)
    assert f"may not {task.what} the repository guild/shop: it lacks {task.box}" in error.message
    assert hint in error.hint
    assert error.hint.endswith(task.role)


@pytest.mark.parametrize("kind", ["fine-grained", "classic", "app"])
def test_a_missing_role_is_named(explained, kind):
    said = "Must have admin rights to Repository."
    error = explained(403, said, kind, repository=SHOP, task=REGISTERING_WEBHOOK)
    assert isinstance(error, PermissionDenied)
    assert "register a webhook for the repository guild/shop (Must have admin" in error.message
    assert "administrators of the repository" in error.hint


def test_a_missing_permission_of_an_installation_is_named(explained):
    path = "/app/installations/5001/access_tokens"
    said = "The permissions requested are not granted to this installation."
    error = explained(422, said, "app", path=path, task=REPORTING_STATUS)
    assert isinstance(error, PermissionDenied)
    assert "lacks the permission Commit statuses: Read and write (The permi" in error.message
    assert "/settings/installations/5001" in error.hint


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([{"message": "one"}, {"message": "two"}], "(Validation Failed: one; two)"),
        (
            [{"resource": "Hook", "field": "events", "code": "invalid"}],
            "(Validation Failed: Hook events invalid)",
        ),
        (["text"], "(Validation Failed: text)"),
        ("text.", "(Validation Failed: text)"),
        ([7, None, {}, {"message": ["x"]}], "Validation Failed"),
        ({"message": "x"}, "Validation Failed"),
        (None, "(Validation Failed)"),
    ],
)
def test_validation_errors_are_reported_with_the_message_of_github(config, errors, said):
    body = {"message": "Validation Failed", "errors": errors}
    given = ErrorAnswer(422, "POST", "/x", {}, json.dumps(body), body)
    error = explain(given, Question(config(), repository=SHOP, task=REGISTERING_WEBHOOK), now=NOW)
    assert type(error) is ProviderError
    assert said in error.message
    assert "the internet can reach" in error.hint


# Objects that do not exist


@pytest.mark.parametrize(
    ("kind", "headers", "hint"),
    [
        ("fine-grained", {}, "resource owner"),
        ("classic", {"X-OAuth-Scopes": "gist"}, "lacks the scope repo"),
        ("classic", {"X-OAuth-Scopes": "repo"}, "that the account can read it"),
        ("app", {}, "https://github.com/settings/installations/5001"),
    ],
)
def test_a_repository_that_is_not_found_may_be_hidden(explained, kind, headers, hint):
    error = explained(404, "Not Found", kind, headers, repository=SHOP)
    assert isinstance(error, NotFound)
    assert "epository guild/shop was not found" in error.message
    assert hint in error.hint


@pytest.mark.parametrize("message", ["Not Found", "Integration not found"])
def test_an_unknown_installation_means_a_wrong_credential(explained, message):
    path = "/app/installations/5001/access_tokens"
    error = explained(404, message, "app", path=path)
    assert isinstance(error, AuthenticationFailed)
    assert f"has no installation 5001 of the GitHub App 1001 ({message})" in error.message


def test_other_statuses_have_the_default_explanation(explained):
    for status in (400, 404, 409, 422, 500, 503):
        assert explained(status, "x") is None


# Git


@pytest.mark.parametrize(
    ("kind", "status", "message", "hint"),
    [
        ("fine-grained", 401, "Invalid username or token.", "has not expired or been revoked"),
        ("app", 401, "Invalid username or token.", "private_key"),
        ("fine-grained", 403, "Write access to repository not granted.", "Contents: Read-only"),
        ("classic", 403, "The 'guild' organization has enabled or enforced SAML SSO.", "Configure"),
        ("classic", 404, "Repository not found.", "the scope repo"),
        ("app", 404, "Repository not found.", "that the installation includes it"),
        ("fine-grained", 301, "", "renamed or moved"),
        ("fine-grained", 429, "", "in a few minutes"),
    ],
)
def test_git_errors_are_explained(config, kind, status, message, hint):
    assert hint in explain_git_refusal(config(kind), status, message)


@pytest.mark.parametrize("status", [None, 500])
def test_other_git_errors_have_no_explanation(config, status):
    assert explain_git_refusal(config(), status, "broken") is None


def test_a_secret_in_a_message_of_github_is_masked(sandbox, connect):
    provider = connect("token")
    secret = provider.secrets[0].get_secret_value()
    said = json.dumps({"message": f"{'x' * 290} {secret} is not known"})
    sandbox.faults.add(Fault(answer(401, said, content_type="application/json")))
    with pytest.raises(AuthenticationFailed) as caught:
        provider.authenticate()
    assert SecretStr(secret) in provider.secrets
    assert secret[:12] not in str(caught.value.as_dict())


@pytest.mark.parametrize("message", [BY_TOKEN, SAML])
def test_a_denial_with_no_requests_remaining_is_not_a_rate_limit(explained, message):
    headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0"}
    headers["X-RateLimit-Reset"] = EPOCH
    assert isinstance(explained(403, message, headers=headers), PermissionDenied)
