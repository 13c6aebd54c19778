"""The forms of applications: create, change, set variables, remove."""

from __future__ import annotations

import html
import re

import pytest
from pydantic import SecretStr

from deploycore.errors import GitError, NotFound
from deploycore.server.api import Api
from deploycore.server.dashboard.application_form import (
    declaration_of,
    errors_of,
    locked_fields,
    values_of,
)
from deploycore.server.problems import Refusal
from deploycore.server.rest import environment
from tests.server import acme
from tests.server.many import HOSTILE_NAMES, MANY

SECRET = "hunter2-of-a-variable"


@pytest.fixture
def filled(tmp_path):
    """The fields of a new application, as a browser sends them."""
    return {
        "name": "blog",
        "provider": "work",
        "repository": "ada/repository-1",
        "ref": "main",
        "target": str(tmp_path / "blog"),
        "keep": "7",
        "build": "npm ci\r\nnpm run build",
        "shared": "storage/\r\n.env",
        "watch": "src/**",
        "health_url": "http://127.0.0.1:8000/health",
        "auto_deploy": "on",
        "push": "on",
        "poll": "60",
        "offline": "on",
    }


def error_at(page, field):
    """The error that a page joins to a field."""
    tag = re.search(rf'<(?:input|textarea|select) id="{field}"[^>]*>', page)[0]
    assert 'aria-invalid="true"' in tag
    assert f"{field}-error" in re.search(r'aria-describedby="([^"]*)"', tag)[1]
    return html.unescape(re.search(rf'id="{field}-error">([^<]*)<', page)[1])


def declaration_in(page):
    """The text of a page's declaration."""
    found = re.search(r'<textarea id="declaration"[^>]*>\n(.*?)</textarea>', page, re.S)
    return html.unescape(found[1])


def test_a_new_application_is_created_from_the_form(browser, installation, filled):
    answer = browser.send("/applications/-/new", action="create", **filled)
    assert answer.history[0].headers["location"] == "/applications/blog?done=created"
    definition = installation.store.get_application("blog").definition.as_dict()
    assert definition == {
        "name": "blog",
        "provider": "work",
        "repository": "ada/repository-1",
        "ref": "main",
        "target": filled["target"],
        "keep": 7,
        "steps": {"build": [{"run": ["npm", "ci"]}, {"run": ["npm", "run", "build"]}]},
        "shared": {"directories": ["storage"], "files": [".env"]},
        "watch": ["src/**"],
        "health_check": {"url": "http://127.0.0.1:8000/health"},
        "auto_deploy": {"poll": 60.0, "report_status": False},
    }


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "no spaces", "letters, digits"),
        ("name", "shop", "Is taken."),
        ("provider", "nobody", "nobody"),
        ("repository", "nothing", "OWNER/REPOSITORY"),
        ("ref", "", "empty"),
        ("target", "relative", "absolute path"),
        ("keep", "1", "2 or more"),
        ("keep", "many", "whole number"),
        ("build", "npm ci\n'", "Line 2 should be a command line"),
        ("shared", "a\n../b", "path within the release"),
        ("health_url", "ftp://x", "http or https URL"),
        ("poll", "never", "or a number"),
    ],
)
def test_each_error_is_shown_at_its_field_and_input_is_preserved(
    browser, installation, filled, field, value, said
):
    answer = browser.send("/applications/-/new", action="create", **filled | {field: value})
    assert answer.status_code == 422
    assert said in error_at(answer.text, field)
    assert f'value="{filled["target"]}"' in answer.text or field == "target"
    assert "npm ci" in answer.text
    assert [each.name for each in installation.store.list_applications()] == ["shop"]


