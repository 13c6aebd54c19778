"""Access to pages, and the forms that are accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from deploycore.store.tables import sessions


def test_pages_require_sign_in(client):
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_a_form_without_the_token_of_its_session_is_refused(browser):
    for fields in ({}, {"form_token": "x"}):
        assert browser.client.post("/sign-out", data=fields).status_code == 403
    assert browser.get("/", follow_redirects=False).status_code == 200
    browser.send("/sign-out")
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_session_cookie_allows_only_reading_the_api(browser):
    assert browser.get("/api/v1/applications").status_code == 200
    assert browser.client.delete("/api/v1/applications/shop").status_code == 401


@pytest.mark.parametrize("path", ["/", "/sign-in"])
def test_pages_have_a_strict_content_security_policy(browser, path):
    headers = browser.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"


def test_static_files_are_cacheable(browser):
    address = browser.get("/").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = browser.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")


def test_an_unknown_static_file_is_not_found(client):
    assert client.get("/static/nope.css").status_code == 404
    assert client.get("/static/..%2Ftable.py").status_code == 404


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=%FF", "application/x-www-form-urlencoded", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 2000), "application/x-www-form-urlencoded", 400),
    ],
    ids=["media type", "encoded", "raw", "many"],
)
def test_a_request_that_is_not_a_form_is_rejected(browser, content, media_type, status):
    headers = {"Content-Type": media_type}
    answer = browser.client.post("/sign-out", content=content, headers=headers)
    assert answer.status_code == status


@pytest.fixture
def seen(browser, installation):
    """When the browser's session was used last, by the store; it was 11 hours ago at first."""
    database = installation.store._database
    former = datetime.now(UTC) - timedelta(hours=11)
    with database.writing() as connection:
        connection.execute(update(sessions).values(seen_at=former))

    def read():
        with database.reading() as connection:
            return connection.scalar(select(sessions.c.seen_at))

    assert read() == former
    return read


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"X-Deploycore-Background": "1"}, "/"),
        ({"X-Deploycore-Background": "1"}, "/api/v1/events?limit=1"),
        ({"Cookie": "deploycore_background=1"}, "/activity"),
        ({"Accept": "text/event-stream"}, "/api/v1/deployments/999/log"),
    ],
)
def test_background_requests_do_not_extend_a_session(browser, seen, headers, path):
    before = seen()
    if "Cookie" in headers:
        browser.client.cookies.set("deploycore_background", "1")
        headers = {}
    assert browser.get(path, headers=headers).status_code in (200, 404)
    assert seen() == before


def test_a_user_action_extends_a_session(browser, seen):
    before = seen()
    browser.get("/")
    assert seen() > before


def test_checking_a_stream_does_not_extend_a_session(browser, seen, installation):
    before, accounts = seen(), browser.client.application.accounts
    [session] = installation.store.sessions.list("admin")
    assert accounts.still_holds(SimpleNamespace(session=session.digest))
    assert seen() == before


def test_an_ended_session_is_reported(browser, installation):
    installation.store.sessions.end("admin")
    page = browser.get("/providers?after=a")
    assert page.url.path == "/sign-in"
    assert "Your session has ended." in page.text
    assert 'value="/providers?after=a"' in page.text
    browser.client.cookies.clear()
    assert "Your session has ended." not in browser.get("/providers").text
