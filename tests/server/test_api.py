"""The REST API: the operations, and their permissions."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from deploycore.deploy.events import DeployEvent
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DeploycoreError,
    LimitExceeded,
    Locked,
    NotFound,
    PluginError,
    RateLimited,
    StoreError,
)
from deploycore.git import Cancellation
from deploycore.server.edge import RequestIdFilter
from deploycore.server.problems import refused_by, status_of
from deploycore.server.rest.table import OPERATIONS
from deploycore.server.rollbacks import Rollbacks
from tests.server.routes import filled

V1 = "/api/v1"


@pytest.fixture
def admin(token):
    return token("admin", name="root")


@pytest.fixture
def deployment(installation, secret):
    """Records a deployment, with a log: ``deployment("healthy", lines=3)``; gives its record."""

    def make(state: str = "healthy", *, lines: int = 0, application: str = "shop"):
        deployments = installation.store.deployments
        record = deployments.request(application, ref="main", requested_by="ada")
        with installation.engine.logs.open(application, record.id) as log:
            for number in range(lines):
                at = datetime(2026, 11, 25, tzinfo=UTC)
                text = f"line {number}"
                log.write(DeployEvent(record.id, application, at, "output", "building", text))
        path = {
            "queued": [],
            "fetching": ["authenticating", "resolving", "fetching"],
            "healthy": ["activating", "healthy"],
            "failed": ["failed"],
        }[state]
        for each in path:
            record = deployments.advance(record.id, each)
        return record

    return make


# The table of roles, written down a second time on purpose.
ROLES = {
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /metrics": "read",
    "GET /api/v1/openapi.json": None,
    "GET /api/v1/providers": "read",
    "GET /api/v1/applications": "read",
    "GET /api/v1/applications/{application}": "read",
    "PUT /api/v1/applications/{application}": "admin",
    "DELETE /api/v1/applications/{application}": "admin",
    "POST /api/v1/applications/{application}/deployments": "deploy",
    "POST /api/v1/applications/{application}/rollback": "deploy",
    "GET /api/v1/deployments": "read",
    "GET /api/v1/deployments/{deployment}": "read",
    "POST /api/v1/deployments/{deployment}/cancel": "deploy",
    "GET /api/v1/deployments/{deployment}/log": "read",
    "GET /api/v1/triggers/{trigger}": "read",
    "GET /api/v1/provider-kinds": "read",
    "GET /api/v1/provider-kinds/{kind}": "read",
    "POST /api/v1/provider-kinds/recognize": "admin",
    "POST /api/v1/providers": "admin",
    "GET /api/v1/providers/{provider}": "read",
    "PATCH /api/v1/providers/{provider}": "admin",
    "DELETE /api/v1/providers/{provider}": "admin",
    "POST /api/v1/providers/{provider}/test": "deploy",
    "POST /api/v1/providers/{provider}/sign-ins": "admin",
    "GET /api/v1/sign-ins/{sign_in}": "admin",
    "POST /api/v1/providers/{provider}/sign-ins/{sign_in}/finish": "admin",
    "GET /api/v1/overview": "read",
    "GET /api/v1/suggestions/application": "admin",
    "GET /api/v1/applications/{application}/overview": "read",
    "GET /api/v1/applications/{application}/previews": "read",
    "GET /api/v1/applications/{application}/releases": "read",
    "GET /api/v1/applications/{application}/releases/{release}/changes": "read",
    "GET /api/v1/applications/{application}/statistics": "read",
    "GET /api/v1/deployments/{deployment}/log/text": "read",
    "GET /api/v1/events": "read",
    "GET /api/v1/users": "admin",
    "POST /api/v1/users": "admin",
    "GET /api/v1/users/{user}": "admin",
    "PATCH /api/v1/users/{user}": "admin",
    "DELETE /api/v1/users/{user}": "admin",
    "POST /api/v1/users/{user}/link": "admin",
    "DELETE /api/v1/users/{user}/sessions": "admin",
    "GET /api/v1/tokens": "admin",
    "POST /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/{token}": "admin",
    "GET /api/v1/audit": "admin",
    "GET /api/v1/account": "read",
    "GET /api/v1/account/sessions": "read",
    "DELETE /api/v1/account/sessions": "read",
    "DELETE /api/v1/account/sessions/{session}": "read",
    "POST /api/v1/account/password": "read",
    "GET /api/v1/plugins": "admin",
    "GET /api/v1/doctor": "admin",
    "GET /api/v1/providers/{provider}/owners": "admin",
    "GET /api/v1/providers/{provider}/repositories": "admin",
    "GET /api/v1/providers/{provider}/branches": "admin",
    "GET /api/v1/providers/{provider}/tags": "admin",
    "GET /api/v1/applications/{application}/environment": "read",
    "PUT /api/v1/applications/{application}/environment/{variable}": "admin",
    "DELETE /api/v1/applications/{application}/environment/{variable}": "admin",
    "GET /api/v1/applications/{application}/webhook": "read",
    "POST /api/v1/applications/{application}/webhook": "admin",
    "DELETE /api/v1/applications/{application}/webhook": "admin",
    "POST /api/v1/applications/{application}/webhook/rotate": "admin",
    "POST /api/v1/applications/{application}/webhook/reveal": "admin",
    "GET /api/v1/applications/{application}/deliveries": "read",
    "GET /api/v1/applications/{application}/removal": "admin",
    "POST /api/v1/applications/{application}/accept-repository": "admin",
    "GET /api/v1/deploy-keys": "read",
    "GET /api/v1/applications/{application}/deploy-keys": "read",
    "POST /api/v1/applications/{application}/deploy-keys": "admin",
    "DELETE /api/v1/applications/{application}/deploy-keys": "admin",
    "POST /api/v1/applications/{application}/deploy-keys/rotate": "admin",
    "GET /api/v1/providers/{provider}/deploy-keys": "read",
    "POST /api/v1/providers/{provider}/deploy-keys": "admin",
    "DELETE /api/v1/providers/{provider}/deploy-keys": "admin",
    "POST /api/v1/providers/{provider}/deploy-keys/rotate": "admin",
    "POST /api/v1/recover": "deploy",
    "GET /api/v1/cache": "admin",
    "DELETE /api/v1/cache": "admin",
    "POST /api/v1/cache/prune": "admin",
}
ORDER = ["read", "deploy", "admin"]


def test_the_role_table_matches_the_specification():
    assert {f"{each.method} {each.path}": each.role for each in OPERATIONS} == ROLES


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_each_role_has_the_permissions_in_the_table(client, token, operation):
    path = filled(operation.path)
    headers = {role: token(role) for role in ORDER}
    anonymous = client.request(operation.method, path).status_code
    if operation.role is None:
        assert anonymous == 200
        return
    assert anonymous == 401
    for role in ORDER:
        answer = client.request(operation.method, path, headers=headers[role])
        status = answer.status_code
        is_enough = ORDER.index(role) >= ORDER.index(operation.role)
        if not is_enough:
            hint = answer.json()["hint"]
            assert hint == "Use a token with that role: deploycore token add NAME --role ROLE"
        assert (status != 403) == is_enough
        assert status not in (401, 500)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer dct_" + "x" * 43,
        "Bearer " + "x" * 10_000,
        "Basic cm9vdDpyb290",
        "dct_",
        "Bearer \xe9\xff",
    ],
    ids=range(8),
)
def test_a_wrong_token_is_refused(client, admin, header):
    answer = client.get(f"{V1}/applications", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "authentication_failed"
    assert "Send 'Authorization: Bearer TOKEN'" in answer.json()["hint"]
    assert client.get(f"{V1}/applications", headers=admin).status_code == 200


def test_a_token_is_refused_when_it_has_expired_or_is_removed(
    installation, client, token, monkeypatch
):
    now = datetime.now(UTC)
    expired = token("read", expires_at=now - timedelta(seconds=1))
    valid = token("read", name="reader", expires_at=now + timedelta(hours=1))
    monkeypatch.setattr("deploycore.server.access._FRESH_SECONDS", 0)
    assert client.get(f"{V1}/providers", headers=expired).status_code == 401
    assert client.get(f"{V1}/providers", headers=valid).status_code == 200
    installation.store.tokens.remove("reader")
    assert client.get(f"{V1}/providers", headers=valid).status_code == 401


def test_only_digests_of_tokens_are_kept(installation, home, token):
    header = token("admin")["Authorization"].removeprefix("Bearer ")
    installation.store.close()
    stored = b"".join(path.read_bytes() for path in home.glob("deploycore.db*"))
    assert header.encode() not in stored
    assert header.removeprefix("dct_").encode() not in stored


def test_invalid_tokens_do_not_query_the_database(client, admin, monkeypatch, installation):
    assert client.get(f"{V1}/providers", headers=admin).status_code == 200
    asked = []
    original = installation.store.tokens.list
    monkeypatch.setattr(installation.store.tokens, "list", lambda: asked.append(1) or original())
    monkeypatch.setattr("deploycore.server.access._FRESH_SECONDS", 1e9)
    for _ in range(50):
        assert client.get(
            f"{V1}/providers", headers={"Authorization": "Bearer no"}
        ).status_code == (401)
    assert asked == []


def test_the_last_use_of_a_token_is_recorded(installation, client, admin):
    client.get(f"{V1}/providers", headers=admin)
    [record] = installation.store.tokens.list()
    assert record.used_at is not None


def test_providers_are_listed_without_their_secrets(client, admin):
    answer = client.get(f"{V1}/providers", headers=admin)
    [provider] = answer.json()["items"]
    assert (provider["name"], provider["kind"], provider["secrets"]) == ("work", "acme", ["token"])
    assert "fernet" not in answer.text
    assert "hunter2" not in answer.text


def test_an_application_can_be_put_exactly_as_it_was_read(client, admin, tmp_path):
    got = client.get(f"{V1}/applications/shop", headers=admin).json()
    again = client.put(f"{V1}/applications/shop", headers=admin, json=got["declaration"])
    assert (again.status_code, again.json()["change"]) == (200, "unchanged")
    new = {**got["declaration"], "target": str(tmp_path / "blog"), "keep": 7}
    made = client.put(f"{V1}/applications/blog", headers=admin, json=new)
    assert (made.status_code, made.json()["change"]) == (201, "create")
    changed = client.put(f"{V1}/applications/blog", headers=admin, json={**new, "keep": 8})
    assert (changed.status_code, changed.json()["change"]) == (200, "change")
    names = [
        each["name"] for each in client.get(f"{V1}/applications", headers=admin).json()["items"]
    ]
    assert names == ["blog", "shop"]


USABLE = {"target": "/t", "provider": "work", "repository": "a/b", "ref": "m"}


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        ({}, "is missing"),
        ({"name": "blog"}, "name: is not a known field"),
        ({"kep": 3}, "kep: is not known here (Did you mean 'keep'?)"),
        ({"target": "/t", "provider": "none", "repository": "a/b", "ref": "m"}, "no provider"),
        ({"target": "/t", "provider": "work", "repository": "ab", "ref": "m"}, "OWNER/REPOSITORY"),
        ({"ref": "\ud800"}, "ref"),
        ({**USABLE, "credentials": ["none"]}, "no provider 'none'"),
        ({**USABLE, "credentials": ["work"]}, "the application's own provider"),
        ({**USABLE, "watch": ["["]}, "'[' is not a valid .gitignore pattern"),
        ({**USABLE, "watch": ["./src"]}, "'./src' matches no path"),
        ({**USABLE, "auto_deploy": {"previews": {"target": "p/{number}"}}}, "previews/target"),
    ],
    ids=range(11),
)
def test_an_invalid_declaration_is_rejected_with_the_reason(client, admin, declaration, said):
    answer = client.put(
        f"{V1}/applications/blog",
        headers={**admin, "Content-Type": "application/json"},
        content=json.dumps(declaration),
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "configuration")
    assert said in answer.json()["message"]
    assert answer.json()["hint"]
    assert client.put(f"{V1}/applications/blog", headers=admin, json=USABLE).status_code == 201


@pytest.mark.parametrize(
    ("content", "media_type", "told"),
    [
        (b"{", "application/json", (400, "Send one JSON object.")),
        (b"\xff", "application/json", (400, "Send one JSON object.")),
        (b'{"keep": NaN}', "application/json", (400, "Send one JSON object.")),
        (b"[" * 100_000, "application/json", (400, "Send one JSON object.")),
        (
            b'{"keep": ' + b"9" * 5000 + b"}",
            "application/json",
            (400, "Send one JSON object."),
        ),
        (b"[]", "application/json", (422, "Send one JSON object.")),
        (b"{}", "text/plain", (415, "Send it with Content-Type: application/json.")),
        (
            b" " * 1_100_000,
            "application/json",
            (
                413,
                "Send a smaller body, or raise the server's limit: deploycore serve"
                " --body-limit KIB",
            ),
        ),
    ],
    ids=range(8),
)
def test_a_malformed_body_is_refused(client, admin, content, media_type, told):
    headers = {**admin, "Content-Type": media_type}
    answer = client.put(f"{V1}/applications/blog", headers=headers, content=content)
    assert (answer.status_code, answer.json()["hint"]) == told
    assert client.put(f"{V1}/applications/blog", headers=admin, json=USABLE).status_code == 201


def test_a_body_is_read_only_after_the_role_is_known(client, token):
    answer = client.put(f"{V1}/applications/shop", headers=token("deploy"), content=b"{")
    assert answer.status_code == 403


def test_an_application_is_deleted_unless_it_is_being_deployed(
    client, admin, deployment, installation
):
    deployment("fetching")
    busy = client.delete(f"{V1}/applications/shop", headers=admin)
    assert (busy.status_code, busy.json()["details"]["application"]) == (409, "shop")
    assert "Wait for it, or: deploycore cancel 1" in busy.json()["hint"]
    client.post(f"{V1}/deployments/1/cancel", headers=admin)
    installation.store.deployments.advance(1, "cancelled")
    missing = client.delete(f"{V1}/applications/blog", headers=admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 204


def test_a_deleted_application_is_gone_and_so_is_its_webhook(client, admin):
    assert client.delete(f"{V1}/applications/shop", headers=admin).status_code == 204
    assert client.get(f"{V1}/applications/shop", headers=admin).status_code == 404
    assert client.post("/webhooks/shop", content=b"").status_code == 404


def test_deployments_are_listed_page_by_page(client, admin, deployment):
    made = [deployment().id for _ in range(7)]
    seen, following = [], f"{V1}/deployments?limit=3&application=shop"
    sizes = []
    while following:
        page = client.get(following, headers=admin).json()
        sizes.append(len(page["items"]))
        seen += [each["id"] for each in page["items"]]
        following = page["next"]
    assert seen == made[::-1]
    assert sizes == [3, 3, 1]


def test_deployments_are_filtered_by_state(client, admin, deployment):
    failed = deployment("failed").id
    deployment("healthy")
    items = client.get(f"{V1}/deployments?state=failed", headers=admin).json()["items"]
    assert [each["id"] for each in items] == [failed]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=201", 422),
        ("limit=x", 422),
        ("state=happy", 422),
        ("before=99999999999999999999", 422),
        ("unknown=1", 422),
        ("application=none", 404),
        ("application=%00", 404),
    ],
)
def test_a_wrong_query_is_refused(client, admin, query, status):
    answer = client.get(f"{V1}/deployments?{query}", headers=admin)
    assert answer.status_code == status
    assert answer.json()["hint"]
    document = client.get(f"{V1}/openapi.json").json()  # as the hint says
    known = document["paths"][f"{V1}/deployments"]["get"]["parameters"]
    assert "limit" in {each["name"] for each in known}
    assert client.get(f"{V1}/deployments?limit=5", headers=admin).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "9", "x", "1.0", "2147483648", "9" * 40, "١"])
def test_unknown_resources_return_not_found(client, admin, number):
    for path in (f"deployments/{number}", f"deployments/{number}/log", f"triggers/{number}"):
        answer = client.get(f"{V1}/{path}", headers=admin)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_resources_are_found_by_their_id(client, admin, deployment):
    refused = client.get(f"{V1}/deployments/x", headers=admin).json()
    assert refused["hint"] == "Use the id that the list shows, a positive integer."
    number = deployment().id
    assert client.get(f"{V1}/deployments/{number}", headers=admin).status_code == 200
    trigger = client.post(f"{V1}/applications/shop/deployments", headers=admin).json()["id"]
    missing = client.get(f"{V1}/triggers/{trigger + 1}", headers=admin).json()
    assert "POST" in missing["hint"]
    assert client.get(f"{V1}/triggers/{trigger}", headers=admin).status_code == 200


def test_a_deployment_request_creates_a_trigger(client, admin, triggers):
    answer = client.post(f"{V1}/applications/shop/deployments", headers=admin)
    [trigger] = triggers()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{V1}/triggers/{trigger.id}"
    assert (trigger.cause, trigger.actor, trigger.priority) == ("request", "token root", 10)
    shown = client.get(answer.headers["location"], headers=admin).json()
    assert (shown["application"], shown["settled_at"], shown["deployment"]) == ("shop", None, None)


@pytest.mark.parametrize(("body", "force"), [(None, False), ({}, False), ({"force": True}, True)])
def test_a_commit_that_is_live_is_deployed_again_by_force(client, admin, triggers, body, force):
    asked = client.post(f"{V1}/applications/shop/deployments", headers=admin, json=body)
    assert (asked.status_code, asked.json()["force"]) == (202, force)
    assert [each.force for each in triggers()] == [force]


def test_an_unknown_field_of_a_request_to_deploy_is_refused(client, admin, triggers):
    asked = client.post(f"{V1}/applications/shop/deployments", headers=admin, json={"forse": True})
    assert (asked.status_code, triggers()) == (422, [])


def test_two_requests_create_two_triggers_and_one_deployment_settles_both(client, admin, triggers):
    for _ in range(2):
        client.post(f"{V1}/applications/shop/deployments", headers=admin)
    assert len(triggers()) == 2


def test_a_deployment_is_cancelled_once(client, admin, deployment):
    number = deployment("queued").id
    first = client.post(f"{V1}/deployments/{number}/cancel", headers=admin)
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    again = client.post(f"{V1}/deployments/{number}/cancel", headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "configuration")


def test_a_rollback_without_a_release_is_refused(client, admin):
    answer = client.post(f"{V1}/applications/shop/rollback", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "configuration")
    assert answer.json()["hint"]


@pytest.mark.parametrize("body", [{"to": ""}, {"to": "../x"}, {"too": "x"}, {"to": 3}])
def test_a_malformed_rollback_is_refused(client, admin, body):
    answer = client.post(f"{V1}/applications/shop/rollback", headers=admin, json=body)
    assert answer.status_code == 422


def test_the_log_is_returned_as_json_in_pages(client, admin, deployment):
    number = deployment(lines=1500).id
    first = client.get(f"{V1}/deployments/{number}/log", headers=admin).json()
    rest = client.get(
        f"{V1}/deployments/{number}/log?after={first['position']}", headers=admin
    ).json()
    texts = [each["text"] for each in first["items"] + rest["items"]]
    assert texts == [f"line {number}" for number in range(1500)]
    assert rest["finished"] is True


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError(""), 422),
        (PluginError(""), 502),
        (AuthenticationFailed(""), 502),
        (NotFound(""), 404),
        (RateLimited(""), 503),
        (LimitExceeded(""), 502),
        (Locked(""), 409),
        (StoreError(""), 503),
        (DeploycoreError(""), 500),
    ],
    ids=lambda each: each.code if isinstance(each, DeploycoreError) else "",
)
def test_the_status_of_an_error_follows_from_its_class(error, status):
    assert status_of(error) == status


def test_a_rate_limit_response_says_when_to_retry():
    error = RateLimited("", retry_at=datetime.now(UTC) + timedelta(seconds=90))
    assert 80 <= int(refused_by(error).headers["Retry-After"]) <= 90


def test_every_response_has_a_request_id_and_security_headers(client):
    for path in ("/healthz", "/nope", "/metrics"):
        headers = client.get(path).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_an_unknown_path_points_to_the_openapi_document(client):
    answer = client.get(f"{V1}/nope").json()
    assert (answer["status"], answer["hint"].endswith(f"GET {V1}/openapi.json")) == (404, True)
    assert client.get(f"{V1}/openapi.json").status_code == 200


def test_cross_origin_requests_are_not_allowed(client, admin):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = client.options(f"{V1}/applications/shop", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_request_id_header_is_trusted_only_behind_a_proxy(serving, secret):
    given = {"X-Request-ID": "from-the-proxy-1"}
    assert serving().get("/healthz", headers=given).headers["x-request-id"] != "from-the-proxy-1"
    client = serving(behind_proxy=True)
    assert client.get("/healthz", headers=given).headers["x-request-id"] == "from-the-proxy-1"
    strange = {"X-Request-ID": "a b"}
    assert len(client.get("/healthz", headers=strange).headers["x-request-id"]) == 32


def test_an_unexpected_error_is_reported_and_logged_without_its_text(
    client, admin, monkeypatch, caplog
):
    def fail():
        raise RuntimeError("hunter2-in-a-message")

    page = "deploycore.store.store.Store.page_of_providers"
    monkeypatch.setattr(page, lambda self, **given: fail())
    monkeypatch.setattr(caplog.handler, "filters", [RequestIdFilter()])  # as the server's log has
    with caplog.at_level(logging.DEBUG):
        answer = client.get(f"{V1}/providers", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert "hunter2" not in answer.text + caplog.text
    assert "Traceback" not in answer.text + caplog.text
    assert "RuntimeError in tests.server.test_api" in caplog.text
    assert "in the server's log by the answer's X-Request-ID" in answer.json()["hint"]
    (record,) = [each for each in caplog.records if "unexpected error" in each.getMessage()]
    assert record.request_id == answer.headers["X-Request-ID"]


def test_a_missing_database_is_reported_with_the_next_step(client, admin, monkeypatch):
    def fail(self, **given):
        raise StoreError("The database is locked.", hint="Wait.")

    client.get(f"{V1}/providers", headers=admin)
    monkeypatch.setattr("deploycore.store.store.Store.page_of_providers", fail)
    answer = client.get(f"{V1}/providers", headers=admin)
    assert (answer.status_code, answer.json()["hint"]) == (503, "Wait.")
    assert answer.headers["retry-after"] == "30"


def test_a_rollback_is_accepted_when_it_starts_and_stops_with_the_server(
    client, admin, installation, deployment, monkeypatch
):
    told, ended = [], threading.Event()

    def roll_back(name, *, to, requested_by, listener, cancellation):
        record = deployment("queued")
        listener(DeployEvent(record.id, name, datetime.now(UTC), "state", "queued"))
        told.append((name, to, requested_by))
        with cancellation.waking(ended.set):
            assert ended.wait(60)
        return record

    monkeypatch.setattr(installation, "roll_back", roll_back)
    answer = client.post(
        f"{V1}/applications/shop/rollback", headers=admin, json={"to": "20261124T101500Z-1a2b"}
    )
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.headers["location"] == f"{V1}/deployments/{answer.json()['id']}"
    client.application.close(drain=0)
    assert told == [("shop", "20261124T101500Z-1a2b", "token root")]
    again = client.post(f"{V1}/applications/shop/rollback", headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "cancelled")
    assert again.json()["hint"] == "Try again in a minute."
    begun = Rollbacks(installation).begin("shop", to=None, requested_by="ada")  # a server later
    assert installation.store.deployments.get(begun).application == "shop"


def test_rollbacks_share_the_shutdown_grace_period(installation, monkeypatch):
    now, cancelled = [1000.0], threading.Event()
    monkeypatch.setattr("deploycore.server.rollbacks.time.monotonic", lambda: now[0])
    waited = []

    class Slow:
        def join(self, seconds: float | None = None) -> None:
            if seconds is not None:
                waited.append(seconds)
                now[0] += seconds

    rollbacks = Rollbacks(installation)
    for _ in range(3):
        cancellation = Cancellation()
        cancellation.cancel = cancelled.set
        rollbacks._running[Slow()] = cancellation
    rollbacks.stop(60.0)
    assert waited == [60.0, 0.0, 0.0]
    assert cancelled.is_set()


def test_unreadable_tokens_are_not_reported_as_invalid(serving, installation, token, monkeypatch):
    client, header = serving(), token("read")

    def refuse() -> None:
        raise StoreError("The database is busy.")

    with monkeypatch.context() as patch:
        patch.setattr(installation.store.tokens, "list", refuse)
        answer = client.get("/api/v1/applications", headers=header)
    assert (answer.status_code, answer.json()["detail"]) == (503, "Tokens cannot be read now.")
    assert "again in 30 seconds" in answer.json()["hint"]
    assert answer.headers["retry-after"] == "30"
    assert client.get("/api/v1/applications", headers=header).status_code == 200


def test_a_request_with_two_content_lengths_is_rejected(serving):
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "headers": [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")],
    }
    client = serving()
    asyncio.run(client.application.asgi(scope, receive, send))
    assert "Send only one of these headers" in sent[1]["body"].decode()
    answered = len(sent)
    scope["headers"] = scope["headers"][:1]
    scope["query_string"] = b""
    asyncio.run(client.application.asgi(scope, receive, send))
    assert sent[answered]["status"] == 200
    del sent[answered:]
    begun, content = sent
    assert (begun["status"], dict(begun["headers"])[b"connection"]) == (400, b"close")
    assert b"both Content-Length and Transfer-Encoding" in content["body"]