def test_a_connection_test_contacts_the_host_and_stores_nothing(
    browser, installation, filled, monkeypatch
):
    def resolve(source, ref, **options):
        raise GitError(f"The git server has no {ref}.", ref=ref)

    monkeypatch.setattr("deploycore.git.resolve", resolve)
    del filled["offline"]
    good = browser.send("/applications/-/new", action="test", **filled)
    assert good.status_code == 200
    assert "The repository and the branch, tag or commit exist" in good.text
    assert "changed field" not in good.text
    wrong = browser.send("/applications/-/new", action="test", **filled | {"ref": "mian"})
    assert "mian" in error_at(wrong.text, "ref")
    assert "Did you mean" in wrong.text
    both = browser.send("/applications/-/new", action="create", **filled | {"ref": "mian"})
    assert both.status_code == 422
    assert [each.name for each in installation.store.list_applications()] == ["shop"]


def test_an_abandoned_check_stores_nothing_later(
    browser, installation, filled, monkeypatch, until_the_end
):
    checked = []

    def check(applications, *rest):
        checked.append(applications[0].repository)
        eval(until_the_end)

    monkeypatch.setattr("deploycore.server.api.verify_applications", check)
    monkeypatch.setattr("deploycore.server.hosts.HOST_SECONDS", 0.2)
    del filled["offline"]
    answer = browser.send("/applications/-/new", action="create", **filled)
    assert (answer.status_code, checked) == (504, ["ada/repository-1"])
    assert "did not answer within" in answer.text
    assert [each.name for each in installation.store.list_applications()] == ["shop"]


def test_a_warning_is_shown_for_steps_that_require_a_shell(browser, filled):
    found = browser.send("/applications/-/new", action="test", **filled | {"build": "a && b"})
    assert "Warning: steps/build/0" in found.text


def test_repositories_are_found_without_a_script(browser, installation, filled):
    page = browser.get("/applications/-/new?provider=work&search=repository-2").text
    link = html.unescape(
        re.search(r'href="(/applications/-/new\?provider=work&amp;rep[^"]*)"', page)[1]
    )
    chosen = browser.get(link).text
    assert 'id="repository" name="repository" type="text" value="ada/repository-2"' in chosen
    assert 'id="name" name="name" type="text" value="repository-2"' in chosen
    assert '<option value="main">' in chosen


def test_saving_settings_keeps_values_not_shown_in_the_form(browser, installation, create):
    previews = {"target": "/srv/previews/{number}"}
    create(
        "rich",
        steps={"build": [{"shell": "a | b", "timeout": 5}], "after_activate": ["true"]},
        health_check={"shell": "test -e x"},
        auto_deploy={"previews": previews, "poll": "off"},
        environment={"TOKEN": {"secret": "env:TOKEN"}},
        limits={"files": 10},
    )
    before = installation.store.get_application("rich").definition.as_dict()
    page = browser.get("/applications/rich/settings").text
    assert re.search(r'<textarea id="build"[^>]* disabled', page)
    fields = {
        name: html.unescape(value)
        for name, value in re.findall(
            r'<input id="(\w+)" name="\w+" type="\w+" value="([^"]*)"', page
        )
    }
    sent = {
        "revision": re.search(r'name="revision" value="(\d+)"', page)[1],
        **{name: fields[name] for name in ("repository", "ref", "target", "keep", "poll")},
        "provider": "work",
        "auto_deploy": "on",
        "push": "on",
        "report_status": "on",
        "after_activate": "false",
        "offline": "on",
    }
    answer = browser.send("/applications/rich/settings", **sent)
    assert answer.history[0].headers["location"] == "/applications/rich/settings?done=settings"
    after = installation.store.get_application("rich").definition.as_dict()
    assert after.pop("steps")["after_activate"] == [{"run": ["false"]}]
    assert before.pop("steps")["build"] == [{"shell": "a | b", "timeout": 5.0}]
    assert after == before


def test_a_concurrent_change_is_not_overwritten(browser, installation):
    record = installation.store.get_application("shop")
    page = browser.get("/applications/shop/settings").text
    sent = {
        "revision": re.search(r'name="revision" value="(\d+)"', page)[1],
        "part": "declaration",
        "declaration": f"{declaration_in(page)}\nkeep: 3\n",
        "offline": "on",
    }
    installation.apply([record.definition.model_copy(update={"keep": 9})])
    answer = browser.send("/applications/shop/settings", **sent)
    assert (answer.status_code, "was changed meanwhile" in answer.text) == (422, True)
    assert installation.store.get_application("shop").definition.keep == 9


