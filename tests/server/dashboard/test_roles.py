"""Who may what, made from both tables: each route, each role, and forged forms.

A page or an operation that is added is tested without a line here.
"""

from __future__ import annotations

import asyncio
import re

import pytest

from deploycore.server.callers import Caller
from deploycore.server.dashboard.table import PAGES
from deploycore.server.problems import Refusal
from deploycore.server.rest.table import OPERATIONS
from tests.server.routes import filled

ROLES = ["read", "deploy", "admin"]
PROTECTED = [page for page in PAGES if page.role is not None]
OPEN = [page for page in PAGES if page.role is None]


def name_of(route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture
def ask(client, sign_in_as):
    """Asks for a page as a user with a role, with the right form token, or with another one."""

    def send(page, role, *, token=None):
        browser = sign_in_as(client, f"user-{role}", role)
        if page.method == "GET":
            return browser.get(filled(page.path), follow_redirects=False)
        data = {"form_token": browser.form_token() if token is None else token}
        return client.post(filled(page.path), data=data, follow_redirects=False)

    return send


@pytest.mark.parametrize("page", PROTECTED, ids=name_of)
def test_a_page_is_for_its_role_alone(client, ask, page):
    answer = client.request(page.method, filled(page.path), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")
    for role in ROLES:
        answer = ask(page, role)
        if ROLES.index(role) < ROLES.index(page.role):
            assert answer.status_code == 403
            assert f"but {page.role} is required" in answer.text
            assert "Ask an administrator" in answer.text
        else:
            assert answer.status_code != 403
            assert answer.status_code < 500
        assert answer.headers["cache-control"] == "no-store" or answer.status_code == 303


@pytest.mark.parametrize("page", [each for each in PROTECTED if each.method == "POST"], ids=name_of)
def test_a_forged_form_changes_nothing(client, ask, page, sign_in_as, installation):
    of_another = sign_in_as(client, "another", "admin").form_token()
    for token in ("", "x", of_another):
        answer = ask(page, "admin", token=token)
        assert (answer.status_code, "The form is from another session." in answer.text) == (
            403,
            True,
        )
    entries = installation.store.audit.list()
    assert {each.outcome for each in entries} == {"forged"}


@pytest.mark.parametrize("page", [each for each in OPEN if each.method == "POST"], ids=name_of)
def test_forms_for_everybody_are_protected_too(client, page):
    for data in ({}, {"form_token": "x"}):
        assert client.post(filled(page.path), data=data).status_code == 403


@pytest.mark.parametrize("page", [each for each in OPEN if each.method == "GET"], ids=name_of)
def test_pages_for_everybody_need_nobody_to_be_signed_in(client, page):
    answer = client.get(filled(page.path), follow_redirects=False)
    assert "is required" not in answer.text
    assert answer.status_code < 500


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.role is not None], ids=name_of
)
def test_an_operation_is_for_its_role_alone(client, sign_in_as, operation):
    """Over HTTP a session may read what its role may, and change nothing. In process, for pages, it
    may what its role may."""
    rest = client.application.rest
    names = re.findall(r"{(\w+)}", operation.path)
    parts, wanted = filled(operation.path).split("/"), operation.path.split("/")
    values = {name: parts[wanted.index(f"{{{name}}}")] for name in names}
    for role in ROLES:
        is_enough = ROLES.index(role) >= ROLES.index(operation.role)
        browser = sign_in_as(client, f"user-{role}", role)
        answer = browser.client.request(operation.method, filled(operation.path))
        if operation.method != "GET":
            assert answer.status_code == 401
        else:
            assert (answer.status_code != 403) == is_enough
            assert answer.status_code not in (401, 500)
        caller = Caller("user", f"user-{role}", role, session=10**6)
        status = 200
        try:
            asyncio.run(
                rest.call(caller, operation.method, operation.path, parameters=values)
                if operation.path != "/metrics"
                else _nothing(is_enough)
            )
        except Refusal as refusal:
            status = refusal.status
        assert (status != 403) == is_enough


async def _nothing(is_enough) -> None:
    """Metrics are no JSON, and no page asks for them."""
    if not is_enough:
        raise Refusal(403, "permission_denied", "")
