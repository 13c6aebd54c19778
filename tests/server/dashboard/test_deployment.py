"""A deployment: phases, the error with its next step, and the log."""

from __future__ import annotations

import re

import pytest

from deploycore.server.dashboard.pages.deployment import phases_of
from tests.server.dashboard.hostile_pages import HOSTILE, faults_of

RUNNING = {"kind": "deploy", "seconds": {"queued": 1.0, "authenticating": 0.5, "resolving": 0.5}}


@pytest.mark.parametrize(
    ("record", "looks"),
    [
        ({"state": "queued", "seconds": {}}, "coming coming coming coming coming"),
        ({"state": "fetching"}, "done done now coming coming"),
        ({"state": "failed"}, "done failed coming coming coming"),
        ({"state": "cancelled", "seconds": {}}, "coming coming coming coming coming"),
        ({"state": "rolled_back", "kind": "rollback", "seconds": {"activating": 1}}, "failed"),
        ({"state": "healthy", "kind": "rollback", "seconds": {"activating": 1}}, "done"),
    ],
)
def test_phases_are_shown_with_their_result(record, looks):
    assert [each.look for each in phases_of(RUNNING | record)] == looks.split()


def test_an_error_shows_its_next_step_first(browser, deployed):
    number = deployed("failed", "a line", hint="Correct the step, then deploy again.")
    page = browser.get(f"/deployments/{number}").text
    box = page.partition('class="notice bad"')[2]
    assert box.index("Correct the step") < box.index("The step failed.")
    assert "http-equiv" not in page
    assert faults_of(page) == []


def test_a_running_deployment_page_reloads_without_javascript(browser, deployed):
    number = deployed("building", "a line")
    page = browser.get(f"/deployments/{number}").text
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert "data-running" in page
    position = re.search(r'data-position="(\d+)"', page).group(1)
    rest = browser.get(f"/api/v1/deployments/{number}/log?after={position}").json()
    assert rest["items"] == []


def test_colors_are_shown_and_everything_else_is_escaped(browser, deployed):
    number = deployed("failed", "\x1b[31;1mred\x1b[0m <b>\x1b]0;x\x07", "\x1b[2J\x00\u202e")
    page = browser.get(f"/deployments/{number}").text
    assert '<span class="fg-1 bold">red</span> &lt;b&gt;</span>' in page
    assert not re.search("[\x00\x1b\u202e]", page)


def test_text_from_programs_and_committers_is_escaped(browser, deployed):
    for text in HOSTILE:
        values = {"subject": text, "author": text, "ref": text, "requested_by": text}
        lines = (text, f"\x1b[31m{text}")
        number = deployed("failed", *lines, hint=text, release=text, error=text, **values)
        for query in ({}, {"search": text[:20]}):
            page = browser.get(f"/deployments/{number}", params=query)
            assert (page.status_code, faults_of(page.text)) == (200, [])


def test_the_log_is_searched_without_javascript(browser, deployed):
    number = deployed("failed", *(f"line {each}" for each in range(2000)), "the Needle")
    page = browser.get(f"/deployments/{number}?search=needle").text
    assert "the Needle" in page
    assert "1 line found" in page
    assert "line 1999" not in page
    assert "data-running" not in page
    assert "0 lines found" in browser.get(f"/deployments/{number}?search=nothing").text


def test_a_page_stays_small_for_any_log_length(browser, deployed):
    for line in ("x" * 8000, "<" * 8000, "\x1b[31m&\x1b[0m" * 800, "é" * 4000):
        number = deployed("building", *([line] * 100), "the end")
        page = browser.get(f"/deployments/{number}")
        assert len(page.content) < 150_000
        assert "the end" in page.text
        assert "Open the whole log" in page.text


def test_only_users_who_can_deploy_can_cancel_a_deployment(browser, acting_as, installation):
    record = installation.store.deployments.request("shop", ref="main")
    here = f"/deployments/{record.id}"
    reader = acting_as("read")
    assert "/cancel" not in reader.get(here).text
    assert reader.send(f"{here}/cancel").status_code == 403
    answer = acting_as("deploy").send(f"{here}/cancel")
    assert "The deployment is being canceled." in answer.text
    assert installation.store.deployments.get(record.id).state == "cancelled"
    again = browser.send(f"{here}/cancel")
    assert again.status_code == 409
    assert "already ended" in again.text


def test_an_unknown_deployment_is_not_found(browser):
    for number in ("0", "999", "x", "99999999999"):
        answer = browser.get(f"/deployments/{number}")
        assert answer.status_code == 404
        assert faults_of(answer.text) == []


def test_the_deployment_of_a_removed_application_is_still_shown(browser, deployed, installation):
    number = deployed("healthy", "a line")
    installation.store.remove_application("shop", keep_history=True)
    page = browser.get(f"/deployments/{number}")
    assert page.status_code == 200
    assert 'href="/applications/shop"' not in page.text
