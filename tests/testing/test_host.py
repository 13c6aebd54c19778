"""The loopback host: routes, its log without secrets, and errors in it."""

from __future__ import annotations

from typing import ClassVar

import pytest
import requests
from pydantic import SecretStr

from deploycore.errors import ConfigurationError
from deploycore.testing.host import LoopbackHost, route_of
from deploycore.testing.messages import Refusal, Request, json_answer, text_answer

ROUTES = {
    "GET /user": "user",
    "GET /owners/{owner}": "owner",
    "POST /owners/{owner}": "new",
    "GET /owners/{owner}/files/{path*}": "file",
    "GET /owners/{owner}/{kind}": "kind",
}


@pytest.mark.parametrize(
    ("method", "target", "found", "names"),
    [
        ("GET", "/user", "user", {}),
        ("GET", "/user/?page=2", "user", {}),
        ("GET", "/owners/ada", "owner", {"owner": "ada"}),
        ("POST", "/owners/ada", "new", {"owner": "ada"}),
        ("GET", "/owners/a%2Fb%20c", "owner", {"owner": "a/b c"}),
        ("GET", "/owners/ada/files/a/b.txt", "file", {"owner": "ada", "path": "a/b.txt"}),
        ("GET", "/owners/ada/files/a%2Fb", "file", {"owner": "ada", "path": "a/b"}),
        ("GET", "/owners/ada/files", "kind", {"owner": "ada", "kind": "files"}),
    ],
)
def test_a_request_uses_the_first_matching_route(method, target, found, names):
    assert route_of(ROUTES, Request(method, target, {})) == (found, names)


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/"), ("PUT", "/user"), ("GET", "/users"), ("GET", "/owners")]
)
def test_a_request_without_a_matching_route_has_none(method, target):
    assert route_of(ROUTES, Request(method, target, {})) is None


def refuse(request):
    raise Refusal(text_answer("not you", 403))


def fail(request):
    raise ValueError("the token is s3cret-s3cret")


class Secretive(LoopbackHost):
    """A host that knows a secret."""

    secrets = (SecretStr("s3cret-s3cret"),)


@pytest.fixture
def host():
    routes = {
        "GET /name/{name}": lambda request, name: json_answer({"name": name}),
        "GET /refused": refuse,
        "GET /failing": fail,
    }
    with Secretive(routes=routes) as running:
        yield running


def get(host, path):
    """What a host answers."""
    return requests.get(f"{host.url}{path}", timeout=10)


def test_routes_receive_the_parameters_of_their_path(host):
    assert get(host, "/name/größe%2F1").json() == {"name": "größe/1"}


def test_an_unknown_path_is_not_found(host):
    found = get(host, "/nowhere")
    assert (found.status_code, found.text) == (404, "There is no GET /nowhere here.\n")


def test_an_error_of_a_route_becomes_a_response(host):
    found = get(host, "/refused")
    assert (found.status_code, found.text) == (403, "not you")
    assert host.crashes == []


def test_a_failing_route_is_a_server_error_without_secrets(host):
    assert get(host, "/failing").status_code == 500
    (crash,) = host.crashes
    assert "ValueError: the token is ********" in crash
    assert "s3cret" not in crash


def test_the_log_contains_every_request_and_no_secret(host):
    get(host, "/name/s3cret-s3cret?token=s3cret-s3cret")
    get(host, "/nowhere")
    assert host.request_count == 2
    assert [(row.method, row.path, row.query, row.status) for row in host.requests] == [
        ("GET", "/name/********", "token=********", 200),
        ("GET", "/nowhere", "", 404),
    ]


def test_a_host_that_is_not_running_has_no_address():
    with pytest.raises(ConfigurationError, match="does not run"):
        _ = LoopbackHost().url


def test_a_host_can_be_stopped_twice():
    host = LoopbackHost().start()
    host.stop()
    host.stop()
    with pytest.raises(ConfigurationError):
        _ = host.url


def test_watchers_see_each_exchange_of_their_class_without_credentials():
    seen, others = [], []

    class Watched(LoopbackHost):
        watchers: ClassVar = [seen.append]

    class Other(LoopbackHost):
        watchers: ClassVar = [others.append]

    routes = {"GET /x": lambda request: json_answer({"a": 1})}
    with Watched(routes=routes) as host, Other():
        requests.get(f"{host.url}/x", headers={"Authorization": "Bearer hunter2"}, timeout=10)
        requests.get(f"{host.url}/y", timeout=10)
    assert [each.request.path for each in seen] == ["/x", "/y"]
    assert seen[0].request.headers["authorization"] == "Bearer"
    assert (seen[0].answer.json(), seen[1].answer.status) == ({"a": 1}, 404)
    assert others == []
