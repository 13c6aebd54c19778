"""Sign in and out in a browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import sign_in


@pytest.mark.parametrize("java_script", [True, False])
def test_the_link_of_the_server_signs_in_and_out(site, visit, java_script):
    page = visit(site, java_script=java_script)
    sign_in(page, site)
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in**")
    page.goto("/")
    assert "/sign-in" in page.url
