from __future__ import annotations

import pytest
from pydantic import SecretStr

INVALID_TOKEN = "Token is invalid, expired, or not supported for this endpoint."
REPOSITORIES = "/repositories/acme"


def test_each_mode_lists_the_repositories_of_its_workspace(sandbox, get, credential):
    sandbox.add_repository("acme", "shop")
    answer = get(REPOSITORIES, credential)
    assert answer.status_code == 200
    assert [row["full_name"] for row in answer.json()["values"]] == ["acme/shop"]


def test_generated_secrets_look_like_those_of_bitbucket(sandbox, ada):
    app_password = sandbox.add_app_password(ada).secret.get_secret_value()
    token = sandbox.add_api_token(ada).secret.get_secret_value()
    assert app_password.startswith("ATBB")
    assert token.startswith("ATATT")
    assert {"=", "-", "_"} <= set(token)
    assert 180 <= len(token) <= 230
    assert sandbox.add_access_token("acme").secret.get_secret_value().startswith("ATCTT")


def test_a_supplied_secret_is_kept_and_not_shown(sandbox, ada):
    credential = sandbox.add_api_token(ada, SecretStr("ATATTgiven"))
    assert credential.secret.get_secret_value() == "ATATTgiven"
    assert "ATATTgiven" not in repr(credential)


def test_the_user_endpoint_returns_the_owner_of_an_api_token(sandbox, get, ada):
    answer = get("/user", sandbox.add_api_token(ada))
    assert answer.json()["username"] == "ada"
    assert answer.json()["display_name"] == "Ada Lovelace"


def test_the_user_endpoint_rejects_access_tokens(sandbox, get):
    answer = get("/user", sandbox.add_access_token("acme"))
    assert answer.status_code == 403
    message = answer.json()["error"]["message"]
    assert message == "This API is not accessible by this authentication mechanism"


def test_the_user_endpoint_rejects_anonymous_callers(get):
    assert get("/user").status_code == 401


def test_an_api_token_requires_the_email_for_rest(sandbox, session, ada, authorization_for):
    token = sandbox.add_api_token(ada)
    headers = authorization_for(token, "ada")
    answer = session.get(f"{sandbox.api_url}/user", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == INVALID_TOKEN


def test_an_app_password_requires_the_username_for_rest(sandbox, session, ada, authorization_for):
    headers = authorization_for(sandbox.add_app_password(ada), "ada@example.com")
    answer = session.get(f"{sandbox.api_url}/user", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["type"] == "error"


def test_an_api_token_as_bearer_is_refused(sandbox, session, ada):
    token = sandbox.add_api_token(ada).secret.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"}
    answer = session.get(f"{sandbox.api_url}/user", headers=headers, timeout=10)
    assert answer.status_code == 401


def test_an_access_token_as_basic_is_refused(sandbox, session, authorization_for):
    headers = authorization_for(sandbox.add_access_token("acme"), "x-token-auth")
    answer = session.get(sandbox.api_url + REPOSITORIES, headers=headers, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["Basic %%%", "Basic /w==", "Digest x", "Basic"])
def test_an_invalid_header_is_rejected(sandbox, session, header):
    headers = {"Authorization": header}
    answer = session.get(sandbox.api_url + REPOSITORIES, headers=headers, timeout=10)
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", ["app_password", "api_token"])
def test_expired_credentials_of_a_person_are_refused(sandbox, get, ada, kind):
    expired = getattr(sandbox, f"add_{kind}")(ada, expired=True)
    assert get(REPOSITORIES, expired).status_code == 401


def test_an_expired_access_token_is_refused(sandbox, get):
    expired = sandbox.add_access_token("acme", expired=True)
    assert get(REPOSITORIES, expired).status_code == 401


@pytest.mark.parametrize("scopes", [[], ["read:jira-work"]])
def test_an_api_token_without_bitbucket_scopes_is_rejected(sandbox, get, ada, scopes):
    answer = get(REPOSITORIES, sandbox.add_api_token(ada, scopes=scopes))
    assert answer.status_code == 401
    assert answer.text == INVALID_TOKEN


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/user", "read:user:bitbucket"),
        ("/user/workspaces", "read:workspace:bitbucket"),
        ("/workspaces/acme", "read:workspace:bitbucket"),
        (REPOSITORIES, "read:repository:bitbucket"),
        ("/repositories/acme/shop", "read:repository:bitbucket"),
        ("/repositories/acme/shop/refs/branches", "read:repository:bitbucket"),
    ],
)
def test_a_missing_scope_is_named_with_those_granted(sandbox, get, ada, path, scope):
    sandbox.add_repository("acme", "shop")
    other = sandbox.add_api_token(ada, scopes=["read:pipeline:bitbucket"])
    answer = get(path, other)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["message"] == "Your credentials lack one or more required privilege scopes."
    assert error["detail"] == {"required": [scope], "granted": ["read:pipeline:bitbucket"]}
    assert get(path, sandbox.add_api_token(ada, scopes=[scope])).status_code == 200


def test_only_old_write_scopes_imply_read_access(sandbox, get, ada):
    old = sandbox.add_access_token("acme", scopes=["repository:write"])
    new = sandbox.add_api_token(ada, scopes=["write:repository:bitbucket"])
    assert get(REPOSITORIES, old).status_code == 200
    assert get(REPOSITORIES, new).status_code == 403


def test_responses_contain_the_scopes_in_their_headers(sandbox, get):
    answer = get(REPOSITORIES, sandbox.add_access_token("acme", scopes=["repository", "webhook"]))
    assert answer.headers["x-oauth-scopes"] == "repository, webhook"
    assert answer.headers["x-accepted-oauth-scopes"] == "repository"
    assert answer.headers["x-credential-type"]


def test_a_repository_access_token_only_sees_that_repository(sandbox, get):
    sandbox.add_repository("acme", "shop")
    sandbox.add_repository("acme", "website")
    token = sandbox.add_access_token("acme", "shop")
    assert [row["slug"] for row in get(REPOSITORIES, token).json()["values"]] == ["shop"]
    assert get("/repositories/acme/website", token).status_code == 404


def test_app_passwords_that_were_removed_are_refused(make_populated, session, authorization_for):
    sandbox = make_populated(app_passwords="removed")
    removed = sandbox.add_app_password(sandbox.add_user("eve"))
    answer = session.get(f"{sandbox.api_url}/user", headers=authorization_for(removed), timeout=10)
    assert answer.status_code == 401
