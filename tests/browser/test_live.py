"""Open pages update themselves."""

from __future__ import annotations

import pytest

from tests.browser.conftest import sign_in


@pytest.fixture
def shop(site):
    """A site with an application whose health check fails if a file BROKEN is in a release."""
    provider, owner = site.add_provider(), site.connection().owner
    site.sandbox.publish(owner, "shop", "main", {"README": b"one\n"}, "Begin")
    with site.installation() as opened:
        opened.add_application(
            "shop",
            provider=provider,
            repository=f"{owner}/shop",
            ref="main",
            target=site.directory / "shop",
            health_check={"shell": "test ! -e BROKEN", "retries": 1},
        )
        opened.deploy("shop")
    return site


def publish(site, files, subject):
    site.sandbox.publish(site.connection().owner, "shop", "main", files, subject)


def test_a_failing_health_check_is_shown_live(shop, visit):
    page = visit(shop)
    sign_in(page, shop)
    publish(shop, {"BROKEN": b""}, "Break it")
    page.goto("/applications/shop")
    page.get_by_role("button", name="Deploy main").click()
    # Nothing is loaded again by hand: the page follows the deployment.
    page.get_by_text("The release failed its health check").first.wait_for()
    page.goto("/deployments/2")
    assert page.locator(".badge").first.inner_text() == "Rolled back"
    log = page.locator(".log")
    assert "try 1 of 2" in log.inner_text()
    assert (shop.directory / "shop" / "current" / "README").exists()


def test_a_log_is_followed_to_its_end(shop, visit):
    page = visit(shop)
    sign_in(page, shop)
    publish(shop, {"BROKEN": b""}, "Break it")
    page.goto("/applications/shop")
    page.get_by_role("button", name="Deploy main").click()
    page.locator("a[href='/deployments/2']").first.wait_for()
    page.goto("/deployments/2")
    page.locator(".log").get_by_text("is live again").first.wait_for()
    page.locator(".badge").get_by_text("Rolled back").first.wait_for()


def test_two_browsers_see_the_same(shop, visit):
    one, other = visit(shop), visit(shop)
    sign_in(one, shop)
    other.context.add_cookies(one.context.cookies())
    other.goto("/")
    publish(shop, {"README": b"two\n"}, "A change that both see")
    one.goto("/applications/shop")
    one.get_by_role("button", name="Deploy main").click()
    other.get_by_text("A change that both see").first.wait_for()
    one.get_by_text("A change that both see").first.wait_for()


def test_a_server_restart_is_reported_and_the_page_continues(shop, visit):
    page = visit(shop, may_fail=True)
    sign_in(page, shop)
    page.goto("/")
    shop.stop()
    page.get_by_text("Connection lost").wait_for()
    shop.start()
    page.get_by_text("Connection lost").wait_for(state="hidden")
    publish(shop, {"README": b"three\n"}, "After the restart")
    with shop.installation() as opened:
        opened.deploy("shop")
    page.get_by_text("After the restart").first.wait_for()