def test_a_change_during_the_check_at_the_host_is_not_overwritten(
    browser, installation, monkeypatch
):
    record = installation.store.get_application("shop")
    page = browser.get("/applications/shop/settings").text
    sent = {
        "revision": re.search(r'name="revision" value="(\d+)"', page)[1],
        "part": "declaration",
        "declaration": f"{declaration_in(page)}\nkeep: 3\n".replace("ref: main", "ref: v1"),
    }

    def verify(api, declared):
        installation.apply([record.definition.model_copy(update={"keep": 9})])

    monkeypatch.setattr(Api, "_verify", verify)
    answer = browser.send("/applications/shop/settings", **sent)
    assert (answer.status_code, "was changed meanwhile" in answer.text) == (422, True)
    kept = installation.store.get_application("shop").definition
    assert (kept.keep, kept.ref) == (9, record.definition.ref)


def test_two_users_who_create_the_same_application_do_not_overwrite_each_other(
    browser, installation, monkeypatch, tmp_path
):
    first = installation.store.get_application("shop").definition.model_copy(
        update={"name": "new", "target": tmp_path / "first", "keep": 9}
    )
    monkeypatch.setattr(Api, "_verify", lambda api, declared: installation.apply([first]))
    target = str(tmp_path / "second")
    sent = {"name": "new", "provider": "work", "repository": "acme/shop", "ref": "main"}
    answer = browser.send("/applications/-/new", target=target, **sent)
    assert (answer.status_code, "taken" in answer.text) == (422, True)
    assert installation.store.get_application("new").definition == first


def test_changing_a_variable_does_not_undo_a_change_of_the_settings(
    browser, installation, monkeypatch
):
    before = installation.store.get_application("shop").definition

    def changed_since(record, *given):
        made = with_variable(record, *given)
        installation.apply([before.model_copy(update={"keep": 9})])
        return made

    with_variable = environment._with_variable
    monkeypatch.setattr(environment, "_with_variable", changed_since)
    path = "/applications/shop/environment"
    answer = browser.send(path, action="set", variable="MODE", kind="plain", value="quick")
    assert (answer.status_code, "was changed meanwhile" in answer.text) == (422, True)
    assert installation.store.get_application("shop").definition.keep == 9


def test_the_whole_declaration_is_edited_as_text(browser, installation, tmp_path):
    page = browser.get("/applications/shop/settings").text
    text = declaration_in(page)
    sent = {"part": "declaration", "offline": "on"}
    wrong = browser.send("/applications/shop/settings", declaration=f"{text}\nwhat: [", **sent)
    assert "not valid YAML" in error_at(wrong.text, "declaration")
    browser.send("/applications/shop/settings", declaration=f"{text}\nhistory_days: 30\n", **sent)
    assert installation.store.get_application("shop").definition.history_days == 30


def test_variables_are_set_and_secrets_are_never_shown(browser, installation):
    path = "/applications/shop/environment"
    browser.send(path, action="set", variable="MODE", kind="plain", value="quick")
    browser.send(path, action="set", variable="KEY", kind="source", value="env:KEY")
    browser.send(path, action="set", variable="TOKEN", kind="secret", value=SECRET)
    wrong = browser.send(path, action="set", variable="A B", kind="secret", value=SECRET)
    assert "variable" in error_at(wrong.text, "variable")
    page = browser.get(path).text
    assert "quick" in page
    assert "read from <code>env:KEY</code>" in page
    assert "Secret, stored encrypted" in page
    assert SECRET not in page + wrong.text + browser.get("/applications/shop/settings").text
    record = installation.store.get_application("shop")
    assert installation.secrets.reveal(record.secrets["TOKEN"]).get_secret_value() == SECRET
    browser.send(path, action="remove", variable="TOKEN")
    record = installation.store.get_application("shop")
    assert (sorted(record.definition.environment), record.secrets) == (["KEY", "MODE"], {})


