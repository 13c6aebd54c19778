"""Connect hosts that need more than a pasted token, and hosts of third-party plugins.

All of these tests share a server. Each test adds its own provider.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from deploycore_bitbucket.sandbox import Sandbox as BitbucketSandbox
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github.sandbox import GitHubSandbox
from deploycore_gitlab.sandbox import GitLabSandbox

from deploycore.ssh.making import make_key_pair
from tests.browser.conftest import Site, sign_in
from tests.browser.test_journeys import BROWSERS, create_application, deploy, revealed
from tests.distributions import GOOD_PROVIDER

PLUGIN = GOOD_PROVIDER.replace(
    "    token: SecretStr\n",
    """\
    team: str = Field(description="Team whose repositories are listed.", pattern="^[a-z]+$")
    token: SecretStr = Field(description="Access token of the team.")
""",
).replace("from pydantic import SecretStr", "from pydantic import Field, SecretStr")
HOSTS = {
    "bitbucket": (lambda: BitbucketSandbox().with_demo_content(), "ada"),
    "gitea": (GiteaSandbox, GiteaSandbox.OWNER),
    "github": (GitHubSandbox, GitHubSandbox.OWNER),
    "gitlab": (GitLabSandbox, GitLabSandbox.OWNER),
}
"""Makes the sandbox of each kind, and who signs in there."""


@pytest.fixture(scope="module")
def hosts_site(tmp_path_factory, empty_home):
    directory = tmp_path_factory.mktemp("site")
    site = Site(directory, shutil.copytree(empty_home, directory / "home"), None)
    site.install("deploycore-harbor", "harbor", PLUGIN)
    site.start()
    site.link = site.sign_in_link()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def cookies(hosts_site, chromium):
    context = chromium.new_context(base_url=hosts_site.url)
    sign_in(context.new_page(), hosts_site)
    yield context.cookies()
    context.close()


@pytest.fixture
def signed_in(hosts_site, cookies, visit):
    """Opens a page of a browser that is signed in: ``signed_in(java_script=False)``."""

    def open_page(**options):
        page = visit(hosts_site, **options)
        page.context.add_cookies(cookies)
        return page

    return open_page


def field(page, name):
    return page.locator(f"[name='{name}'], [name='field.{name}']").first


def add(page, kind, name, settings):
    """Add a provider by the form of its way to sign in."""
    settings = {field: revealed(value) for field, value in settings.items()}
    page.goto(f"/providers/-/new?kind={kind}&mode={settings.pop('mode')}")
    page.locator("[name=name]").fill(name)
    for each in page.locator("details:not([open]) > summary", has_text="More settings").all():
        each.click()
    for key, value in settings.items():
        field(page, key).fill(value)
    page.locator("main button.primary").click()


def register(sandbox, settings, redirect_uri):
    """Register the redirect address that the form tells, as a person does at the host."""
    clients = sandbox.oauth._known.clients
    client = clients[settings["client_id"]]
    clients[client.client_id] = replace(client, redirect_uri=redirect_uri)


def enter_code(page, sandbox, *, java_script):
    """Enter at the host the code that the page shows, and let the page go on."""
    page.locator("main form button").first.click()
    link = page.locator(f"a[href^='{sandbox.url}']")
    assert link.get_attribute("target") == "_blank"
    finish = page.get_by_role("button", name="I have entered the code")
    if not java_script:
        finish.click()
        page.get_by_text("The git host has not confirmed the code yet.").wait_for()
    sandbox.oauth.enter(page.locator("strong code").inner_text(), sandbox.OWNER)
    while not java_script and finish.is_visible():
        with page.expect_navigation():
            finish.click()  # the host may not be asked as often as a test can click


@BROWSERS
@pytest.mark.parametrize("kind", HOSTS)
def test_a_user_signs_in_at_the_host_and_returns(hosts_site, signed_in, kind, java_script):
    name = f"{kind}-{java_script}"
    make, account = HOSTS[kind]
    with make() as sandbox:
        sandbox.oauth.account = account
        sandbox.oauth.rules = replace(sandbox.oauth.rules, interval=0)
        settings = sandbox.add_sign_in()
        page = signed_in(java_script=java_script, may_ask=[sandbox.url])
        add(page, kind, name, settings)
        page.wait_for_url(f"**/providers/{name}/authorize**")
        if kind == "github":
            enter_code(page, sandbox, java_script=java_script)
        else:
            told = f"{hosts_site.url}/callback"
            page.get_by_text(told, exact=True).wait_for()
            register(sandbox, settings, told)
            page.locator("main form button").first.click()
            page.locator(f"a[href^='{sandbox.url}']").click()
        page.get_by_text("The provider is authorized.").wait_for()
        page.get_by_role("button", name="Test").first.click()
        page.get_by_text("accessible").first.wait_for()


@BROWSERS
def test_a_deploy_key_clones_from_a_server_with_a_confirmed_host_key(
    hosts_site, signed_in, java_script
):
    asyncssh = pytest.importorskip("asyncssh")
    from deploycore.testing.git_over_ssh import GitOverSsh

    name, target = f"keys-{java_script}", hosts_site.directory / f"shop-{java_script}"
    private, public = make_key_pair("ed25519")
    with GitLabSandbox() as sandbox, GitOverSsh(sandbox) as server:
        repository = f"{sandbox.OWNER}/shop"
        sandbox.publish(sandbox.OWNER, "shop", "main", {"OLD": b"1"}, "Begin")
        sandbox.deploy_keys.add(repository, public, "deploycore")
        page = signed_in(java_script=java_script)
        settings = {
            "mode": "deploy-key",
            "repositories": repository,
            "url": sandbox.url,
            "ssh_url": server.url,
            "ssh_private_key": private,
        }
        add(page, "gitlab", name, settings)
        key = asyncssh.import_public_key(server.host_key.split(" ", 1)[1])
        page.get_by_text(f"ssh-ed25519 {key.get_fingerprint()}", exact=True).wait_for()
        assert revealed(private).splitlines()[2] not in page.content()
        page.get_by_label("The fingerprints are the same. Trust this key.").check()
        field(page, "ssh_private_key").fill(revealed(private))
        page.locator("main button.primary").click()
        page.get_by_text("The provider is added").wait_for()
        page.get_by_role("button", name="Test").first.click()
        page.get_by_text("1 accessible").wait_for()
        create_application(page, name, target.name, repository, target, java_script=java_script)
        deploy(page, target, "OLD", target.name, java_script=java_script)
        assert any("git-upload-pack" in each for each in server.commands)


@BROWSERS
def test_a_third_party_plugin_has_a_form(signed_in, java_script):
    page = signed_in(java_script=java_script)
    page.goto("/providers/-/new?kind=harbor")
    page.get_by_text("Team whose repositories are listed.").wait_for()
    assert field(page, "token").get_attribute("type") == "password"
    page.locator("[name=name]").fill(f"harbor-{java_script}")
    field(page, "team").fill("NOT LOWER")
    field(page, "token").fill("t0ken")
    page.locator("main button.primary").click()
    assert field(page, "team").get_attribute("aria-invalid") == "true"
    assert field(page, "token").input_value() == ""
    field(page, "team").fill("harbormasters")
    field(page, "token").fill("t0ken")
    page.locator("main button.primary").click()
    page.get_by_text("The provider is added").wait_for()
