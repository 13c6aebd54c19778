"""What a browser is shown for an address that is no page, or whose subject is gone."""

from __future__ import annotations

import re
from html import unescape

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from deploycore.errors import StoreError
from deploycore.server.dashboard.errors import wants_page
from tests.server.dashboard.conftest import BROWSER
from tests.server.dashboard.test_answers import faults_of_answer

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def links_of(answer):
    """The links of a page's actions, by their text."""
    actions = re.search(r'<p class="actions">(.*?)</p>', answer.text, re.S)[1]
    found = re.findall(r'href="([^"]*)">([^<]*)<', actions)
    return {unescape(text): path for path, text in found}


@pytest.mark.parametrize(
    ("path", "title", "back"),
    [
        ("/nope", "Not found", {"Go to the applications": "/"}),
        ("/providers/", "Not found", {"Go to providers": "/providers"}),
        ("/static/nope.css", "Not found", {}),
        ("/sign-out", "Only for forms", {}),
        ("/applications/shop/deploy", "Only for forms", {}),
        ("/applications/gone", "Not found", {}),
        ("/deployments/999", "Not found", {}),
        ("/providers/gone/edit", "Not found", {"Go to providers": "/providers"}),
        ("/users/gone", "Not found", {"Go to users": "/users"}),
        ("/audit/gone", "Not found", {"Go to audit log": "/audit"}),
    ],
)
def test_a_browser_is_shown_a_page_with_a_way_back(browser, path, title, back):
    answer = browser.get(path)
    assert answer.status_code == (405 if title == "Only for forms" else 404)
    assert answer.headers["content-type"].startswith("text/html")
    assert faults_of_answer(answer) == []
    assert f"<h1>{title}</h1>" in answer.text
    links = links_of(answer)
    assert links.items() >= {"Go to the applications": "/", **back}.items()
    assert all(browser.get(each).status_code == 200 for each in links.values())
    assert "Sign out" in answer.text  # the page has the navigation


def test_the_methods_of_an_address_are_still_sent(browser):
    assert browser.get("/sign-out").headers["allow"] == "POST"


def test_somebody_who_is_not_signed_in_gets_a_page_without_navigation(client):
    answer = client.get("/nope", headers=BROWSER)
    assert (answer.status_code, links_of(answer)) == (404, {"Go to the first page": "/"})
    assert "Sign out" not in answer.text


@pytest.mark.parametrize("path", ["/api/v1/nope", "/api", "/api/v1/applications/gone", "/metrics"])
def test_the_api_answers_a_browser_with_problem_details(browser, path):
    answer = browser.get(path, headers={"Accept": CHROMIUM})
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    ("path", "accepted", "is_page"),
    [
        ("/nope", CHROMIUM, True),
        ("/nope", "TEXT/HTML", True),
        ("/nope", "text/html;q=0.5, application/json;q=0.2", True),
        ("/nope", "text/html;q=0.5, application/json", False),
        ("/nope", "text/html;q=0", False),
        ("/nope", "text/html;q=often", False),
        ("/nope", "*/*", False),
        ("/nope", "", False),
        ("/webhooks/shop", CHROMIUM, False),
        ("/api/v1/nope", CHROMIUM, False),
        ("/healthz", CHROMIUM, False),
        ("/apiary", CHROMIUM, True),
    ],
)
def test_only_browsers_outside_of_the_api_are_shown_pages(path, accepted, is_page):
    headers = [(b"accept", accepted.encode())] if accepted else []
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    assert wants_page(Request(scope)) is is_page


def test_an_unexpected_error_is_a_page_that_names_the_request(client, sign_in_as, monkeypatch):
    def fail(*_arguments, **_more):
        raise RuntimeError("hunter2")

    careless = TestClient(client.application.asgi, raise_server_exceptions=False)
    browser = sign_in_as(careless, "admin", "admin")
    monkeypatch.setattr("deploycore.store.audit.Audit.list", fail)
    answer = browser.get("/audit")
    assert (answer.status_code, faults_of_answer(answer)) == (500, [])
    assert "<h1>Unexpected error</h1>" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "hunter2" not in answer.text
    assert links_of(answer) == {"Go to the first page": "/"}


def test_an_unknown_address_is_a_page_while_the_database_is_down(browser, monkeypatch):
    def fail(*_arguments, **_more):
        raise StoreError("The database cannot be reached.")

    monkeypatch.setattr("deploycore.store.sessions.Sessions.find", fail)
    answer = browser.get("/nope")
    assert (answer.status_code, links_of(answer)) == (404, {"Go to the first page": "/"})
