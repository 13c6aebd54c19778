"""A hint that names a command leads to the page that does the same."""

from __future__ import annotations

import pytest

from deploycore.server.callers import may
from deploycore.server.dashboard.application_form import declaration_of, values_of
from deploycore.server.dashboard.application_help import HELP
from deploycore.server.dashboard.dashboard import PAGES
from deploycore.server.dashboard.next_steps import _PAGES, steps_for


def steps(hint, role="admin"):
    return steps_for(hint, lambda wanted: may(role, wanted))


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("Check the name: deploycore provider list", {"/providers": "Providers"}),
        (
            "Replace the token: deploycore provider rotate work.",
            {"/providers/work/rotate": "Rotate the secrets of work"},
        ),
        (
            "Remove shop first: deploycore app remove shop",
            {"/applications/shop/remove": "Remove shop"},
        ),
        ("See its log: deploycore logs 7", {"/deployments/7": "Deployment 7"}),
        ("See the last one: deploycore show shop", {"/applications/shop": "Application shop"}),
        (
            "deploycore webhook show shop",
            {"/applications/shop/webhook": "Webhook of shop"},
        ),
        ("Remove it first: deploycore token remove ci", {"/tokens/ci/remove": "Remove ci"}),
        ("Run deploycore user link NAME on the server's machine.", {}),
        ("deploycore app remove ../../sign-out", {}),
        ("deploycore branches work acme/shop", {}),
        ("deploycore deploys from a git host.", {}),
        ("Wait a minute.", {}),
    ],
)
def test_a_hint_links_to_the_pages_of_its_commands(hint, expected):
    assert steps(hint) == expected


def test_only_pages_that_the_user_can_access_are_linked():
    assert steps("deploycore provider edit work", role="deploy") == {}
    assert steps("deploycore rollback shop", role="deploy")
    assert steps("deploycore rollback shop", role="read") == {}


def test_each_linked_page_exists_and_has_the_stated_role():
    roles = {page.path: page.role for page in PAGES if page.method == "GET"}
    paths = {
        path.replace("{}", f"{{{path.split('/')[1].rstrip('s')}}}"): role
        for path, _, role in _PAGES.values()
    }
    assert paths.items() <= roles.items()


def test_a_rejected_form_links_to_the_next_step(browser, tmp_path):
    answer = browser.send(
        "/applications/-/new",
        action="create",
        name="blog",
        provider="nobody",
        repository="ada/repository-1",
        ref="main",
        target=str(tmp_path / "blog"),
        offline="on",
    )
    assert answer.status_code == 422
    assert '<a href="/providers">Providers</a>' in answer.text


def test_each_field_of_the_application_form_has_help():
    assert values_of({}).keys() <= HELP.keys()
    assert declaration_of({}, {}).keys() <= HELP.keys()
