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
    page.goto(f"/providers/new?kind=bitbucket&mode={mode}")
    page.locator("[name=name]").fill(name)
    for field, value in settings.items():
        page.locator(f"[name='{field}'], [name='field.{field}']").first.fill(value)
    page.locator("main button.primary").click()
    page.get_by_text("The provider is added").wait_for()


def create_application(page, provider, repository, target):
    page.goto(f"/applications/new?provider={provider}")
    page.locator("[name=name]").fill("shop")
    page.locator("form.fields [name=provider], form [name=provider]").last.select_option(provider)
    page.locator("[name=repository]").fill(repository)
    page.locator("[name=ref]").fill("main")
    page.locator("[name=target]").fill(str(target))
    page.get_by_role("button", name="Create application").click()
    page.get_by_text("The application is created").wait_for()


def deploy(page):
    page.goto("/applications/shop")
    page.get_by_role("button", name="Deploy main").click()
    wait_for_state(page, "Healthy")


def wait_for_state(page, state):
    """Wait until the application's page shows a state; without a script, by loading it again."""
    shown = page.locator("h1 ~ .badge, .heading .badge").get_by_text(state)
    for _ in range(600):
        if shown.count():
            return
        page.wait_for_timeout(200)
        page.goto("/applications/shop")
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
    deploy(page)
    assert (target / "current" / "OLD").exists()
    site.sandbox.publish(connection.owner, "shop", "main", {"NEW": b"2"}, "Change")
    page.goto("/applications/shop")
    page.get_by_role("button", name="Deploy main").click()
    for _ in range(600):
        if (target / "current" / "NEW").exists():
            break
        page.wait_for_timeout(200)
    wait_for_state(page, "Healthy")
    page.goto("/applications/shop")
    page.get_by_text("Roll back to this").first.click()
    page.locator("main button.primary, main button.danger").first.click()
    for _ in range(600):
        if not (target / "current" / "NEW").exists():
            break
        page.wait_for_timeout(200)
    assert (target / "current" / "OLD").exists()
