"""Tasks of a person in the dashboard, from the first page to a deployment and a rollback."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from tests.browser.conftest import PASSWORD

CLICKS_MOST, FIELDS_MOST = 10, 7
"""What it takes from the printed link to the first release: sign in, add and test a provider, add
an application, deploy. A field that is filled in already does not count."""

BROWSERS = pytest.mark.parametrize("java_script", [True, False], ids=["script", "no-script"])


def revealed(value) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class Person:
    """Uses a page, and counts what that takes: clicks, and fields to fill in."""

    def __init__(self, page):
        self.page = page
        self.clicks = self.fields = 0

    def click(self, role, name):
        self.clicks += 1
        self.page.get_by_role(role, name=name).first.click()

    def fill(self, locator, text):
        self.fields += 1
        locator.fill(text)


def follow_link(person, site):
    """Create the first administrator by the link that the server prints."""
    person.page.goto(site.link)
    person.fill(person.page.get_by_label("Name"), "ada")
    for each in person.page.locator("input[type=password]").all():
        person.fill(each, PASSWORD)
    person.click("button", "Create the administrator and sign in")
    person.page.get_by_role("heading", name="No applications yet").wait_for()


def add_provider(person, connection, label):
    """Add a provider of the sandbox, from the first page, by the address of a repository."""
    page = person.page
    person.click("link", "Add a provider")
    person.fill(
        page.get_by_role("textbox", name="Address"),
        f"https://bitbucket.org/{connection.owner}/shop",
    )
    person.click("button", "Continue")
    person.click("link", label)
    settings = {field: revealed(value) for field, value in connection.settings.items()}
    page.locator("summary", has_text="More settings").click()  # nobody else has a sandbox
    for field in ("api_url", "git_url"):
        page.locator(f"[name='field.{field}']").fill(settings.pop(field))
    assert page.get_by_label("Name", exact=True).input_value() == "bitbucket"
    for field in settings.keys() - {"mode", "workspace"}:
        person.fill(page.locator(f"[name='field.{field}']"), settings[field])
    assert page.locator("[name='field.workspace']").input_value() == connection.owner
    person.click("button", "Add the provider")
    page.get_by_text("The provider is added").wait_for()
    person.click("button", "Test connection")
    page.get_by_text("accessible").first.wait_for()


def pick_and_create(person, repository, target, *, java_script):
    """Create an application: its repository is picked, all else is suggested."""
    page = person.page
    person.click("link", "Add an application")
    if java_script:
        person.fill(page.get_by_role("combobox", name="Repository"), "sho")
        person.click("option", repository)
    else:
        person.click("link", repository)
    until(page, lambda: page.locator("#target").input_value() == str(target))
    values = {name: page.locator(f"#{name}").input_value() for name in ("ref", "name", "target")}
    assert values == {"ref": "main", "name": "shop", "target": str(target)}
    page.get_by_text("Steps, health check and automatic deployment").click()
    page.get_by_label("Deploy automatically").uncheck()  # polls would deploy as well
    person.click("button", "Create application")
    page.get_by_text("The application is created").wait_for()


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
    if not java_script:
        page.reload()
    page.locator(f"a[href='/deployments/{newest(page)}']").first.click()
    page.get_by_role("heading", name="Log").wait_for()
    until(page, lambda: is_healthy(page, java_script=java_script))
    page.locator(".log").get_by_text("activating").first.wait_for()
    assert (target / "current" / file).exists()


def newest(page):
    """The number of the newest deployment that a page links to, as the server has it now."""
    found = re.findall(r'href="/deployments/(\d+)"', page.request.get(page.url).text())
    return max(map(int, found), default=0)


def is_healthy(page, *, java_script):
    """Whether the page of a deployment shows that it succeeded."""
    if not java_script:
        # To ask the server takes less than to load a page again and again.
        if "Healthy" not in page.request.get(page.url).text():
            return False
        page.reload()
    return shows(page, "Healthy")


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
@pytest.mark.parametrize(
    ("mode", "label"), [("app-password", "App password"), ("api-token", "API token")]
)
def test_a_user_adds_a_provider_deploys_and_rolls_back(site, visit, mode, label, java_script):
    connection, target = site.connection(mode), site.directory / "shop"
    site.sandbox.publish(connection.owner, "shop", "main", {"OLD": b"1"}, "Begin")
    page = visit(site, java_script=java_script)
    person = Person(page)
    follow_link(person, site)
    add_provider(person, connection, label)
    pick_and_create(person, f"{connection.owner}/shop", target, java_script=java_script)
    person.clicks += 1  # that of the next line
    deploy(page, target, "OLD", "shop", java_script=java_script)
    assert person.clicks <= CLICKS_MOST, person.clicks
    assert person.fields <= FIELDS_MOST, person.fields
    site.sandbox.publish(connection.owner, "shop", "main", {"NEW": b"2"}, "Change")
    deploy(page, target, "NEW", "shop", java_script=java_script)
    page.goto("/applications/shop")
    page.get_by_text("Roll back to this").first.click()
    page.get_by_role("heading", level=1).get_by_text("Roll back").wait_for()
    page.locator("main form button").first.click()
    page.get_by_text("The rollback has started.").wait_for()
    until(page, lambda: not (target / "current" / "NEW").exists())
    assert (target / "current" / "OLD").exists()
