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


def test_a_static_file_that_does_not_exist_is_not_found(client):
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
def test_what_is_no_form_is_refused(browser, content, media_type, status):
    headers = {"Content-Type": media_type}
    answer = browser.client.post("/sign-out", content=content, headers=headers)
    assert answer.status_code == status
