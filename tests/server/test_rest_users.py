"""Users, tokens, the audit log and the caller's own account in the REST API."""

from __future__ import annotations

import logging

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr

from deploycore.server.accounts import passwords
from deploycore.server.rest.table import OPERATIONS

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch):
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "new_hasher", lambda: cheap)


@pytest.fixture
def admin(token):
    return token("admin", name="boss")


@pytest.fixture
def api(client, admin):
    """Sends a request as an administrator: ``api("GET", "/users")``."""

    def send(method, path, **options):
        return client.request(method, f"/api/v1{path}", headers=admin, **options)

    return send


def test_a_user_without_a_password_gets_a_link(api, client, installation):
    answer = api("POST", "/users", json={"name": "ada", "role": "deploy"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/v1/users/ada")
    added = answer.json()
    assert added["user"]["has_password"] is False
    link = added["link"]["path"].removeprefix("/sign-in/link/")
    assert client.application.accounts.link_user(SecretStr(link)) == "ada"
    again = api("POST", "/users/ada/link")
    assert again.status_code == 201
    assert client.application.accounts.link_user(SecretStr(link)) is None


def test_a_password_is_stored_as_a_hash_and_never_returned(api, installation, caplog):
    caplog.set_level(logging.DEBUG)
    body = {"name": "ada", "role": "read", "password": PASSWORD}
    added = api("POST", "/users", json=body)
    assert added.json()["link"] is None
    stored = installation.store.users.get("ada").password
    assert stored.startswith("$argon2id$")
    seen = added.text + api("GET", "/users").text + api("GET", "/users/ada").text + caplog.text
    assert PASSWORD not in seen
    assert stored not in seen


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"name": "ada", "role": "read", "password": "short"}, "12 to 1,000"),
        ({"name": "ada", "role": "root"}, "role"),
        ({"name": "a b", "role": "read"}, "not a valid name"),
        ({"role": "read"}, "name"),
        ({"name": "ada", "role": "read", "admin": True}, "admin"),
        ({"name": "ada", "role": "read", "password": ["a"]}, "password"),
    ],
)
def test_an_invalid_user_is_rejected(api, installation, body, why):
    answer = api("POST", "/users", json=body)
    assert (answer.status_code, why in answer.json()["message"]) == (422, True)
    assert installation.store.users.list() == []


def test_users_are_listed_by_pages(api, installation):
    for number in range(5):
        installation.store.users.add(f"user-{number}", role="read")
    names, path = [], "/users?limit=2"
    while path:
        page = api("GET", path).json()
        assert len(page["items"]) <= 2
        names += [each["name"] for each in page["items"]]
        path = page["next"] and page["next"].removeprefix("/api/v1")
    assert names == [f"user-{number}" for number in range(5)]


def test_a_user_is_changed_disabled_and_removed(api, installation):
    for name in ("ada", "eve"):
        installation.store.users.add(name, role="admin")
    installation.store.sessions.add("eve", digest="e" * 64)
    assert api("PATCH", "/users/eve", json={"role": "read"}).json()["role"] == "read"
    assert api("PATCH", "/users/eve", json={"disabled": True}).json()["disabled"] is True
    assert installation.store.sessions.find("e" * 64) is None
    refused = api("POST", "/users/eve/link")
    assert (refused.status_code, "is disabled" in refused.json()["message"]) == (409, True)
    for change in (
        lambda: api("DELETE", "/users/ada"),
        lambda: api("PATCH", "/users/ada", json={"role": "deploy"}),
        lambda: api("PATCH", "/users/ada", json={"disabled": True}),
    ):
        answer = change()
        assert (answer.status_code, "last administrator" in answer.json()["message"]) == (409, True)
    assert api("DELETE", "/users/eve").status_code == 204
    assert api("DELETE", "/users/eve").status_code == 404
    assert api("GET", "/users/eve").json()["code"] == "not_found"


def test_a_token_is_shown_once_and_works(api, client):
    added = api("POST", "/tokens", json={"name": "ci", "role": "read", "days": 30}).json()
    header = {"Authorization": f"Bearer {added['secret']}"}
    listed = api("GET", "/tokens")
    assert {each["name"] for each in listed.json()["items"]} == {"boss", "ci"}
    assert added["secret"] not in listed.text
    assert added["token"]["expires_at"]
    assert _eventually(lambda: client.get("/api/v1/applications", headers=header), 200)
    assert api("POST", "/tokens", json={"name": "ci", "role": "read"}).status_code == 422
    assert api("DELETE", "/tokens/ci").status_code == 204
    assert api("DELETE", "/tokens/ci").status_code == 404
    assert _eventually(lambda: client.get("/api/v1/applications", headers=header), 401)


