"""The check against the API's description: it accepts the sandbox's responses, and finds responses
that do not match."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from deploycore_bitbucket.sandbox import Fault, Sandbox, faults

from tests.openapi import BESIDE_THE_REPOSITORY, VARIABLE, exemption, find_description

pytestmark = pytest.mark.outside_description(reason="checks by itself what it makes")


@pytest.fixture
def description(bitbucket_description):
    if find_description() is None:
        pytest.skip(f"no description of the API: neither {VARIABLE} nor {BESIDE_THE_REPOSITORY}")
    return bitbucket_description()


@pytest.fixture
def exchange(sandbox, get, monkeypatch):
    """Returns a function that requests a path and returns the exchange that a watcher of the
    sandbox saw."""
    token = sandbox.add_access_token("acme")
    sandbox.add_repository("acme", "shop", files={"a": b"1"})
    seen = []
    monkeypatch.setattr(Sandbox, "watchers", [seen.append])

    def ask(path="/repositories/acme/shop", **params):
        get(path, token, **params)
        return seen[-1]

    return ask


def doctored(exchange, **changes):
    body = {**exchange.answer.json(), **changes}
    return replace(exchange, answer=replace(exchange.answer, body=json.dumps(body).encode()))


@pytest.mark.parametrize(
    "path",
    [
        "/repositories/acme",
        "/repositories/acme/shop",
        "/repositories/acme/shop/refs/branches",
        "/repositories/acme/shop/refs/branches/main",
        "/repositories/acme/nothing",
        "/workspaces/acme",
        "/workspaces/nobody",
        "/user",
        "/repositories",
    ],
)
def test_the_sandbox_matches_the_api_description(description, exchange, path):
    found = exchange(path)
    assert exemption(found) == ""
    assert description.violation(found) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"full_name": 7},
        {"is_private": "yes"},
        {"created_on": "yesterday"},
        {"scm": "svn"},
        {"type": None},
        {"links": {"self": {"href": "http://x", "extra": 1}}},
        {"links": {"somewhere": {"href": "http://x"}}},
        {"owner": {"display_name": "no type"}},
        {"mainbranch": "main"},
    ],
)
def test_a_modified_response_is_detected(description, exchange, change):
    found = exchange()
    assert description.violation(found) == ""
    assert "/repositories/acme/shop" in description.violation(doctored(found, **change))


def test_a_modified_part_of_a_page_is_detected(description, exchange):
    found = exchange("/repositories/acme", fields="values.name")
    assert description.violation(found) == ""
    assert description.violation(doctored(found, values=[{"name": 1}])) != ""
    assert description.violation(doctored(found, surprise=True)) != ""


@pytest.mark.parametrize("params", [{"pagelem": "100"}, {"role": "king"}])
def test_an_undocumented_request_is_detected(description, exchange, params):
    found = exchange("/repositories/acme")
    target = f"{found.request.path}?{'&'.join(f'{key}={value}' for key, value in params.items())}"
    wrong = replace(found, request=replace(found.request, target=target))
    assert description.violation(wrong) != ""


def test_an_undocumented_path_is_detected(description, exchange):
    assert description.violation(exchange("/nothing/here")) != ""


def test_an_error_response_without_an_error_object_is_detected(description, exchange):
    found = exchange("/repositories/acme/nothing")
    assert description.violation(doctored(found, type="repository")) != ""


def test_an_undocumented_success_is_detected(description, exchange):
    found = exchange()
    odd = replace(found, answer=replace(found.answer, status=206))
    assert description.violation(odd) != ""


def test_every_exemption_has_a_reason(sandbox, exchange, session, get):
    assert exemption(exchange()) == ""
    sandbox.faults.add(Fault(faults.html(), times=1))
    assert exemption(exchange()) == "injected fault: answer 200"
    sandbox.faults.add(Fault(faults.latency(0.001), times=1))
    assert exemption(exchange()) == ""


def test_a_watcher_sees_no_secret(sandbox, exchange):
    secret = sandbox.credentials[0].secret.get_secret_value()
    seen = exchange()
    assert seen.request.headers["authorization"] == "Bearer"
    assert secret not in repr(seen)
