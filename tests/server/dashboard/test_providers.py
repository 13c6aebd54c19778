"""Providers in the dashboard, without JavaScript: each kind has a form with its own fields."""

from __future__ import annotations

import logging
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from deploycore_bitbucket.sandbox import Sandbox as BitbucketSandbox
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github.sandbox import GitHubSandbox
from pydantic import SecretStr
from starlette.datastructures import URL

from deploycore.errors import HostKeyRefused
from deploycore.server.dashboard.pages.provider_sign_in import redirect_uri_of
from deploycore.server.dashboard.provider_form import restored_key
from deploycore.server.dashboard.table import PAGES
from deploycore.server.dashboard.words import linked
from deploycore.server.rest.table import OPERATIONS
from deploycore.ssh.making import make_key_pair
from tests.distributions import GOOD_PROVIDER
from tests.server.dashboard.pages import forms_of

HARBOUR = Path(__file__).parents[3] / "examples" / "deploycore-harbour"
KINDS = ["bitbucket", "bitbucket-datacenter", "git", "gitea", "github", "gitlab"]
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def client(serving, secret):
    """A client that sees the server at an address of this machine, as OAuth clients expect."""
    made = serving()
    made.base_url = "http://127.0.0.1:8000"
    return made


@pytest.fixture
def pages(browser):
    """All that the server has answered."""
    seen: list[str] = []

    def note(response):
        response.read()
        seen.append(response.text + str(response.headers))

    browser.client.event_hooks = {"response": [note]}
    return seen


@contextmanager
def running_sandbox(kind):
    [point] = {
        each.value: each for each in entry_points(group="deploycore.sandboxes", name=kind)
    }.values()
    sandbox = point.load().demo()
    try:
        yield sandbox
    finally:
        sandbox.stop()


def clear(value):
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def fill(browser, path, values, *, action=None, **more):
    """Fill in the form of a page as a browser does, and send it."""
    page = browser.get(path)
    assert page.status_code == 200, page.text
    form = forms_of(page.text)[action or urlsplit(path).path]
    return send(browser, form, values, **more)


def send(browser, form, values, **more):
    filled = dict(form.values)
    for name, value in values.items():
        key = f"field.{name}"
        assert key in form.types, f"the form has no input for {name}"
        is_secret = isinstance(value, SecretStr)
        assert (form.types[key] == "password") == is_secret
        # Browsers remove line breaks from an input of one line (HTML, 4.10.5.1.6).
        filled[key] = re.sub(r"[\r\n]", "", clear(value)) if is_secret else value
    return browser.client.post(form.action, data={**filled, **more})