def _eventually(ask, status) -> bool:
    """Tokens are read again after a quarter of a second."""
    return any(ask().status_code == status for _ in range(2000))


def test_the_account_endpoint_returns_the_caller(api):
    account = api("GET", "/account").json()
    assert (account["kind"], account["name"], account["role"]) == ("token", "boss", "admin")
    assert api("GET", "/account/sessions").json() == {"items": []}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/account/sessions", None),
        ("DELETE", "/account/sessions/1", None),
        ("POST", "/account/password", {"old": "x", "new": PASSWORD}),
    ],
)
def test_a_token_has_neither_sessions_nor_a_password(api, method, path, body):
    answer = api(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "configuration")


def test_every_change_is_in_the_audit_log(api, client, token):
    api("POST", "/users", json={"name": "ada", "role": "read", "password": PASSWORD})
    api("PATCH", "/users/ada", json={"role": "deploy"})
    api("DELETE", "/users/nobody")
    api("POST", "/tokens", json={"name": "ci", "role": "read"})
    api("POST", "/applications/shop/deployments", json={"unknown": 1})
    api("POST", "/applications/shop/deployments", content="{")
    reader = token("read", name="reader")
    assert _eventually(lambda: client.get("/api/v1/applications", headers=reader), 200)
    client.post("/api/v1/applications/shop/deployments", headers=reader, json={})
    client.post("/api/v1/applications/shop/deployments", json={})
    answer = api("GET", "/audit")
    entries = [
        (each["actor"], each["operation"], each["kind"], each["subject"], each["outcome"])
        for each in answer.json()["items"]
    ]
    assert entries == [
        ("token reader", "request_deployment", "application", "shop", "permission_denied"),
        ("token boss", "request_deployment", "application", "shop", "unsupported_media_type"),
        ("token boss", "request_deployment", "application", "shop", "configuration"),
        ("token boss", "add_token", "token", "ci", "done"),
        ("token boss", "delete_user", "user", "nobody", "not_found"),
        ("token boss", "change_user", "user", "ada", "done"),
        ("token boss", "add_user", "user", "ada", "done"),
    ]
    assert {each["address"] for each in answer.json()["items"]} == {"testclient"}
    assert all(each["request"] for each in answer.json()["items"])
    assert PASSWORD not in answer.text


def test_an_audit_entry_has_the_request_id_of_the_response(api):
    answer = api("POST", "/tokens", json={"name": "ci", "role": "read"})
    [entry] = api("GET", "/audit").json()["items"]
    assert entry["request"] == answer.headers["x-request-id"]


def test_the_audit_log_is_filtered_and_paged(api):
    for number in range(5):
        api("POST", "/tokens", json={"name": f"ci-{number}", "role": "read"})
    [entry] = api("GET", "/audit?subject=ci-3&operation=add_token").json()["items"]
    assert entry["subject"] == "ci-3"
    subjects, path = [], "/audit?limit=2&actor=token%20boss"
    while path:
        page = api("GET", path).json()
        subjects += [each["subject"] for each in page["items"]]
        path = page["next"] and page["next"].removeprefix("/api/v1")
    assert subjects == [f"ci-{number}" for number in reversed(range(5))]
    assert api("GET", "/audit", params={"since": "2100-01-01T00:00:00Z"}).json()["items"] == []
    assert api("GET", "/audit", params={"until": "2100-01-01T00:00:00Z"}).json()["items"]


@pytest.mark.parametrize(
    "query", ["since=now", "since=2026-11-29", "since=0001-01-01T00:00:00%2B14:00", "actor=%00"]
)
def test_a_wrong_filter_is_refused(api, query):
    assert api("GET", f"/audit?{query}").status_code == 422


def test_rejected_requests_cannot_displace_other_audit_entries(api, client):
    for _ in range(40):
        api("DELETE", "/users/nobody")
    api("POST", "/tokens", json={"name": "ci", "role": "read"})
    entries = api("GET", "/audit?limit=200").json()["items"]
    # A minute may end meanwhile.
    assert 30 <= sum(each["outcome"] == "not_found" for each in entries) <= 40
    assert entries[0]["operation"] == "add_token"


def test_an_operation_stands_if_the_audit_log_cannot_be_written(api, client, monkeypatch):
    from deploycore.errors import StoreError

    def fail(entry):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(client.application.accounts.auditor._store.audit, "add", fail)
    assert api("POST", "/tokens", json={"name": "ci", "role": "read"}).status_code == 201


def test_no_response_model_contains_secrets():
    shown = {
        name
        for operation in OPERATIONS
        for model in operation.answers.values()
        if model is not None
        for name in model.model_fields
    }
    assert not shown & {"password", "digest", "cookie"}
