"""The base class of sandboxes: credentials, permissions, git, and scenarios."""

from __future__ import annotations

import base64

import pytest
import requests

from deploycore.errors import NotFound
from deploycore.testing.git_http import is_git_request
from deploycore.testing.messages import Request, json_answer
from deploycore.testing.sandbox import Sandbox, credentials_of
from deploycore.testing.scenarios import EMPTY, MANY, ODD, ODD_BRANCHES, ONE, TWO, Access


class Small(Sandbox):
    """A host with three addresses."""

    SCOPES = ("read", "write")
    PREFIX = "small_"

    def settings(self, credential):
        return {"url": self.url, "token": credential.secret}

    def routes(self):
        return {
            "GET /user": lambda request: json_answer(self.caller(request).username),
            "GET /listed": self.listed,
            "GET /{owner}/{slug}": self.one,
            "GET /failing": self.failing,
        }

    def listed(self, request):
        self.caller(request, "read")
        return self.page(request, self.owned(request.query.get("owner", "ada")), lambda x: x.slug)

    def one(self, request, owner, slug):
        self.caller(request)
        return json_answer(dict(self.branches(self.repository(owner, slug))))

    def failing(self, request):
        secret = self.caller(request).secret.get_secret_value()
        raise ValueError(f"failed with {secret}")


@pytest.fixture
def sandbox():
    with Small() as running:
        yield running


@pytest.fixture
def ask(sandbox):
    """Asks the sandbox as somebody with these rights, or as nobody."""

    def asked(path, access=Access.FULL, *, git=False):
        headers = {}
        if access is not None:
            secret = sandbox.add_credential("token", access).secret.get_secret_value()
            basic = base64.b64encode(f"anybody:{secret}".encode()).decode()
            headers["Authorization"] = f"Basic {basic}" if git else f"Bearer {secret}"
        return requests.get(f"{sandbox.url}{path}", headers=headers, timeout=10)

    return asked


@pytest.mark.parametrize(
    ("access", "user", "listed"),
    [
        (Access.FULL, 200, 200),
        (Access.LEAST, 200, 200),
        (Access.UNSCOPED, 200, 403),
        (Access.EXPIRED, 401, 401),
        (Access.WRONG, 401, 401),
        (None, 401, 401),
    ],
)
def test_credentials_are_valid_for_their_purpose(ask, access, user, listed):
    assert ask("/user", access).status_code == user
    assert ask("/listed", access).status_code == listed


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"authorization": "Bearer abc"}, (None, "abc")),
        ({"authorization": "token abc"}, (None, "abc")),
        ({"authorization": "Basic " + base64.b64encode(b"ada:a:b").decode()}, ("ada", "a:b")),
        ({"authorization": "Basic %%%"}, (None, "")),
        ({"authorization": "Digest abc"}, (None, "")),
        ({"acme-token": "abc"}, (None, "abc")),
        ({}, (None, "")),
    ],
)
def test_credentials_are_read_from_the_headers_used_by_git_hosts(headers, found):
    assert credentials_of(Request("GET", "/", headers), token_header="Acme-Token") == found


def test_an_unsupported_header_contains_no_credentials():
    request = Request("GET", "/", {"acme-token": "abc"})
    assert credentials_of(request) == (None, "")


@pytest.mark.parametrize("scenario", [EMPTY, ONE, TWO, ODD, MANY], ids=lambda each: each.name)
def test_the_arranged_repositories_exist(sandbox, scenario):
    arranged = sandbox.arrange(scenario)
    assert [row.slug for row in arranged] == [row.slug for row in scenario.repositories]
    assert [row.slug for row in sandbox.owned("ada")] == [row.slug for row in arranged]
    for row, wanted in zip(arranged, scenario.repositories, strict=True):
        names = {wanted.default_branch, *wanted.branches} if wanted.files is not None else set()
        assert set(row.branches) == names


def test_a_new_scenario_replaces_the_previous_one(sandbox, ask):
    sandbox.arrange(TWO)
    sandbox.arrange(ONE)
    assert ask("/listed").json() == ["shop"]
    assert ask("/ada/engine").status_code == 404


def test_a_repository_of_another_owner_is_hidden(sandbox, ask):
    sandbox.arrange(ONE)
    assert ask("/ada/shop").status_code == 200
    assert ask("/rival/hidden").status_code == 404
    assert ask("/listed?owner=rival").json() == []
    assert ask("/listed?owner=nobody").status_code == 404


def test_branches_with_unusual_names_exist_under_those_names(sandbox, ask):
    sandbox.arrange(ODD)
    assert set(ask("/ada/plain").json()) == set(ODD_BRANCHES)


def test_an_unknown_owner_cannot_have_repositories(sandbox):
    with pytest.raises(NotFound, match="no owner 'nobody'"):
        sandbox.add_repository("nobody", "shop")


def test_a_failing_route_is_a_server_error_without_the_secret(sandbox, ask):
    assert ask("/failing").status_code == 500
    (crash,) = sandbox.crashes
    assert "ValueError: failed with ********" in crash
    assert "small_" not in crash


REFS = "/info/refs?service=git-upload-pack"


@pytest.mark.parametrize(
    ("repository", "access", "status"),
    [
        ("ada/notes", None, 200),
        ("ada/notes", Access.LEAST, 200),
        ("ada/notes", Access.WRONG, 401),
        ("ada/engine", None, 401),
        ("ada/engine", Access.LEAST, 200),
        ("ada/engine.git", Access.LEAST, 200),
        ("ada/engine", Access.UNSCOPED, 403),
        ("ada/engine", Access.EXPIRED, 401),
        ("rival/hidden", Access.FULL, 404),
        ("ada/nothing", Access.FULL, 404),
    ],
)
def test_git_requires_read_access(sandbox, ask, repository, access, status):
    sandbox.arrange(TWO)
    found = ask(f"/{repository}{REFS}", access, git=True)
    assert found.status_code == status
    assert ("WWW-Authenticate" in found.headers) == (status == 401)


def test_git_rejects_a_bearer_token(sandbox, ask):
    sandbox.arrange(TWO)
    assert ask(f"/ada/engine{REFS}").status_code == 401


def test_an_unknown_git_service_is_rejected(sandbox, ask):
    sandbox.arrange(TWO)
    found = ask("/ada/engine/info/refs?service=git-archive", git=True)
    assert (found.status_code, found.text) == (403, "Please upgrade your git client\n")


@pytest.mark.parametrize(
    ("target", "git"),
    [
        (f"/ada/shop.git{REFS}", True),
        ("/ada/shop.git/git-upload-pack", True),
        ("/ada/shop.git/git-receive-pack", True),
        ("/api/refs", False),
    ],
)
def test_requests_of_git_clients_are_recognized_by_their_path(target, git):
    assert is_git_request(Request("GET", target, {})) is git


def test_the_demo_contains_example_data():
    demo = Small.demo()
    try:
        assert [row.slug for row in demo.owned("ada")] == ["shop", "notes"]
        assert [each.title for each in demo.connections] == ["Token"]
    finally:
        demo.stop()