def text_of(answer):
    """The text of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def add_path(kind, settings):
    mode = settings.get("mode", "")
    return f"/providers/-/new?kind={kind}&mode={mode}" if mode else f"/providers/-/new?kind={kind}"


def without_mode(settings):
    return {name: each for name, each in settings.items() if name != "mode"}


def visit_all(browser, name):
    """Open all that is about a provider, so that ``pages`` has it."""
    for route in (*PAGES, *OPERATIONS):
        if route.method == "GET" and "{provider}" in route.path and "authorize" not in route.path:
            answer = browser.get(route.path.replace("{provider}", name))
            # Some lists are of hooks that a mode may lack, or need a query.
            assert answer.status_code == 200 or route.path.startswith("/api"), route.path


@pytest.mark.parametrize("kind", KINDS)
def test_each_mode_of_each_kind_has_a_working_form(browser, pages, caplog, kind):
    caplog.set_level(logging.DEBUG)
    with running_sandbox(kind) as sandbox:
        for number, connection in enumerate(sandbox.connections):
            settings, name = connection.settings, f"p{number}"
            added = fill(browser, add_path(kind, settings), without_mode(settings), name=name)
            assert added.url.path == f"/providers/{name}", text_of(added)
            assert "The provider is added." in added.text
            tested = text_of(browser.send(f"/providers/{name}/test"))
            assert "Credentials Valid" in tested
            assert re.search(r"Repositories \d+ accessible", tested), tested
            visit_all(browser, name)
            for secret in (each for each in settings.values() if isinstance(each, SecretStr)):
                assert clear(secret) not in "".join(pages) + caplog.text
        listed = text_of(browser.get("/providers"))
        assert urlsplit(sandbox.url).netloc in listed


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_the_key_mode_compares_the_host_key(browser, pages, kind):
    asyncssh = pytest.importorskip("asyncssh")
    from deploycore.testing.git_over_ssh import GitOverSsh

    private, public = make_key_pair("ed25519")
    with running_sandbox(kind) as sandbox, GitOverSsh(sandbox) as server:
        repository = f"{sandbox.OWNER}/shop"
        sandbox.deploy_keys.add(repository, public, "deploycore")
        settings = {"mode": "deploy-key", "ssh_url": server.url, "repositories": repository}
        if kind == "git":
            settings = {"mode": "ssh", "url": server.url, "repositories": repository}
        elif kind not in ("bitbucket", "github"):
            settings["url"] = sandbox.url
        values = {**without_mode(settings), "ssh_private_key": private}
        refused = fill(browser, add_path(kind, settings), values, name="keys")
        known = asyncssh.import_public_key(server.host_key.split(" ", 1)[1])
        assert refused.status_code == 422, text_of(refused)
        assert f"<code>ssh-ed25519 {known.get_fingerprint()}</code>" in refused.text
        form = forms_of(refused.text)["/providers/-/new"]
        assert form.boxes["trusted_key"] == server.host_key
        again = {"ssh_private_key": private}
        added = send(browser, form, again, trusted_key=server.host_key)
        assert added.url.path == "/providers/keys", text_of(added)
        tested = text_of(browser.send("/providers/keys/test"))
        assert "Repositories 1 accessible" in tested, tested
        visit_all(browser, "keys")
        for line in clear(private).splitlines()[2:-1]:
            assert line not in "".join(pages)


def test_a_third_party_plugin_has_a_form(browser, pages, tmp_path, monkeypatch):
    """The provider of the tutorial: nothing of it is about forms."""
    monkeypatch.syspath_prepend(str(HARBOUR))
    metadata = tmp_path / "installed" / "deploycore_harbour-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deploycore-harbour\nVersion: 1\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[deploycore.providers]\nharbour = deploycore_harbour:HarbourProvider\n"
    )
    monkeypatch.syspath_prepend(str(metadata.parent))
    from deploycore_harbour.sandbox import HarbourSandbox

    sandbox = HarbourSandbox.demo()
    try:
        [connection] = sandbox.connections
        assert "harbour" in browser.get("/providers/-/new").text
        form = forms_of(browser.get("/providers/-/new?kind=harbour").text)["/providers/-/new"]
        assert form.types["field.key"] == "password"
        assert "Access key with the permission code:read" in form.described["field.key"]
        assert "https://harbour.example" in form.described["field.url"]
        empty = send(browser, form, {}, name="port")
        refused = forms_of(empty.text)["/providers/-/new"]
        assert empty.status_code == 422
        assert "Is missing" in refused.described["field.team"]
        added = send(browser, refused, connection.settings)  # the name is still typed in
        assert added.url.path == "/providers/port"
        assert "Credentials Valid" in text_of(browser.send("/providers/port/test"))
        assert clear(connection.settings["key"]) not in "".join(pages)
    finally:
        sandbox.stop()
        for name in [each for each in sys.modules if each.startswith("deploycore_harbour")]:
            del sys.modules[name]


def test_providers_are_listed_and_link_to_their_pages(browser):
    assert 'href="/providers/work"' in browser.get("/providers").text
    assert "acme" in browser.get("/providers/work").text


def test_a_pasted_address_opens_the_form_with_prefilled_fields(browser):
    chosen = browser.send("/providers/-/new", url="https://bitbucket.org/acme/shop.git")
    assert chosen.url.path == "/providers/-/new"
    assert "api-token" in chosen.text
    [link] = re.findall(r'href="(/providers/-/new\?[^"]*mode=api-token[^"]*)"', chosen.text)
    form = forms_of(browser.get(unescape(link)).text)["/providers/-/new"]
    assert form.values["field.workspace"] == "acme"


def test_an_address_with_a_password_is_rejected_and_not_echoed(browser, pages):
    answer = browser.send("/providers/-/new", url="https://ada:hunter2@git.example.com/a/b")
    assert answer.status_code == 422
    assert "password" in forms_of(answer.text)["/providers/-/new"].described["url"]
    assert "hunter2" not in "".join(pages)


def test_an_unrecognized_address_shows_the_list_of_kinds(browser):
    answer = browser.send("/providers/-/new", url="https://git.example.com/a/b")
    assert "No installed plugin recognizes https://git.example.com/a/b" in text_of(answer)
    link = re.search(r'href="([^"]+)">Continue with Plain git<', answer.text)
    way = browser.get(unescape(link[1])).text
    basic = re.search(r'href="([^"]+mode=basic[^"]*)">Username and password<', way)
    form = forms_of(browser.get(unescape(basic[1])).text)["/providers/-/new"]
    assert form.values["field.url"] == "https://git.example.com"
    assert form.values["field.repositories"] == "a/b"
    assert forms_of(answer.text)["/providers/-/new"].values["url"] == "https://git.example.com/a/b"


def test_an_address_over_ssh_offers_the_form_for_an_ssh_key(browser):
    answer = browser.send("/providers/-/new", url="deploy@git.example.com:srv/git/shop.git")
    link = re.search(r'href="([^"]+)">Continue with Plain git<', answer.text)
    form = forms_of(browser.get(unescape(link[1])).text)["/providers/-/new"]
    assert form.values["mode"] == "ssh"
    assert form.values["field.url"] == "ssh://git@git.example.com/srv"
    assert form.values["field.repositories"] == "git/shop.git"


def test_kinds_and_modes_are_shown_in_words(browser):
    page = text_of(browser.get("/providers/-/new"))
    assert "Any other git server that you can clone from" in page
    ways = text_of(browser.get("/providers/-/new?kind=bitbucket"))
    assert "App password bitbucket.org has not accepted app passwords since" in ways
    assert "app-password" not in ways


def test_errors_are_shown_at_their_fields_and_secrets_are_not_echoed(browser, pages, caplog):
    caplog.set_level(logging.DEBUG)
    values = {
        "email": "not-an-address",
        "token": SecretStr("ATBBhunter2"),
        "workspace": "a b",
        "connect_timeout": "hunter2x",
    }
    answer = fill(browser, "/providers/-/new?kind=bitbucket&mode=api-token", values, name="no good")
    form = forms_of(answer.text)["/providers/-/new"]
    assert answer.status_code == 422
    assert "Should have up to 63 letters" in form.described["name"]
    assert "email address" in form.described["field.email"]
    assert "app password" in form.described["field.token"]
    assert "workspace slug" in form.described["field.workspace"]
    assert form.values["field.email"] == "not-an-address"
    assert form.values["field.token"] == ""
    assert "Should be a number" in form.described["field.connect_timeout"]
    assert answer.text.count('aria-invalid="true"') == 5
    assert "hunter2" not in "".join(pages).replace("hunter2x", "") + caplog.text


def test_an_invalid_reference_is_not_echoed(browser, pages):
    more = {"reference.token": "hunter2", "name": "team"}
    answer = fill(browser, "/providers/-/new?kind=acme", {}, **more)
    assert "not a reference" in forms_of(answer.text)["/providers/-/new"].described["field.token"]
    assert "hunter2" not in "".join(pages)


def test_a_reference_is_stored_and_shown(browser, monkeypatch):
    monkeypatch.setenv("ACME_TOKEN", "hunter2")
    more = {"reference.token": "env:ACME_TOKEN", "name": "team"}
    added = fill(browser, "/providers/-/new?kind=acme", {}, **more)
    assert "environment variable ACME_TOKEN" in added.text


def test_rejected_credentials_are_stored_only_on_request(browser, installation):
    sandbox = BitbucketSandbox.demo()
    try:
        settings = next(e for e in sandbox.connections if e.title == "API token").settings
        wrong = {**without_mode(settings), "token": SecretStr("ATATTwrong")}
        refused = fill(browser, add_path("bitbucket", settings), wrong, name="team")
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
        form = forms_of(refused.text)["/providers/-/new"]
        skipped = send(browser, form, {"token": SecretStr("ATATTwrong")}, skip_check="1")
        assert skipped.url.path == "/providers/team"
        tested = browser.send("/providers/team/test")
        assert tested.status_code == 422
        assert 'role="alert"' in tested.text
    finally:
        sandbox.stop()
    assert installation.store.get_provider("team").settings["workspace"] == "acme"


def test_a_provider_is_edited_by_its_form(browser, installation):
    form = forms_of(browser.get("/providers/work/edit").text)["/providers/work/edit"]
    changed = send(browser, form, {"read_timeout": "20", "proxy": SecretStr("none")})
    assert "The changes are saved." in changed.text
    record = installation.store.get_provider("work")
    assert record.settings == {"read_timeout": "20", "proxy": "none"}
    assert (
        installation.secrets.reveal(record.secrets["token"]).get_secret_value() == "hunter2-of-acme"
    )
    stale = send(browser, form, {"read_timeout": "30"})
    assert stale.status_code == 409
    unset = fill(browser, "/providers/work/edit", {"read_timeout": ""}, **{"unset.proxy": "1"})
    assert "The changes are saved." in unset.text
    assert installation.store.get_provider("work").settings == {}
    same = fill(browser, "/providers/work/edit", {})
    assert "Nothing was changed." in same.text


def test_a_form_without_a_revision_is_still_stored(browser):
    for wrong in ("", "\u00b2", "x", "9" * 30):
        answer = browser.send("/providers/work/edit", generation=wrong)
        assert answer.status_code == 200


def test_the_mode_of_a_provider_can_be_changed(browser, installation):
    with running_sandbox("bitbucket") as sandbox:
        by_title = {each.title: each.settings for each in sandbox.connections}
        password, token = by_title["App password"], by_title["API token"]
        fill(browser, add_path("bitbucket", password), without_mode(password), name="team")
        path = "/providers/team/edit?mode=api-token"
        changed = fill(browser, path, without_mode(token))
        assert "The changes are saved." in changed.text, text_of(changed)
    record = installation.store.get_provider("team")
    assert record.settings["mode"] == "api-token"
    assert [*record.secrets] == ["token"]


def test_a_form_for_an_unsupported_mode_is_rejected(browser):
    answer = browser.send("/providers/-/new", kind="bitbucket", mode="<b>")
    assert answer.status_code == 422
    assert "Choose the mode again." in answer.text


def test_a_form_can_be_reopened_by_its_address(browser):
    for path, shown in (
        ("/providers/work/test", "/providers/work"),
        ("/providers/work/authorize/finish", "/providers/work/authorize"),
    ):
        assert browser.get(path).url.path == shown


def test_the_redirect_address_is_shown_before_the_client_is_registered(browser):
    told = "enter http://127.0.0.1:8000/callback"
    assert told in text_of(browser.get("/providers/-/new?kind=gitea&mode=oauth"))
    assert told not in text_of(browser.get("/providers/-/new?kind=gitea&mode=token"))


def test_a_secret_is_rotated(browser, pages, installation):
    before = installation.store.get_provider("work")
    new = {"token": SecretStr("hunter3-of-acme")}
    done = fill(browser, "/providers/work/rotate", new, keep_old="3600")
    assert "The secret is replaced." in done.text
    after = installation.store.get_provider("work")
    assert after.former_secrets == before.secrets
    assert (
        installation.secrets.reveal(after.secrets["token"]).get_secret_value() == "hunter3-of-acme"
    )
    assert "hunter" not in "".join(pages)
    nothing = fill(browser, "/providers/work/rotate", {})
    form = forms_of(nothing.text)["/providers/work/rotate"]
    assert (nothing.status_code, "Enter the new value" in form.described["field.token"]) == (
        422,
        True,
    )


def test_a_provider_is_removed_by_typing_its_name(browser, installation):
    used = text_of(browser.get("/providers/work/remove"))
    assert "cannot be removed: 1 application uses it" in used
    assert browser.send("/providers/work/remove", name="work").status_code == 409
    installation.add_provider("spare", "acme", {}, {"token": SecretStr("x")})
    wrong = browser.send("/providers/spare/remove", name="spar")
    assert wrong.status_code == 422
    assert "Type the name" in forms_of(wrong.text)["/providers/spare/remove"].described["name"]
    removed = browser.send("/providers/spare/remove", name="spare")
    assert "The provider is removed." in removed.text
    assert browser.get("/providers/spare").status_code == 404


def test_an_unknown_ssh_host_key_is_trusted_after_comparison(browser, installation, monkeypatch):
    line = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
    told = {"host": "git.example.com", "algorithm": "ssh-ed25519", "fingerprint": "SHA256:abc"}
    refusals = [HostKeyRefused("Unknown key.", line=line, known=[], revoked=False, **told)]

    def verify(provider, settings):
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr("deploycore.server.rest.provider_input.verify_ssh", verify)
    values = {"token": SecretStr("x")}
    refused = fill(browser, "/providers/-/new?kind=acme", values, name="team")
    assert refused.status_code == 422
    assert "ssh-ed25519 SHA256:abc" in refused.text
    form = forms_of(refused.text)["/providers/-/new"]
    assert "trusted_key" not in form.values
    added = send(browser, form, values, trusted_key=form.boxes["trusted_key"])
    assert added.url.path == "/providers/team", text_of(added)
    assert installation.store.get_provider("team").settings == {"ssh_host_keys": line}


def test_each_input_has_a_label_and_each_id_is_unique(browser, installation):
    installation.add_provider("spare", "acme", {}, {"token": SecretStr("x")})
    for path in (
        "/providers",
        "/providers/-/new",
        "/providers/-/new?kind=bitbucket",
        "/providers/-/new?kind=gitlab&mode=deploy-token",
        "/providers/spare",
        "/providers/spare/edit",
        "/providers/spare/rotate",
        "/providers/spare/remove",
        "/providers/spare/authorize",
    ):
        text = browser.get(path).text
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert len(ids) == len(set(ids)), path
        named = {
            target
            for each in re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', text)
            for target in each.split()
        }
        labels = set(re.findall(r'<label for="([^"]+)"', text))
        inputs = [
            each
            for each in re.findall(r"<(?:input|select|textarea)\b[^>]*>", text)
            if 'type="hidden"' not in each
        ]
        assert named | labels <= set(ids), path
        assert {re.search(r'id="([^"]+)"', each)[1] for each in inputs} == labels, path
        assert text.count("<h1") == 1, path


def begin(browser, way):
    return browser.send("/providers/team/authorize", way=way)


@pytest.fixture
def gitea(browser):
    """A sandbox, and a provider ``team`` for which a person has to sign in."""
    with GiteaSandbox() as sandbox:
        sandbox.oauth.account = sandbox.OWNER
        settings = sandbox.add_sign_in()
        added = fill(browser, add_path("gitea", settings), without_mode(settings), name="team")
        assert added.url.path == "/providers/team/authorize"
        yield sandbox


def test_a_user_signs_in_and_returns(browser, gitea, pages):
    begun = begin(browser, "redirect")
    [address] = re.findall(r'href="(http://127[^"]*/authorize[^"]*)"', begun.text)
    back = requests.get(unescape(address), allow_redirects=False, timeout=10).headers["Location"]
    assert back.startswith("http://127.0.0.1:8000/callback?")
    done = browser.get(back)
    assert done.url == "http://127.0.0.1:8000/providers/team?done=provider-authorized"
    assert "Credentials Valid" in text_of(browser.send("/providers/team/test"))
    again = browser.get(back)
    assert (again.status_code, "has ended" in again.text) == (422, True)
    assert not any(clear(each) in "".join(pages) for each in gitea.oauth.secrets)


@pytest.mark.parametrize(
    ("seen", "public", "expected"),
    [
        ("http://127.0.0.1:8000", None, "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "https://deploy.example.com", "http://127.0.0.1:8000"),
        ("http://deploy.example.com", "https://deploy.example.com", "https://deploy.example.com"),
        ("http://deploy.internal", "https://deploy.example.com", "http://deploy.internal"),
    ],
)
def test_the_redirect_address_uses_the_public_address_of_the_server(seen, public, expected):
    scope = {"deploycore.public_url": public}
    visit = SimpleNamespace(request=SimpleNamespace(url=URL(f"{seen}/providers"), scope=scope))
    assert redirect_uri_of(visit) == f"{expected}/callback"


def test_a_user_pastes_the_redirect_address(browser, gitea):
    begun = begin(browser, "paste")
    [address] = re.findall(r'href="(http://127[^"]*/authorize[^"]*)"', begun.text)
    back = requests.get(unescape(address), allow_redirects=False, timeout=10).headers["Location"]
    form = forms_of(begun.text)["/providers/team/authorize/finish"]
    done = browser.client.post(form.action, data={**form.values, "answer": back})
    assert "The provider is authorized." in done.text


def test_a_denied_sign_in_is_reported(browser, gitea):
    gitea.oauth.account = None
    begun = begin(browser, "redirect")
    [address] = re.findall(r'href="(http://127[^"]*/authorize[^"]*)"', begun.text)
    back = requests.get(unescape(address), allow_redirects=False, timeout=10).headers["Location"]
    answer = browser.get(back)
    assert answer.status_code == 422
    assert "was denied" in answer.text
    assert "Sign in" in text_of(answer)


def test_a_user_enters_a_device_code(browser):
    with GitHubSandbox() as sandbox:
        sandbox.oauth.rules = replace(sandbox.oauth.rules, interval=0)
        settings = sandbox.add_sign_in()
        added = fill(browser, add_path("github", settings), without_mode(settings), name="hub")
        begun = browser.send(added.url.path)
        [code] = re.findall(r"<code>([A-Z]{4}-[A-Z]{4})</code>", begun.text)
        form = forms_of(begun.text)["/providers/hub/authorize/finish"]
        early = browser.client.post(form.action, data=form.values)
        assert "not confirmed the code yet" in early.text
        sandbox.oauth.enter(code, sandbox.OWNER)
        ends_at = time.monotonic() + 60
        while (
            done := browser.client.post(form.action, data=form.values)
        ).url.path != "/providers/hub":
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        assert "The provider is authorized." in done.text


def test_texts_from_plugins_and_hosts_are_escaped(browser, pages, install_distribution):
    source = (
        GOOD_PROVIDER.replace(
            "token: SecretStr", f"token: SecretStr = Field(description={HOSTILE!r})"
        )
        .replace("from pydantic import", "from pydantic import Field,")
        .replace('username="ada")\n\n', f"username={HOSTILE!r}, scopes=({HOSTILE!r},))\n\n")
    )
    install_distribution("deploycore-evil", "evil", source)
    install_distribution("deploycore-worse", "worse", f"raise RuntimeError({HOSTILE!r})")
    browser.get("/providers/-/new")
    values = {"token": SecretStr("x"), "ssh_host_keys": HOSTILE}
    refused = fill(browser, "/providers/-/new?kind=evil", values, name=HOSTILE)
    assert refused.status_code == 422
    added = fill(browser, "/providers/-/new?kind=evil", {"token": SecretStr("x")}, name="evil")
    assert added.url.path == "/providers/evil"
    tested = browser.send("/providers/evil/test")
    assert HOSTILE in unescape(tested.text)
    for path in ("/providers", "/providers/evil/edit", "/providers/evil/rotate", "/providers/none"):
        browser.get(path)
    browser.get("/providers/-/new", params={"kind": HOSTILE, "mode": HOSTILE, "url": HOSTILE})
    browser.get("/callback", params={"state": HOSTILE})
    assert browser.get("/providers/-/new?kind=worse").status_code == 502
    assert HOSTILE in unescape("".join(pages))
    assert not re.search(r"<script>|<img", "".join(pages))


def test_pages_require_the_specified_roles():
    roles = {f"{e.method} {e.path}": e.role for e in PAGES if e.path.startswith("/providers")}
    assert roles == {
        "GET /providers": "read",
        "GET /providers/-/new": "admin",
        "POST /providers/-/new": "admin",
        "GET /providers/{provider}": "read",
        "GET /providers/{provider}/edit": "admin",
        "POST /providers/{provider}/edit": "admin",
        "GET /providers/{provider}/rotate": "admin",
        "POST /providers/{provider}/rotate": "admin",
        "GET /providers/{provider}/test": "read",
        "POST /providers/{provider}/test": "deploy",
        "GET /providers/{provider}/remove": "admin",
        "POST /providers/{provider}/remove": "admin",
        "GET /providers/{provider}/authorize": "admin",
        "POST /providers/{provider}/authorize": "admin",
        "GET /providers/{provider}/authorize/finish": "admin",
        "POST /providers/{provider}/authorize/finish": "admin",
        "GET /providers/{provider}/deploy-keys": "read",
        "POST /providers/{provider}/deploy-keys": "admin",
    }
    assert {e.role for e in PAGES if e.path == "/callback"} == {"admin"}


@pytest.mark.parametrize("between", ["", " ", "\r\n"])
def test_line_breaks_of_a_private_key_are_restored(between):
    key = ed25519.Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()
    restored = restored_key(text.strip().replace("\n", between))
    read = serialization.load_ssh_private_key(restored.encode(), None)
    assert read.public_key() == key.public_key()


@pytest.mark.parametrize(
    "text", ["hunter2", "-----BEGIN X-----", "a b", "-----BEGIN X-----é-----END X-----"]
)
def test_line_breaks_of_other_secrets_are_not_changed(text):
    assert restored_key(text) == text


def test_fields_with_defaults_are_closed_until_one_is_set(browser, installation):
    form = browser.get("/providers/-/new?kind=bitbucket&mode=api-token").text
    before, _, after = form.partition("<details>\n<summary>More settings</summary>")
    assert 'name="field.email"' in before
    assert 'name="field.workspace"' in before
    assert 'name="field.api_url"' in after
    installation.add_provider(
        "own",
        "bitbucket",
        {
            "mode": "api-token",
            "email": "a@b.example",
            "workspace": "acme",
            "git_url": "https://x.y",
        },
        {"token": SecretStr("x" * 40)},
    )
    assert (
        "<details open>\n<summary>More settings</summary>"
        in browser.get("/providers/own/edit").text
    )


def test_the_kind_is_the_suggested_name_of_its_first_provider(browser, installation):
    def suggested():
        form = forms_of(browser.get("/providers/-/new?kind=github&mode=token").text)
        return form["/providers/-/new"].values["name"]

    assert suggested() == "github"
    installation.add_provider("github", "github", {"mode": "token"}, {"token": SecretStr("x" * 40)})
    assert suggested() == ""


def test_addresses_in_the_help_of_a_field_are_links_but_examples_are_not():
    def links(text):
        return re.findall(r'href="([^"]*)"', linked(text))

    assert links("made at https://host.test/tokens.") == ["https://host.test/tokens"]
    assert links("host (default: https://host.test)") == []
    assert links("such as https://git.example.com/x or https://acme.example") == []
    assert links('javascript:alert(1) http://host.test https://"onclick=x') == []
    assert linked("<b>&") == "&lt;b&gt;&amp;"
    assert ' target="_blank" rel="noopener noreferrer"' in linked("https://host.test/")


def test_a_way_to_sign_in_with_a_key_asks_for_the_key(browser):
    def asked(mode):
        page = browser.get(f"/providers/-/new?kind=bitbucket&mode={mode}").text
        label = re.search(r'<label for="field-ssh_private_key">(.*?)</label>', page)[1]
        help_text = forms_of(page)["/providers/-/new"].described["field.ssh_private_key"]
        return "(optional)" in label, "over HTTPS" in help_text

    assert asked("deploy-key") == (False, False)
    assert asked("api-token") == (True, True)
