"""What a person does in the dashboard, from the first page to a release and back."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from tests.browser.conftest import sign_in

BROWSERS = pytest.mark.parametrize("java_script", [True, False], ids=["script", "no-script"])


def revealed(value) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def add_provider(page, connection, name):
    """Add a provider of the sandbox by the form of its way to sign in."""
    settings = {field: revealed(value) for field, value in connection.settings.items()}
    mode = settings.pop("mode")
    page.goto(f"/providers/-/new?kind=bitbucket&mode={mode}")
    page.locator("[name=name]").fill(name)
    for field, value in settings.items():
        page.locator(f"[name='{field}'], [name='field.{field}']").first.fill(value)
    page.locator("main button.primary").click()
    page.get_by_text("The provider is added").wait_for()


def create_application(page, provider, repository, target):
    page.goto(f"/applications/-/new?provider={provider}")
    page.locator("[name=name]").fill("shop")
    page.locator("form.fields [name=provider], form [name=provider]").last.select_option(provider)
    page.locator("[name=repository]").fill(repository)
    page.locator("[name=ref]").fill("main")
    page.locator("[name=target]").fill(str(target))
    page.get_by_role("button", name="Create application").click()
    page.get_by_text("The application is created").wait_for()


def deploy(page, target, name):
    """Deploy the branch, and wait until a file of it is live and the page says so."""
    page.goto("/applications/shop")
    page.get_by_role("button", name="Deploy main").click()
    page.get_by_text("The deployment is requested.").wait_for()
    until(page, lambda: (target / "current" / name).exists())
    # With a script, the page would show it by itself; see test_live.py.
    until(page, lambda: page.goto("/applications/shop") and shows(page, "Healthy"))


def shows(page, state):
    return page.locator(".heading .badge").get_by_text(state, exact=True).count()


def until(page, is_done):
    """Wait for something that ends, however slow the machine is."""
    for _ in range(1500):
        if is_done():
            return
        page.wait_for_timeout(200)
    raise AssertionError(page.inner_text("main"))


@BROWSERS
@pytest.mark.parametrize("mode", ["app-password", "api-token"])
def test_from_a_provider_to_a_release_and_back(site, visit, mode, java_script):
    connection, target = site.connection(mode), site.directory / "shop"
    repository = f"{connection.owner}/shop"
    site.sandbox.publish(connection.owner, "shop", "main", {"OLD": b"1"}, "Begin")
    page = visit(site, java_script=java_script)
    sign_in(page, site)
    add_provider(page, connection, "work")
    page.goto("/providers/work")
    page.get_by_role("button", name="Test").first.click()
    page.get_by_text("accessible").first.wait_for()
    create_application(page, "work", repository, target)
    deploy(page, target, "OLD")
    site.sandbox.publish(connection.owner, "shop", "main", {"NEW": b"2"}, "Change")
    deploy(page, target, "NEW")
    page.get_by_text("Roll back to this").first.click()
    page.get_by_role("heading", level=1).get_by_text("Roll back").wait_for()
    page.locator("main form button").first.click()
    page.get_by_text("The rollback has started.").wait_for()
    until(page, lambda: not (target / "current" / "NEW").exists())
    assert (target / "current" / "OLD").exists()
