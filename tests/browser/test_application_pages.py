"""Create an application in a browser: the repository and the branch are picked while typing."""

from __future__ import annotations

import pytest

from tests.browser.conftest import sign_in
from tests.browser.test_journeys import until


@pytest.fixture
def ready(site):
    """A site with a provider, whose sandbox has the repository ``website``."""
    site.add_provider()
    return site


def test_a_repository_and_a_branch_are_picked_with_the_keyboard(ready, visit, tmp_path):
    page = visit(ready)
    sign_in(page, ready)
    page.goto("/applications/-/new")
    page.get_by_role("heading", name="Find a repository").wait_for(state="hidden")
    repository = page.get_by_role("combobox", name="Repository")
    repository.press_sequentially("websi")
    option = page.get_by_role("option", name="website")
    option.wait_for()
    assert repository.get_attribute("aria-expanded") == "true"
    repository.press("ArrowDown")
    assert repository.get_attribute("aria-activedescendant") == option.get_attribute("id")
    repository.press("Enter")
    name = f"{ready.connection().owner}/website"
    assert repository.input_value() == name
    assert repository.get_attribute("aria-expanded") == "false"
    ref = page.get_by_role("combobox", name="Branch, tag or commit")
    assert ref.input_value() == "main"
    ref.fill("")
    ref.press("ArrowDown")
    page.get_by_role("option", name="main").first.wait_for()
    ref.press("Escape")
    page.get_by_role("option").first.wait_for(state="hidden")
    ref.fill("main")
    chosen, directory = page.get_by_label("Name", exact=True), page.get_by_label("Directory")
    until(page, lambda: chosen.input_value() == "website")
    assert directory.input_value() == str(ready.directory / "website")
    chosen.fill("journal")
    assert directory.input_value() == str(ready.directory / "journal")
    directory.fill(str(tmp_path / "website"))
    chosen.fill("website")
    assert directory.input_value() == str(tmp_path / "website")  # what was typed stays
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_text("The repository and the branch, tag or commit exist.").wait_for()
    assert page.get_by_role("combobox", name="Repository").input_value() == name
    page.get_by_role("button", name="Create application").click()
    page.wait_for_url("**/applications/website?done=created")


def test_an_application_is_created_without_a_script(ready, visit, tmp_path):
    page = visit(ready, java_script=False)
    sign_in(page, ready)
    page.goto("/applications/-/new")
    page.get_by_role("searchbox", name="Repository").fill("websi")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="website").click()
    assert page.get_by_label("Directory").input_value() == str(ready.directory / "website")
    page.get_by_label("Directory").fill("relative")
    page.get_by_role("button", name="Create application").click()
    page.get_by_text("Should be an absolute path.", exact=True).wait_for()
    page.get_by_label("Directory").fill(str(tmp_path / "website"))
    page.get_by_role("button", name="Create application").click()
    page.wait_for_url("**/applications/website?done=created")
