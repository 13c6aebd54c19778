"""Connect hosts whose way in is not a pasted token, and hosts that a third party's plugin knows."""

from __future__ import annotations

from deploycore_gitea.sandbox import GiteaSandbox

from tests.browser.conftest import sign_in
from tests.browser.test_journeys import BROWSERS, revealed
from tests.distributions import GOOD_PROVIDER

PLUGIN = GOOD_PROVIDER.replace(
    "    token: SecretStr\n",
    """\
    team: str = Field(description="Team whose repositories are listed.", pattern="^[a-z]+$")
    token: SecretStr = Field(description="Access token of the team.")
""",
).replace("from pydantic import SecretStr", "from pydantic import Field, SecretStr")


@BROWSERS
def test_a_person_signs_in_at_the_host_and_comes_back(site, visit, java_script):
    with GiteaSandbox() as sandbox:
        sandbox.oauth.account = sandbox.OWNER
        settings = {name: revealed(value) for name, value in sandbox.add_sign_in().items()}
        page = visit(site, java_script=java_script, may_ask=[sandbox.url])
        sign_in(page, site)
        mode = settings.pop("mode")
        page.goto(f"/providers/-/new?kind=gitea&mode={mode}")
        page.locator("[name=name]").fill("team")
        for field, value in settings.items():
            page.locator(f"[name='{field}'], [name='field.{field}']").first.fill(value)
        page.locator("main button.primary").click()
        page.wait_for_url("**/providers/team/authorize**")
        page.locator("main form button").first.click()
        page.locator(f"a[href^='{sandbox.url}']").click()
        page.get_by_text("The provider is authorized.").wait_for()
        page.get_by_role("button", name="Test").first.click()
        page.get_by_text("accessible").first.wait_for()


@BROWSERS
def test_a_third_partys_plugin_has_its_form(new_site, visit, java_script):
    new_site.install("deploycore-harbor", "harbor", PLUGIN)
    new_site.start("--workers", "0")
    new_site.link = new_site.sign_in_link()
    page = visit(new_site, java_script=java_script)
    sign_in(page, new_site)
    page.goto("/providers/-/new?kind=harbor")
    page.get_by_text("Team whose repositories are listed.").wait_for()
    assert page.locator("[name=token], [name='field.token']").get_attribute("type") == "password"
    page.locator("[name=name]").fill("harbor")
    page.locator("[name=team], [name='field.team']").fill("NOT LOWER")
    page.locator("[name=token], [name='field.token']").fill("t0ken")
    page.locator("main button.primary").click()
    wrong = page.locator("[name=team], [name='field.team']")
    assert wrong.get_attribute("aria-invalid") == "true"
    assert page.locator("[name=token], [name='field.token']").input_value() == ""
    wrong.fill("harbormasters")
    page.locator("[name=token], [name='field.token']").fill("t0ken")
    page.locator("main button.primary").click()
    page.get_by_text("The provider is added").wait_for()
