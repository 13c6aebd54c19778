"""Pages and operations can be reached with any valid name. The tests are created from both
tables."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr
from starlette.routing import Match

from deploycore.configuration import NAME_PATTERN
from deploycore.server.dashboard.table import PAGES
from deploycore.server.openapi import _PARAMETERS
from deploycore.server.rest.table import OPERATIONS
from tests.server.routes import words_of

TABLES = [*PAGES, *OPERATIONS]
NAMES = {name for name, schema in _PARAMETERS.items() if schema.get("pattern") == NAME_PATTERN}
WORDS = sorted(words_of(each.path for each in TABLES))


def found_at(routes, method, path) -> str:
    """The path of the route that answers a request."""
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    return next(each.path for each in routes if each.matches(scope)[0] is Match.FULL)


def named_like(path: str, word: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: word if found[1] in NAMES else "1", path)


def test_no_resource_name_conflicts_with_a_fixed_path(serving):
    routes = serving().application.asgi.routes
    wrong = []
    for route in TABLES:
        named = set(re.findall(r"{(\w+)}", route.path)) & NAMES
        for word in WORDS if named else ():
            path = named_like(route.path, word)
            if found_at(routes, route.method, path) != route.path:
                wrong.append((route.method, path))
    assert wrong == []
    assert {"new", "settings", "recognize"} <= {*WORDS}


@pytest.mark.parametrize("name", ["new", "edit"])
def test_a_resource_named_like_a_form_page_can_be_opened(browser, installation, create, name):
    installation.add_provider(name, "acme", {}, {"token": SecretStr("hunter2-of-acme")})
    create(name)
    installation.store.users.add(name, role="read")
    for path in ("applications", "providers", "users"):
        page = browser.get(f"/{path}/{name}")
        assert (page.status_code, f"<h1>{name}</h1>" in page.text) == (200, True), path
        assert f"<h1>{name}</h1>" not in browser.get(f"/{path}/-/new").text
