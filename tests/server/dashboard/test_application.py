"""An application: its history and releases, and the forms to deploy and to roll back."""

from __future__ import annotations

import re

import pytest

from tests.server.dashboard.hostile_pages import HOSTILE, faults_of


def test_the_page_shows_the_live_release_the_history_and_the_releases(browser, released, deployed):
    name = released(1, live=True)
    number = deployed("failed", number=2)
    page = browser.get("/applications/shop").text
    for text in (name, "Change 1", "The step failed.", "1 min 15 s", f"/deployments/{number}"):
        assert text in page
    assert "The previous release is still live." in page
    assert faults_of(page) == []


def test_an_unknown_application_is_not_found(browser):
    for path in ("", "/releases", "/rollback", "/rollback?to=x"):
        answer = browser.get(f"/applications/nothing{path}")
        assert answer.status_code == 404
        assert faults_of(answer.text) == []


@pytest.mark.parametrize(("field", "force"), [({}, False), ({"force": "yes"}, True)])
def test_the_form_requests_a_deployment(browser, installation, field, force):
    answer = browser.send("/applications/shop/deploy", **field)
    assert "The deployment is requested." in answer.text
    [trigger] = installation.store.triggers.list("shop")
    assert (trigger.cause, trigger.force, trigger.actor) == ("request", force, "user admin")
    assert "deployment requested" in answer.text.lower()


def test_readers_cannot_deploy_or_roll_back(acting_as, released, installation):
    released(1)
    released(2, live=True)
    browser = acting_as("read")
    page = browser.get("/applications/shop").text
    assert "/deploy" not in re.findall(r'action="/applications/shop([^"]*)"', page)
    assert "/rollback" not in page
    assert browser.get("/applications/shop/rollback").status_code == 403
    for path in ("deploy", "rollback"):
        assert browser.send(f"/applications/shop/{path}").status_code == 403
    assert not installation.store.triggers.list("shop")


def test_users_who_can_deploy_see_the_forms(acting_as, released):
    released(1)
    released(2, live=True)
    page = acting_as("deploy").get("/applications/shop").text
    assert 'action="/applications/shop/deploy"' in page
    assert page.count("/applications/shop/rollback?to=") == 1


def test_a_rollback_is_requested_once_with_its_changes_shown(browser, released, installation):
    first = released(1)
    released(2, live=True)
    page = browser.get(f"/applications/shop/rollback?to={first}").text
    for text in ("Change 1", "Change 2", "1 file changed", "index.html", "no longer live"):
        assert text in page
    assert faults_of(page) == []
    answer = browser.send("/applications/shop/rollback", to=first)
    assert "The rollback has started." in answer.text
    [record] = installation.store.deployments.list("shop", kind="rollback")
    assert (record.requested_by, answer.url.path) == ("user admin", f"/deployments/{record.id}")


def test_a_rollback_that_cannot_start_says_why(browser, released):
    name = released(1, live=True)
    page = browser.get(f"/applications/shop/rollback?to={name}").text
    assert "This release is already live." in page
    assert "<form" not in page.partition("<main")[2]
    answer = browser.send("/applications/shop/rollback", to=name)
    assert answer.status_code == 422
    assert "already live" in answer.text
    assert "deploycore releases shop" in answer.text


def test_the_chart_has_a_table(browser, deployed):
    for number in range(3):
        deployed(number=number)
    deployed("failed")
    page = browser.get("/applications/shop").text
    assert page.count("<rect") >= 4 * 3
    assert "75 % of the last 4 succeeded" in page
    assert "Show as a table" in page
    assert faults_of(page) == []


def test_previews_are_listed_and_link_to_their_parent(browser, installation, create, tmp_path):
    create("shop-pr-7", auto_deploy=None)
    store = installation.store
    definition = store.get_application("shop-pr-7").definition
    store.remove_application("shop-pr-7")
    store.begin_preview(
        definition,
        parent=store.get_application("shop").definition,
        number=7,
        within=tmp_path,
        limit=5,
        opens=True,
    )
    page = browser.get("/applications/shop").text
    assert "Preview of shop, pull request 7" in page
    assert 'href="/applications/shop"' in browser.get("/applications/shop-pr-7").text


def test_releases_that_cannot_be_read_do_not_hide_the_rest(browser, released, installation):
    released(1, live=True)
    target = installation.store.get_application("shop").definition.target
    (target / "current").unlink()
    (target / "current").symlink_to("/etc")
    page = browser.get("/applications/shop")
    assert page.status_code == 200
    assert "not one of its releases" in page.text
    assert "Change 1" in page.text


def test_text_from_committers_and_hosts_is_escaped(browser, released):
    names = []
    for number, text in enumerate(HOSTILE, start=1):
        values = {"subject": text, "author": text, "ref": text, "requested_by": text}
        state = "failed" if number == 2 else "healthy"
        is_last = number == len(HOSTILE)
        names.append(released(number, live=is_last, state=state, error=text, **values))
    for path in ("", "/releases", f"/rollback?to={names[0]}"):
        page = browser.get(f"/applications/shop{path}")
        assert (page.status_code, faults_of(page.text)) == (200, [])


def test_a_file_name_is_escaped(browser, released, installation):
    first = released(1)
    released(2, live=True)
    folder = installation.store.get_application("shop").definition.target / "releases" / first
    (folder / "<img src=x onerror=alert(1)>").write_text("")
    (folder / "a\udcff\u202eb").write_text("")
    page = browser.get(f"/applications/shop/rollback?to={first}").text
    assert "2 files added" in page
    assert faults_of(page) == []
