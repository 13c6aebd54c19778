"""The security headers of every response: it cannot be framed, cached or interpreted as another
type.

Pages and operations come from their tables; other addresses are listed here.
"""

from __future__ import annotations

import re
from itertools import product
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from deploycore.server.dashboard.rendering import static_files
from deploycore.server.dashboard.table import PAGES
from deploycore.server.options import ServerOptions
from deploycore.server.rest.table import OPERATIONS
from tests.server.acme import body_of, push, signed
from tests.server.dashboard.hostile_pages import faults_of
from tests.server.routes import filled

V1 = "/api/v1"
EVENTS = {"Accept": "text/event-stream"}
FORM = "application/x-www-form-urlencoded"
LEADING_AWAY = ["//evil.example", "javascript:alert(1)"]


@pytest.fixture
def seen(client):
    """Whatever the server answers, with what is wrong about it: nothing may be."""
    answers = []

    def note(response):
        if not is_static(response):
            answers.append(response)
        assert faults_of_answer(response) == [], (response.request.method, response.url)

    client.event_hooks = {"response": [note]}
    return answers


def is_static(response):
    return response.url.path.startswith("/static/") and response.status_code == 200


def faults_of_answer(response):
    headers = response.headers
    policy = headers.get("content-security-policy", "")
    kept = "public, max-age=31536000, immutable" if is_static(response) else "no-store"
    is_page = headers.get("content-type", "").startswith("text/html")
    expected = {
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin" if is_page else "no-referrer",
        "cache-control": kept,
    }
    faults = [(name, headers.get(name)) for name, value in expected.items()
              if headers.get_list(name) != [value]]  # fmt: skip
    if "default-src 'none'" not in policy or "frame-ancestors 'none'" not in policy:
        faults.append(("content-security-policy", policy))
    if "unsafe" in policy or "*" in policy or "access-control-allow-origin" in headers:
        faults.append(("lets others in", policy))
    if not re.fullmatch(r"/(?![/\\]).*|", headers.get("location", "")):
        faults.append(("location", headers["location"]))
    return faults


def test_responses_of_all_pages(client, seen, sign_in_as):
    for role in (None, "admin"):
        client.cookies.clear()
        if role is not None:
            sign_in_as(client, role, role)
        for page in PAGES:
            data = {"form_token": "forged"} if page.method == "POST" else None
            client.request(page.method, filled(page.path), data=data, follow_redirects=False)
    assert {200, 303, 403, 404} <= {each.status_code for each in seen}


def test_responses_of_all_operations(client, seen, token):
    for header in ({}, token("admin")):
        for operation in OPERATIONS:
            client.request(operation.method, filled(operation.path), headers=header)
    statuses = {each.status_code for each in seen}
    assert {200, 401, 404} <= statuses
    assert {415, 422} & statuses


def test_responses_that_are_not_pages(client, seen, browser, secret, deployed, token):
    for name in static_files():
        assert client.get(f"/static/{name}").status_code == 200
    number = deployed("healthy", "a line")
    body = body_of(push())
    header = token("admin")
    for status, method, path, options in (
        (404, "GET", "/nope", {}),
        (404, "GET", "/static/nope.css", {}),
        (405, "PATCH", "/sign-in", {}),
        (405, "POST", "/static/style.css", {}),
        (200, "GET", "/healthz", {}),
        (200, "HEAD", "/", {}),
        (200, "GET", f"{V1}/deployments/{number}/log", {"headers": header | EVENTS}),
        (200, "GET", f"{V1}/deployments/{number}/log/text", {"headers": header}),
        (202, "POST", "/webhooks/shop", {"content": body, "headers": signed(body, secret)}),
        (401, "POST", "/webhooks/shop", {"content": body}),
        (404, "POST", "/webhooks/none", {"content": body}),
        (413, "POST", "/webhooks/shop", {"content": b"x" * (2 * 1024 * 1024)}),
        (413, "POST", "/sign-in", {"content": b"x" * 100_000, "headers": {"Content-Type": FORM}}),
        (415, "POST", "/sign-out", {"json": {}}),
    ):
        answer = client.request(method, path, follow_redirects=False, **options)
        assert answer.status_code == status, (path, answer.text)


def test_responses_to_too_many_requests(
    serving, secret, token, seen, client, monkeypatch, cheap_hashes
):
    client.get("/sign-in")
    page = client.get("/sign-in").text
    form_token = re.search(r'name="form_token" value="([^"]+)"', page).group(1)
    given = {"form_token": form_token, "name": "ada", "password": "wrong-wrong-wrong"}
    for _ in range(40):
        if client.post("/sign-in", data=given).status_code == 429:
            break
    assert seen[-1].status_code == 429
    full = serving(followers_most=0)
    full.event_hooks = client.event_hooks
    assert full.get(f"{V1}/events", headers=token("read") | EVENTS).status_code == 503


def test_responses_to_unexpected_errors(client, seen, sign_in_as, token, monkeypatch):
    def fail(*_arguments, **_more):
        raise RuntimeError("hunter2")

    careless = TestClient(client.application.asgi, raise_server_exceptions=False)
    careless.event_hooks = client.event_hooks
    sign_in_as(careless, "admin", "admin")
    monkeypatch.setattr("deploycore.store.audit.Audit.list", fail)
    for path, header in (("/audit", {}), (f"{V1}/audit", token("admin"))):
        answer = careless.get(path, headers=header)
        assert (answer.status_code, "hunter2" in answer.text) == (500, False)


def test_no_link_leads_to_another_site(client, seen, browser, cheap_hashes):
    """Neither a part of a path nor what a form or a query holds."""
    names = ("next", "to", "url", "done", "return", "redirect_uri", "state", "kind", "back")
    form_token = browser.form_token()
    for page, away in product(PAGES, LEADING_AWAY):
        if page.path in ("/sign-out", "/doctor"):  # the first ends the session, the other is slow
            continue
        path = re.sub(r"{\w+}", quote(away, safe=""), page.path)
        given = dict.fromkeys(names, away)
        if page.method == "GET":
            answer = client.get(path, params=given, follow_redirects=False)
        else:
            data = given | {"form_token": form_token}
            answer = client.post(path, data=data, follow_redirects=False)
        assert answer.status_code < 500, (page.path, away, answer.text)
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert faults_of(answer.text) == [], (page.path, away)


def test_the_tested_settings_are_the_defaults():
    assert ServerOptions().body_bytes_most < 2 * 1024 * 1024
