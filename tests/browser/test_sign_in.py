"""Sign in and out in a browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import sign_in


@pytest.mark.parametrize("java_script", [True, False])
def test_the_printed_link_signs_in_and_the_user_can_sign_out(site, visit, java_script):
    page = visit(site, java_script=java_script)
    sign_in(page, site)
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in**")
    page.goto("/")
    assert "/sign-in" in page.url


def test_an_open_page_reports_that_its_session_has_ended(site, visit):
    page, other = visit(site, may_fail=True), visit(site)
    sign_in(page, site)
    page.goto("/activity")
    other.context.add_cookies(page.context.cookies())
    other.goto("/account")
    other.get_by_role("button", name="Sign out everywhere").click()
    other.wait_for_url("**/sign-in**")
    page.get_by_text("Your session has ended.").wait_for()
    page.get_by_role("link", name="Sign in again").click()
    page.wait_for_url("**/sign-in?next=%2Factivity**")
