"""Providers over REST: kinds and their fields, adding, changing, testing, removing, signing in."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from deploycore_bitbucket.sandbox import Sandbox as BitbucketSandbox
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github.sandbox import GitHubSandbox
from pydantic import SecretStr

from deploycore.errors import AuthenticationFailed, Cancelled
from deploycore.http.device import DeviceCode, DevicePolling
from deploycore.server.problems import Refusal
from deploycore.server.sign_ins import SignIns
from deploycore.tokens import DeviceFlow
from tests.distributions import GOOD_PROVIDER

V1 = "/api/v1"
NEW_SECRET = "hunter3-of-acme"


@pytest.fixture
def admin(token):
    return token("admin")


@pytest.fixture
def api(client, admin):
    """Sends a request as an administrator: ``api("GET", "/providers")``."""

    def send(method, path, body=None, *, headers=None):
        return client.request(method, f"{V1}{path}", json=body, headers=headers or admin)

    return send


@pytest.fixture
def bitbucket():
    sandbox = BitbucketSandbox.demo()
    yield sandbox
    sandbox.stop()


def plain(settings):
    return {name: each for name, each in settings.items() if isinstance(each, str)}


def secret_values(settings):
    return {
        name: each.get_secret_value()
        for name, each in settings.items()
        if isinstance(each, SecretStr)
    }


def test_kinds_come_with_the_fields_of_each_mode(api):
    kinds = {each["kind"]: each for each in api("GET", "/provider-kinds").json()["items"]}
    assert {"acme", "bitbucket", "git", "gitea", "github", "gitlab"} <= kinds.keys()
    modes = {each["name"]: each for each in kinds["bitbucket"]["modes"]}
    fields = {each["name"]: each for each in modes["api-token"]["fields"]}
    assert fields["token"]["secret"]
    assert fields["token"]["required"]
    assert fields["git_url"]["default"] == "https://bitbucket.org"
    assert "app_password" not in fields
    assert fields["ssh_host_keys"]["format"] == "lines"
    assert fields["expires_on"] == {**fields["expires_on"], "format": "date", "group": "expiry"}
    assert [each["name"] for each in kinds["acme"]["modes"]] == [""]
    names = {kind: each["display_name"] for kind, each in kinds.items()}
    assert (names["bitbucket-datacenter"], names["github"]) == ("Bitbucket Data Center", "GitHub")
    assert names["acme"] == "Acme"  # made from the kind
    first, *_, deprecated, last = modes  # what is recommended comes first
    assert (first, deprecated, last) == ("api-token", "app-password", "deploy-key")
    assert kinds["bitbucket"] == api("GET", "/provider-kinds/BitBucket").json()


def test_required_fields_of_a_kind_come_first(api):
    [mode] = api("GET", "/provider-kinds/acme").json()["modes"]
    own = [each for each in mode["fields"] if each["group"] == "plugin"]
    assert [each["required"] for each in own] == sorted(
        (each["required"] for each in own), reverse=True
    )


def test_a_kind_that_is_not_installed_is_not_found(api):
    answer = api("GET", "/provider-kinds/nope")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason(api, install_distribution):
    install_distribution("deploycore-broken", "broken", "raise RuntimeError('no luck')")
    broken = api("GET", "/provider-kinds/broken").json()
    assert broken["modes"] == []
    assert "no luck" in broken["problem"]


def test_an_address_determines_the_kind_and_fields(api):
    found = api("POST", "/provider-kinds/recognize", {"url": "https://bitbucket.org/acme/shop?x=1"})
    assert found.json() == {
        "url": "https://bitbucket.org/acme/shop",
        "kinds": [
            {"kind": "bitbucket", "display_name": "Bitbucket", "fields": {"workspace": "acme"}}
        ],
        "others": [],
    }
    unknown = api("POST", "/provider-kinds/recognize", {"url": "https://git.example.com/a/b"})
    assert unknown.json()["kinds"] == []
    [other] = unknown.json()["others"]
    assert other["fields"] == {"url": "https://git.example.com", "repositories": "a/b"}


@pytest.mark.parametrize("url", ["acme", "https://ada:hunter2@git.example.com/a/b", "javascript:1"])
def test_an_invalid_address_is_rejected_and_not_echoed(api, url):
    answer = api("POST", "/provider-kinds/recognize", {"url": url})
    assert answer.status_code == 422
    assert answer.json()["details"]["fields"][0].startswith("url: ")
    assert "hunter2" not in answer.text


def test_a_provider_is_added_if_its_host_accepts_the_credentials(api, bitbucket, installation):
    connection = next(each for each in bitbucket.connections if each.title == "API token")
    body = {
        "name": "team",
        "kind": "bitbucket",
        "settings": plain(connection.settings),
        "secrets": secret_values(connection.settings),
    }
    answer = api("POST", "/providers", body)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{V1}/providers/team"
    added = answer.json()
    assert added["account"]
    assert added["provider"]["mode"] == "api-token"
    assert added["provider"]["stored"] == {"token": "stored, encrypted"}
    assert body["secrets"]["token"] not in answer.text
    stored = installation.store.get_provider("team").secrets["token"]
    assert installation.secrets.reveal(stored).get_secret_value() == body["secrets"]["token"]


def test_a_rejected_secret_is_not_stored_unless_the_check_is_skipped(api, bitbucket, installation):
    connection = next(each for each in bitbucket.connections if each.title == "API token")
    body = {
        "name": "team",
        "kind": "bitbucket",
        "settings": plain(connection.settings),
        "secrets": {"token": "ATATT-wrong-one"},
    }
    answer = api("POST", "/providers", body)
    assert (answer.status_code, answer.json()["code"]) == (502, "authentication_failed")
    assert answer.json()["hint"]
    assert "ATATT-wrong-one" not in answer.text
    assert api("GET", "/providers/team").status_code == 404
    assert api("POST", "/providers", {**body, "verify": False}).status_code == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "no good"}, "name"),
        ({"name": "work"}, "name"),
        ({"secrets": {}}, "token"),
        ({"settings": {"tokne": "x"}}, "tokne"),
        ({"settings": {"token": "hunter9"}, "secrets": {}}, "token"),
        ({"references": {"token": "hunter9"}, "secrets": {}}, "token"),
        ({"references": {"token": "env:ACME_UNSET"}, "secrets": {}}, "token"),
        ({"references": {"token": "env:HOME"}}, "token"),
        ({"settings": {"connect_timeout": "hunter9"}}, "connect_timeout"),
        ({"settings": {"ca_bundle": "/nowhere/at/all"}}, "ca_bundle"),
        ({"settings": {"proxy": "http://ada:hunter9@proxy.example.com"}}, "proxy"),
        ({"secrets": {"token": "x", "ssh_private_key": "hunter9"}}, "ssh_private_key"),
    ],
)
def test_errors_are_reported_by_field_without_the_value(api, change, field):
    given = {"name": "team", "kind": "acme", "secrets": {"token": "x"}, **change}
    answer = api("POST", "/providers", given)
    assert answer.status_code == 422
    assert [each.partition(":")[0] for each in answer.json()["details"]["fields"]] == [field]
    assert "hunter9" not in answer.text
    assert api("GET", "/providers/team").status_code == 404


def test_a_kind_that_does_not_exist_is_refused(api):
    answer = api("POST", "/providers", {"name": "team", "kind": "nope"})
    assert answer.status_code == 422
    assert "nope" in answer.json()["detail"]


def test_a_secret_reference_is_stored_as_a_reference(api, monkeypatch):
    monkeypatch.setenv("ACME_TOKEN", "hunter4")
    body = {"name": "team", "kind": "acme", "references": {"token": "env:ACME_TOKEN"}}
    answer = api("POST", "/providers", body)
    assert answer.json()["provider"]["stored"] == {"token": "environment variable ACME_TOKEN"}
    assert "hunter4" not in answer.text


def test_providers_are_listed_in_pages_with_their_applications(api, installation):
    for name in ("alpha", "zeta"):
        installation.add_provider(name, "acme", {}, {"token": SecretStr("x")})
    first = api("GET", "/providers?limit=2").json()
    assert [each["name"] for each in first["items"]] == ["alpha", "work"]
    assert [each["applications"] for each in first["items"]] == [0, 1]
    assert first["items"][1]["application_names"] == ["shop"]
    rest = api("GET", first["next"].removeprefix(V1)).json()
    assert [each["name"] for each in rest["items"]] == ["zeta"]
    assert rest["next"] is None


def test_a_secret_is_rotated_and_the_previous_one_is_kept(api, installation, client, caplog):
    caplog.set_level(logging.DEBUG)
    before = installation.store.get_provider("work")
    body = {"secrets": {"token": NEW_SECRET}, "keep_old": 3600, "generation": before.generation}
    answer = api("PATCH", "/providers/work", body)
    changed = answer.json()
    assert answer.status_code == 200
    assert changed["is_stored"]
    assert changed["account"] == "ada"
    assert changed["differences"] == [
        {"field": "token", "before": "stored, encrypted", "after": "a new value"}
    ]
    after = installation.store.get_provider("work")
    assert installation.secrets.reveal(after.secrets["token"]).get_secret_value() == NEW_SECRET
    assert after.former_secrets == before.secrets
    assert NEW_SECRET not in answer.text + caplog.text


def test_a_change_based_on_an_outdated_version_is_rejected(api):
    body = {"settings": {"read_timeout": "20"}, "generation": 1}
    assert api("PATCH", "/providers/work", body).status_code == 200
    again = api("PATCH", "/providers/work", {**body, "settings": {"read_timeout": "30"}})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    body["generation"] = api("GET", "/providers/work").json()["provider"]["generation"]
    repeated = api("PATCH", "/providers/work", {**body, "settings": {"read_timeout": "30"}})
    assert repeated.json()["provider"]["settings"] == {"read_timeout": "30"}


def test_a_dry_run_shows_the_change_and_stores_nothing(api):
    body = {"settings": {"read_timeout": "20"}, "dry_run": True}
    found = api("PATCH", "/providers/work", body).json()
    assert (found["is_stored"], len(found["differences"])) == (False, 1)
    assert api("GET", "/providers/work").json()["provider"]["settings"] == {}
    assert api("GET", "/audit").json()["items"] == []


def test_a_field_is_removed_by_null(api):
    api("PATCH", "/providers/work", {"settings": {"read_timeout": "20"}})
    found = api("PATCH", "/providers/work", {"settings": {"read_timeout": None}}).json()
    assert found["provider"]["settings"] == {}


def test_a_provider_in_use_is_not_removed(api, installation):
    answer = api("DELETE", "/providers/work")
    assert answer.status_code == 409
    assert "shop" in answer.json()["detail"]
    installation.add_provider("spare", "acme", {}, {"token": SecretStr("x")})
    assert api("DELETE", "/providers/spare").json() == {"remains": []}
    assert api("GET", "/providers/spare").status_code == 404


def test_a_connection_test_reports_account_scopes_and_repositories(api, bitbucket, installation):
    connection = next(each for each in bitbucket.connections if each.title == "API token")
    settings = connection.settings
    secrets = {name: SecretStr(each) for name, each in secret_values(settings).items()}
    installation.add_provider("team", "bitbucket", plain(settings), secrets)
    found = api("POST", "/providers/team/test").json()
    assert found["account"]["username"]
    assert found["account"]["scopes"]
    assert found["repositories"] > 0
    assert not found["has_more"]


def test_a_connection_test_with_rejected_credentials_suggests_the_next_step(
    api, bitbucket, installation
):
    connection = next(each for each in bitbucket.connections if each.title == "API token")
    secrets = {"token": SecretStr("ATATT-wrong-one")}
    installation.add_provider("team", "bitbucket", plain(connection.settings), secrets)
    answer = api("POST", "/providers/team/test")
    assert (answer.status_code, answer.json()["code"]) == (502, "authentication_failed")
    assert answer.json()["hint"]
    assert "ATATT-wrong-one" not in answer.text


def test_the_repository_count_says_when_there_are_more(api, monkeypatch):
    monkeypatch.setattr("deploycore.server.rest.providers._COUNTED_MOST", 2)
    found = api("POST", "/providers/work/test").json()
    assert (found["repositories"], found["has_more"]) == (2, True)


@pytest.mark.parametrize("name", ["none", "no%20good", "%00", "x" * 500])
def test_a_provider_that_does_not_exist_is_not_found(api, name):
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/test")):
        answer = api(method, f"/providers/{name}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_nothing_is_stored_if_the_host_responds_too_late(api, monkeypatch):
    told, asked = threading.Event(), threading.Event()

    def ask(hosts, action, **options):
        threading.Thread(target=lambda: (suppressed(action), asked.set())).start()
        raise Refusal(504, "timed_out", "The git host did not answer.")

    def suppressed(action):
        with contextlib.suppress(Cancelled):
            action()

    monkeypatch.setattr("deploycore.server.hosts.Hosts.ask", ask)
    monkeypatch.setattr(
        "deploycore.server.rest.provider_input.verify_ssh", lambda *given: told.wait(60)
    )
    body = {"name": "late", "kind": "acme", "secrets": {"token": "x"}}
    assert api("POST", "/providers", body).status_code == 504
    told.set()
    assert asked.wait(60)
    assert api("GET", "/providers/late").status_code == 404


def test_a_plugin_that_cannot_describe_its_sign_in_is_named(api, install_distribution):
    broken = """
    @property
    def sign_in(self):
        raise RuntimeError("hunter9")

