"""Commits link to their pages at the git host, if it has such pages."""

from __future__ import annotations

import re

import pytest

from tests.server.dashboard.hostile_pages import faults_of

URL = "https://git.example.com/acme/shop/commit/" + "1" * 40
PAGES = ["/", "/activity", "/applications/shop", "/applications/shop/releases", "/deployments/1"]


def links_of(page) -> list[str]:
    return re.findall(r'<a class="commit" href="([^"]+)" rel="noreferrer external"', page)


def test_a_commit_is_a_link_wherever_it_is_shown(browser, released):
    name = released(live=True, commit_url=URL)
    for path in (*PAGES, f"/applications/shop/rollback?to={name}"):
        page = browser.get(path).text
        assert set(links_of(page)) == {URL}, path
        assert faults_of(page) == [], path


@pytest.mark.parametrize(
    "url",
    [
        None,
        "javascript:alert(1)//{}",
        "//evil.example",
        "https://",
        "https://a b",
        "ftp://x.example",
    ],
)
def test_without_a_web_page_there_is_no_commit_link(browser, released, url):
    released(live=True, commit_url=url)
    for path in PAGES:
        page = browser.get(path).text
        assert "1" * 10 in page
        assert links_of(page) == []
