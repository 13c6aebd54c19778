"""Tasks of a person in the dashboard, from the first page to a deployment and a rollback."""

from __future__ import annotations

import re

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


def create_application(page, provider, name, repository, target, *, java_script):
    """Create an application whose repository is picked by a part of its name."""
    page.goto(f"/applications/-/new?provider={provider}")
    part = repository.partition("/")[2][:3]
    if java_script:
        page.get_by_role("combobox", name="Repository").press_sequentially(part)
        page.get_by_role("option", name=repository).click()
    else:
        page.get_by_role("searchbox", name="Repository").fill(part)
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name=repository).click()
    assert page.locator("#repository").input_value() == repository
    assert page.locator("#ref").input_value() == "main"
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Directory").fill(str(target))
    page.get_by_text("Steps, health check and automatic deployment").click()
    page.get_by_label("Deploy automatically").uncheck()  # polls would deploy as well
    page.get_by_role("button", name="Create application").click()
    page.get_by_text("The application is created").wait_for()


def deploy(page, target, file, name, *, java_script):
    """Deploy the branch, and watch its log until a file of it is live."""
    page.goto(f"/applications/{name}")
    before = newest(page)
    page.get_by_role("button", name="Deploy main").click()
    page.get_by_text("The deployment is requested.").wait_for()
    # Without a script, what is new is there when the page is loaded again.
    until(page, lambda: newest(page) > before)
    load = (lambda: True) if java_script else page.reload
    load()
    page.locator(f"a[href='/deployments/{newest(page)}']").first.click()
    page.get_by_role("heading", name="Log").wait_for()
    until(page, lambda: load() and shows(page, "Healthy"))
    page.locator(".log").get_by_text("activating").first.wait_for()
    assert (target / "current" / file).exists()


def newest(page):
    """The number of the newest deployment that a page links to, as the server has it now."""
    found = re.findall(r'href="/deployments/(\d+)"', page.request.get(page.url).text())
    return max(map(int, found), default=0)


def shows(page, state):
    return page.locator(".heading .badge").get_by_text(state, exact=True).count()


def until(page, is_done):
    """Wait for something that ends, however slow the machine is."""
    for _ in range(500):
        if is_done():
            return
        page.wait_for_timeout(200)
    raise AssertionError(page.inner_text("main"))


@BROWSERS
@pytest.mark.parametrize("mode", ["app-password", "api-token"])
def test_a_user_adds_a_provider_deploys_and_rolls_back(site, visit, mode, java_script):
    connection, target = site.connection(mode), site.directory / "shop"
    repository = f"{connection.owner}/shop"
    site.sandbox.publish(connection.owner, "shop", "main", {"OLD": b"1"}, "Begin")
    page = visit(site, java_script=java_script)
    sign_in(page, site)
    add_provider(page, connection, "work")
    page.goto("/providers/work")
    page.get_by_role("button", name="Test").first.click()
    page.get_by_text("accessible").first.wait_for()
    create_application(page, "work", "shop", repository, target, java_script=java_script)
    deploy(page, target, "OLD", "shop", java_script=java_script)
    site.sandbox.publish(connection.owner, "shop", "main", {"NEW": b"2"}, "Change")
    deploy(page, target, "NEW", "shop", java_script=java_script)
    page.goto("/applications/shop")
    page.get_by_text("Roll back to this").first.click()
    page.get_by_role("heading", level=1).get_by_text("Roll back").wait_for()
    page.locator("main form button").first.click()
    page.get_by_text("The rollback has started.").wait_for()
    until(page, lambda: not (target / "current" / "NEW").exists())
    assert (target / "current" / "OLD").exists()