def test_an_application_is_removed_after_its_name_is_typed(browser, installation):
    page = browser.get("/applications/shop/remove").text
    assert "<dt>History</dt><dd>none</dd>" in page
    wrong = browser.send("/applications/shop/remove", confirm="blog")
    assert "not the name" in error_at(wrong.text, "confirm")
    assert installation.store.get_application("shop").name == "shop"
    answer = browser.send("/applications/shop/remove", confirm="shop")
    assert answer.history[0].headers["location"] == "/?done=application_removed"
    assert installation.store.list_applications() == []


def test_an_application_is_not_removed_during_a_deployment(browser, installation):
    deployment = installation.store.deployments.request("shop", ref="main")
    page = browser.get("/applications/shop/remove")
    assert (page.status_code, f"deployment {deployment.id} has not ended" in page.text) == (
        409,
        True,
    )
    answer = browser.send("/applications/shop/remove", confirm="shop")
    assert f"deployment {deployment.id} has not ended" in answer.text


@pytest.mark.parametrize("part", ["environment", "webhook"])
def test_non_administrators_see_the_state_but_no_forms(acting_as, part):
    forms = len(re.findall("<form", acting_as("admin").get(f"/applications/shop/{part}").text))
    page = acting_as("read").get(f"/applications/shop/{part}").text
    assert forms > 1
    assert len(re.findall("<form", page)) == 1  # to sign out
    assert "/applications/shop/settings" not in page


def test_pages_of_an_unknown_application_return_not_found(browser):
    for part in ("settings", "environment", "webhook", "remove"):
        assert browser.get(f"/applications/nope/{part}").status_code == 404


def test_names_from_a_host_are_escaped(browser, upgrade, installation):
    upgrade("deploycore_acme", acme.PLUGIN + MANY)
    page = browser.get("/applications/-/new?provider=work&search=hostile").text
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert" in page
    assert len(page) < 150_000
    assert len(re.findall(r"<bdi>[^<]{0,400}</bdi>", page)) >= len(HOSTILE_NAMES) - 1


def test_with_many_providers_the_name_is_typed_instead_of_selected(
    browser, installation, monkeypatch
):
    monkeypatch.setattr("deploycore.server.dashboard.pages.applications._PROVIDERS", 1)
    installation.add_provider("zeta", "acme", {}, {"token": SecretStr("hunter2-of-zeta")})
    page = browser.get("/applications/-/new?provider=zeta&search=x").text
    assert '<input id="provider" name="provider" value="zeta"' in page
    assert '<option value="work">' in page


@pytest.mark.parametrize(
    "declaration",
    [
        {},
        {"steps": {"build": [{"run": ["a", "b c"]}]}, "shared": {"files": ["x"]}, "keep": 3},
        {"health_check": {"run": ["true"], "retries": 3}, "auto_deploy": {"poll": 30.5}},
        {"submodules": True, "lfs": True, "watch": ["a", "b"]},
    ],
)
def test_submitting_an_unchanged_form_changes_nothing(declaration):
    from deploycore.applications.application import parse_application

    fixed = {"provider": "work", "repository": "a/b", "ref": "main", "target": "/srv/x"}
    before = parse_application({"name": "x", **fixed, **declaration})
    given = before.as_dict()
    form = {name: value for name, value in values_of(given).items() if value}
    assert locked_fields(given) == set()
    assert parse_application(declaration_of(form, given)) == before


def test_an_error_without_fields_is_placed_by_its_details():
    error = NotFound("No branch.", repository="a/b", branch="x")
    refusal = Refusal(404, error.code, error.message, details=error.details)
    assert errors_of(refusal) == {"ref": "No branch."}
    assert errors_of(Refusal(502, "x", "Down.", details={"repository": "a/b"})) == {}
    assert errors_of(None)["anything"] == ""
