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


def test_only_forms_are_read(browser):
    sent = browser.client.post("/sign-out", json={"form_token": browser.form_token()})
    assert sent.status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff=1", b"&".join([b"a=1"] * 1001), b"a=%ff"):
        assert browser.client.post("/sign-out", content=body, headers=form).status_code == 400


def test_a_static_file_that_is_not_there(browser):
    for name in ("nothing.css", "..%2f__init__.py"):
        assert browser.get(f"/static/{name}").status_code == 404
