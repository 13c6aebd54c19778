"""The page of the audit log, and what users do in pages."""

from __future__ import annotations

import re

import pytest

from deploycore.server.accounts.auditing import Auditor
from deploycore.server.dashboard.operation_names import OPERATION_NAMES, operation_name
from deploycore.server.rest.table import OPERATIONS
from deploycore.store.audit import Entry


@pytest.fixture
def entries(installation):
    """The entries, the newest first, as tuples."""

    def read(**query):
        return [
            (each.actor, each.operation, each.kind, each.subject, each.outcome)
            for each in installation.store.audit.list(**query)
        ]

    return read


def test_user_actions_are_listed(browser, entries):
    browser.send("/tokens/-/new", name="ci", role="read")
    browser.send("/tokens/ci/remove")
    browser.send("/tokens/ci/remove")
    assert entries() == [
        ("user admin", "delete_token", "token", "ci", "not_found"),
        ("user admin", "delete_token", "token", "ci", "done"),
        ("user admin", "add_token", "token", "ci", "done"),
    ]
    page = browser.get("/audit").text
    assert ("user admin" in page, "Token removed" in page, "not found" in page) == (True,) * 3


def test_each_recorded_operation_has_a_human_readable_name():
    recorded = {
        each.run.__name__ for each in OPERATIONS if each.method != "GET" and each.role is not None
    }
    assert recorded - OPERATION_NAMES.keys() == set()
    assert {"sign_in", "sign_out", "use_link"} <= OPERATION_NAMES.keys()
    assert operation_name("use_password") == "Use password"  # a forged form


def test_the_technical_name_is_available(browser):
    browser.send("/tokens/-/new", name="ci", role="read")
    page = browser.get("/audit?operation=add_token").text
    assert 'title="add_token">Token added</a>' in page
    assert '<option value="add_token" selected>Token added</option>' in page
    assert (
        '<option value="&lt;b&gt;" selected>&lt;b&gt;</option>'
        in browser.get("/audit?operation=<b>").text
    )


def test_reading_is_not_recorded(browser, entries):
    for path in ("/", "/users", "/audit", "/account", "/api/v1/applications"):
        browser.get(path)
    assert entries() == []


def test_rejected_and_forged_forms_of_users_are_recorded(serving, secret, sign_in_as, entries):
    browser = sign_in_as(serving(), "bob", "read")
    assert browser.send("/users/ada", role="admin").status_code == 403
    assert browser.client.post("/sign-out", data={"form_token": "x"}).status_code == 403
    assert entries() == [
        ("user bob", "sign_out", "sign-out", "", "forged"),
        ("user bob", "change_user", "user", "ada", "permission_denied"),
    ]


def test_signing_out_is_recorded(browser, entries):
    browser.send("/sign-out")
    assert entries() == [("user admin", "sign_out", "user", "admin", "done")]


def test_the_log_is_filtered_by_user_operation_and_time(browser, installation):
    for actor, operation, subject in (
        ("user ada", "deploy", "shop"),
        ("user ada", "delete_application", "blog"),
        ("token ci", "deploy", "wiki"),
    ):
        installation.store.audit.add(Entry(actor, operation, "application", subject))
    shown = {
        query: {name for name in ("shop", "blog", "wiki") if f"subject={name}" in page}
        for query in (
            "",
            "actor=user+ada",
            "operation=deploy",
            "subject=wiki",
            "since=2100-01-01",
            "until=2100-01-01",
            "until=2020-01-01",
        )
        if (page := browser.get(f"/audit?{query}").text)
    }
    assert shown == {
        "": {"shop", "blog", "wiki"},
        "actor=user+ada": {"shop", "blog"},
        "operation=deploy": {"shop", "wiki"},
        "subject=wiki": {"wiki"},
        "since=2100-01-01": set(),
        "until=2100-01-01": {"shop", "blog", "wiki"},
        "until=2020-01-01": set(),
    }


def test_the_date_range_includes_its_last_day(browser, installation):
    installation.store.audit.add(Entry("user ada", "deploy", "application", "shop"))
    day = installation.store.audit.list()[0].at.date().isoformat()
    assert "subject=shop" in browser.get(f"/audit?since={day}&until={day}").text


@pytest.mark.parametrize("query", ["since=yesterday", "until=9999-12-31", "actor=%00", "before=x"])
def test_an_invalid_filter_is_reported_on_the_page(browser, query):
    page = browser.get(f"/audit?{query}")
    assert (page.status_code, 'role="alert"' in page.text) == (422, True)


def test_the_log_links_to_older_entries_with_the_same_filter(browser, installation):
    for number in range(60):
        installation.store.audit.add(Entry("user ada", "deploy", "application", f"app-{number}"))
    page = browser.get("/audit?actor=user+ada").text
    older = re.search(r'href="(/audit\?[^"]*before=[^"]+)"', page).group(1).replace("&amp;", "&")
    assert "actor=user+ada" in older
    second = browser.get(older).text
    assert ("app-10<" in page, "app-9<" in page, "app-9<" in second) == (True, False, True)
    assert "Older entries" not in second


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x>', "\u202eevil"])
def test_recorded_values_are_escaped(browser, installation, hostile):
    installation.store.audit.add(Entry(hostile, hostile, hostile, hostile, hostile))
    page = browser.get("/audit").text
    assert hostile not in page
    assert "<script>alert" not in page


def test_failures_of_two_threads_are_counted_when_a_minute_begins(installation):
    auditor = Auditor(installation.store)

    class Refusals(dict):
        def __setitem__(self, *given):
            super().__setitem__(*given)
            auditor._refusals = {}  # as another thread does in the next minute

    auditor._refusals, auditor._clock, auditor._minute = Refusals(), lambda: 0.0, 0
    auditor.note(None, "sign_in", outcome="authentication_failed")
    assert installation.store.audit.list()[0].outcome == "authentication_failed"
