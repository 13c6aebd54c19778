"""The sandbox refuses and tells as GitHub does: what the kit's checks rest on."""

from __future__ import annotations

import base64

import pytest
import requests
from urllib3.util import SKIP_HEADER

from deploycore.testing.scenarios import MANY, ONE, Access


@pytest.fixture
def ask(sandbox):
    """Asks as a credential: ``ask("/user", "classic", Access.LEAST)``."""

    def send(path, mode="token", access=Access.FULL, **headers):
        secret = sandbox.add_credential(mode, access).secret.get_secret_value()
        return requests.get(
            f"{sandbox.url}/api/v3{path}",
            headers={"Authorization": f"Bearer {secret}", **headers},
            allow_redirects=False,
        )

    return send


def test_links_have_numbers_in_the_place_of_names_and_all_relations(sandbox, ask):
    sandbox.arrange(MANY)
    link = ask("/repos/ada/branches/branches?per_page=100&page=2").headers["Link"]
    number = sandbox.repository("ada", "branches").number
    at = f"{sandbox.url}/api/v3/repositories/{number}/branches?per_page=100"
    assert link == ", ".join(
        f'<{at}&page={page}>; rel="{name}"'
        for name, page in [("prev", 1), ("next", 3), ("last", 3), ("first", 1)]
    )


def test_one_page_has_no_links(sandbox, ask):
    sandbox.arrange(ONE)
    assert "Link" not in ask("/user/repos").headers


@pytest.mark.parametrize(("asked", "given"), [("", 30), ("?per_page=250", 100)])
def test_pages_have_thirty_items_unless_asked_and_a_hundred_at_most(sandbox, ask, asked, given):
    sandbox.arrange(MANY)
    assert len(ask(f"/user/repos{asked}").json()) == given


def test_errors_have_githubs_shape(ask):
    answer = ask("/repos/ada/nowhere")
    assert answer.status_code == 404
    assert answer.json() == {
        "message": "Not Found",
        "documentation_url": "https://docs.github.com/rest",
        "status": "404",
    }


def test_every_answer_tells_the_limit(ask):
    for path in ("/user", "/nowhere"):
        headers = ask(path).headers
        assert int(headers["X-RateLimit-Remaining"]) < int(headers["X-RateLimit-Limit"]) == 5000


def test_scopes_are_told_of_classic_tokens_alone(sandbox, ask):
    sandbox.arrange(ONE)
    assert ask("/repos/ada/shop", "classic").headers["X-OAuth-Scopes"] == "repo"
    hidden = ask("/repos/ada/shop", "classic", Access.UNSCOPED)
    assert (hidden.status_code, hidden.headers["X-OAuth-Scopes"]) == (404, "")
    assert hidden.headers["X-Accepted-OAuth-Scopes"] == "repo"
    refused = ask("/repos/ada/shop", access=Access.UNSCOPED)
    assert refused.status_code == 403
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "metadata=read"
    assert "X-OAuth-Scopes" not in refused.headers


def test_a_program_without_a_name_and_an_unknown_version_are_refused(ask):
    assert ask("/user", **{"User-Agent": SKIP_HEADER}).status_code == 403
    assert ask("/user", **{"X-GitHub-Api-Version": "1999-01-01"}).status_code == 400


def test_an_app_can_not_be_asked_for_by_its_key_or_a_token(sandbox, ask):
    answer = ask("/app/installations/5001")
    assert answer.status_code == 401
    assert answer.json()["message"] == "A JSON web token could not be decoded"


@pytest.mark.parametrize(
    ("mode", "access", "status", "said"),
    [
        ("token", Access.FULL, 200, ""),
        ("token", Access.WRONG, 401, "Invalid username or token."),
        ("token", Access.UNSCOPED, 403, "Write access to repository not granted."),
        ("classic", Access.LEAST, 200, ""),
        ("classic", Access.UNSCOPED, 404, "Repository not found."),
        (None, None, 401, "Repository not found."),
    ],
)
def test_the_git_server_refuses_in_githubs_words(sandbox, mode, access, status, said):
    sandbox.arrange(ONE)
    headers = {}
    if mode is not None:
        secret = sandbox.add_credential(mode, access).secret.get_secret_value()
        pair = base64.b64encode(f"anything:{secret}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    answer = requests.get(
        f"{sandbox.url}/ada/shop.git/info/refs?service=git-upload-pack", headers=headers
    )
    assert answer.status_code == status
    assert said in answer.text
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="GitHub"'
