"""Permissions: each route, each role, and forged forms. The tests are created from both tables.

A page or an operation that is added is tested without a line here.
"""

from __future__ import annotations

import asyncio
import re

import pytest

from deploycore.server.accounts.cookies import SESSION
from deploycore.server.callers import Caller
from deploycore.server.dashboard.table import PAGES
from deploycore.server.problems import Refusal
from deploycore.server.rest.table import OPERATIONS
from tests.server.dashboard.conftest import Browser
from tests.server.routes import filled

pytestmark = pytest.mark.usefixtures("imports_are_probed_once", "cheap_hashes")

ROLES = ["read", "deploy", "admin"]
PROTECTED = [page for page in PAGES if page.role is not None]
OPEN = [page for page in PAGES if page.role is None]


def name_of(route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture
def sign_in_for(client, sign_in_as):
    """Gives the browser of a user with a role, for a route: ``sign_in_for(page, "read")``. The user
    has a new session, unless only pages were read in the last one."""
    known = {}

    def sign_in(route, role):
        if role in known and route.method == "GET":
            client.cookies.clear()
            client.cookies.set(SESSION, known[role])
            return Browser(client)
        browser = sign_in_as(client, f"user-{role}", role)
        if route.method == "GET":
            known[role] = client.cookies[SESSION]
        else:
            known.clear()
        return browser

    return sign_in


@pytest.fixture
def ask(client, sign_in_for):
    """Asks for a page as a user with a role, with the right form token, or with another one."""

    def send(page, role, *, token=None):
        browser = sign_in_for(page, role)
        if page.method == "GET":
            return browser.get(filled(page.path), follow_redirects=False)
        data = {"form_token": browser.form_token() if token is None else token}
        return client.post(filled(page.path), data=data, follow_redirects=False)

    return send


def test_a_page_is_only_accessible_to_its_role(client, ask):
    """One test for all routes: a server for each would take most of the time."""
    wrong = []
    for page in PROTECTED:
        client.cookies.clear()
        answer = client.request(page.method, filled(page.path), follow_redirects=False)
        location = answer.headers.get("location", "").partition("?")[0]
        if (answer.status_code, location) != (303, "/sign-in"):
            wrong.append((name_of(page), None, answer.status_code))
        for role in ROLES:
            answer = ask(page, role)
            if ROLES.index(role) < ROLES.index(page.role):
                is_right = (
                    answer.status_code == 403
                    and f"but {page.role} is required" in answer.text
                    and "Ask an administrator" in answer.text
                )
            else:
                is_right = answer.status_code != 403 and answer.status_code < 500
            if not is_right or answer.headers["cache-control"] != "no-store":
                wrong.append((name_of(page), role, answer.status_code))
    assert wrong == []


def test_a_forged_form_changes_nothing(client, ask, sign_in_as, installation):
    of_another = sign_in_as(client, "another", "admin").form_token()
    wrong = []
    for page in PROTECTED:
        for token in ("", "x", of_another) if page.method == "POST" else ():
            answer = ask(page, "admin", token=token)
            is_told = "The form is from another session." in answer.text
            if (answer.status_code, is_told) != (403, True):
                wrong.append((name_of(page), token, answer.status_code))
    assert wrong == []
    assert {each.outcome for each in installation.store.audit.list()} == {"forged"}


def test_forms_without_sign_in_are_protected_against_forgery(client):
    answers = {
        name_of(page): client.post(filled(page.path), data=data).status_code
        for page in OPEN
        for data in ({}, {"form_token": "x"})
        if page.method == "POST"
    }
    assert set(answers.values()) == {403}


def test_public_pages_require_no_sign_in(client):
    for page in OPEN:
        if page.method == "GET":
            answer = client.get(filled(page.path), follow_redirects=False)
            assert "is required" not in answer.text
            assert answer.status_code < 500


def test_an_operation_is_only_available_to_its_role(client, sign_in_for):
    """Over HTTP a session may read what its role may, and change nothing. In process, for pages, it
    may what its role may."""
    wrong = []
    for operation in OPERATIONS:
        for role in ROLES if operation.role is not None else ():
            is_enough = ROLES.index(role) >= ROLES.index(operation.role)
            browser = sign_in_for(operation, role)
            status = browser.client.request(operation.method, filled(operation.path)).status_code
            if operation.method != "GET":
                is_right = status == 401
            else:
                is_right = (status != 403) == is_enough and status not in (401, 500)
            within = _status_within(client.application.rest, operation, role)
            if not is_right or (within != 403) != is_enough:
                wrong.append((name_of(operation), role, status, within))
    assert wrong == []


def _status_within(rest, operation, role) -> int:
    """How a page is answered that asks for an operation. Metrics are no JSON, which pages need."""
    if operation.path == "/metrics":
        return 200
    parts, wanted = filled(operation.path).split("/"), operation.path.split("/")
    names = re.findall(r"{(\w+)}", operation.path)
    values = {name: parts[wanted.index(f"{{{name}}}")] for name in names}
    caller = Caller("user", f"user-{role}", role, session=10**6)
    try:
        asyncio.run(rest.call(caller, operation.method, operation.path, parameters=values))
    except Refusal as refusal:
        return refusal.status
    return 200