class AcmeProvider:"""
    source = GOOD_PROVIDER.replace("\nclass AcmeProvider:", broken)
    install_distribution("deploycore-silent", "silent", source)
    answer = api("POST", "/providers", {"name": "s", "kind": "silent", "secrets": {"token": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (502, "plugin")
    assert "RuntimeError" in answer.json()["detail"]
    assert "hunter9" not in answer.text


def test_missing_provider_fields_are_reported_without_a_request(api, installation, monkeypatch):
    monkeypatch.setenv("ACME_TOKEN", "x")
    body = {"name": "team", "kind": "acme", "references": {"token": "env:ACME_TOKEN"}}
    api("POST", "/providers", body)
    monkeypatch.delenv("ACME_TOKEN")
    found = api("GET", "/providers/team").json()
    assert "ACME_TOKEN" in found["problem"]
    assert found["hint"]


@pytest.fixture
def gitea(installation):
    """A sandbox, and a provider ``team`` for which a person signs in."""
    with GiteaSandbox() as sandbox:
        sandbox.oauth.account = sandbox.OWNER
        settings = sandbox.add_sign_in()
        secrets = {name: SecretStr(each) for name, each in secret_values(settings).items()}
        installation.add_provider("team", "gitea", plain(settings), secrets)
        yield sandbox


def finish_of(begun):
    return f"/providers/{begun['provider']}/sign-ins/{begun['id']}/finish"


def signed_in_at(address):
    """What a browser is redirected to after a person has allowed the access."""
    return requests.get(address, allow_redirects=False, timeout=10).headers["Location"]


def test_a_person_signs_in_with_a_browser(api, gitea, installation):
    assert api("GET", "/providers/team").json()["must_sign_in"]
    redirect = "http://127.0.0.1:9000/callback"
    begun = api("POST", "/providers/team/sign-ins", {"redirect_uri": redirect}).json()
    assert begun["way"] == "browser"
    query = parse_qs(urlsplit(begun["address"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["state"] == [begun["id"]]
    answer = signed_in_at(begun["address"])
    assert answer.startswith(redirect)
    done = api("POST", finish_of(begun), {"answer": answer})
    assert (done.json()["is_done"], done.json()["account"]) == (True, gitea.OWNER)
    assert not any(each.get_secret_value() in done.text for each in gitea.oauth.secrets)
    assert not api("GET", "/providers/team").json()["must_sign_in"]
    with installation.open_provider("team") as provider:
        assert provider.authenticate().username == gitea.OWNER


def test_a_sign_in_response_is_accepted_once_and_only_from_its_initiator(
    api, gitea, token, monkeypatch
):
    monkeypatch.setattr("deploycore.server.access._FRESH_SECONDS", 0)
    other = token("admin", name="other")
    begun = api("POST", "/providers/team/sign-ins").json()
    path, answer = f"/providers/team/sign-ins/{begun['id']}", signed_in_at(begun["address"])
    assert api("GET", f"/sign-ins/{begun['id']}", headers=other).status_code == 404
    elsewhere = f"/providers/work/sign-ins/{begun['id']}/finish"
    assert api("POST", elsewhere, {"answer": answer}).status_code == 404
    assert api("POST", f"{path}/finish", {"answer": answer}, headers=other).status_code == 404
    assert api("POST", f"{path}/finish", {"answer": answer}).status_code == 200
    assert api("POST", f"{path}/finish", {"answer": answer}).status_code == 404


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("?code=x&state=another", "state"),
        ("?error=access_denied&state={id}", "was denied"),
        (None, "needs the response"),
    ],
)
def test_an_invalid_response_ends_the_sign_in(api, gitea, answer, said):
    begun = api("POST", "/providers/team/sign-ins").json()
    body = {"answer": answer.format(id=begun["id"])} if answer else {}
    refused = api("POST", finish_of(begun), body)
    assert refused.status_code in (422, 502)
    assert said in refused.json()["detail"]
    assert api("GET", f"/sign-ins/{begun['id']}").status_code == 404
    assert api("GET", "/providers/team").json()["must_sign_in"]


def test_a_code_is_not_sent_after_the_provider_changed_its_server(api, gitea):
    begun = api("POST", "/providers/team/sign-ins").json()
    answer = signed_in_at(begun["address"])
    api("PATCH", "/providers/team", {"settings": {"client_id": "another"}, "verify": False})
    refused = api("POST", finish_of(begun), {"answer": answer})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_person_enters_a_code(api, installation):
    with GitHubSandbox() as sandbox:
        sandbox.oauth.rules = replace(sandbox.oauth.rules, interval=0)
        settings = sandbox.add_sign_in()
        installation.add_provider("hub", "github", plain(settings), {})
        begun = api("POST", "/providers/hub/sign-ins").json()
        assert begun["way"] == "device"
        assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", begun["user_code"])
        path = finish_of(begun)
        assert api("POST", path).status_code == 202  # before the interval nothing is asked
        sandbox.oauth.enter(begun["user_code"], sandbox.OWNER)
        ends_at = time.monotonic() + 60
        while not (done := api("POST", path).json())["is_done"] and time.monotonic() < ends_at:
            time.sleep(0.05)
        assert (done["is_done"], done["account"]) == (True, sandbox.OWNER)


def test_a_provider_that_requires_no_sign_in_is_reported_as_such(api):
    answer = api("POST", "/providers/work/sign-ins")
    assert answer.status_code == 422
    assert "does not need to be authorized" in answer.json()["detail"]


def test_a_sign_in_address_with_a_script_scheme_is_rejected(api, installation, monkeypatch):
    with GitHubSandbox() as sandbox:
        installation.add_provider("hub", "github", plain(sandbox.add_sign_in()), {})
        monkeypatch.setattr(
            "deploycore.server.rest.sign_ins.ProviderSignIn.begin_device",
            lambda self, flow: DeviceCode("A-B", "javascript:alert(1)", 900, 5, SecretStr("x")),
        )
        answer = api("POST", "/providers/hub/sign-ins")
    assert answer.status_code == 502
    assert "javascript" not in answer.text


def test_a_code_is_polled_no_more_often_than_the_host_allows():
    at = [0.0]
    code = DeviceCode("A-B", "https://git.example.com/device", 900, 5, SecretStr("x"))
    flow = DeviceFlow(device_path="d", token_path="t", client_id="c")
    polling = DevicePolling(flow, code, lambda: at[0])
    at[0] = 4.9
    assert polling.poll(None) is None  # without a client nothing can be asked
    at[0] = 900.0
    with pytest.raises(AuthenticationFailed, match="not entered in time"):
        polling.poll(None)


def test_sign_ins_expire_and_their_number_is_limited():
    at = [0.0]
    sign_ins = SignIns(clock=lambda: at[0])
    flow = DeviceFlow(device_path="d", token_path="t", client_id="c")
    first = sign_ins.begin("team", "user ada", flow)
    for _ in range(200):
        last = sign_ins.begin("team", "user ada", flow)
    assert last is sign_ins.get(last.id, "user ada")
    for gone, after in ((first, 0.0), (last, 601.0)):
        at[0] = after
        with pytest.raises(Exception, match="has ended"):
            sign_ins.get(gone.id, "user ada")
