"""Who may see pages, and which forms count."""

from __future__ import annotations

import pytest


def test_pages_ask_to_sign_in_first(client):
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_a_form_without_the_token_of_its_session_is_refused(browser):
    for fields in ({}, {"form_token": "x"}):
        assert browser.client.post("/sign-out", data=fields).status_code == 403
    assert browser.get("/", follow_redirects=False).status_code == 200
    browser.send("/sign-out")
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_session_reads_the_api_and_changes_nothing_there(browser):
    assert browser.get("/api/v1/applications").status_code == 200
    assert browser.client.delete("/api/v1/applications/shop").status_code == 401


@pytest.mark.parametrize("path", ["/", "/sign-in"])
def test_pages_have_a_strict_policy(browser, path):
    headers = browser.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"


def test_static_files_may_be_kept(browser):
    address = browser.get("/").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = browser.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
