"""The check against the API's description: it accepts the sandbox's responses, and finds responses
that do not match.

The description may not be distributed with deploycore. If it is missing, these tests are skipped.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import requests
from deploycore.errors import UnexpectedAnswer
from deploycore.http import parse_answer
from deploycore.testing.scenarios import ONE
from tests.described import Schemas
from tests.openapi_data_center import (
    BESIDE_THE_REPOSITORY,
    VARIABLE,
    exemption,
    find_description,
)

from deploycore_bitbucket_datacenter.answers import (
    BranchAnswer,
    ProjectAnswer,
    PullRequestAnswer,
    RepositoryAnswer,
    TagAnswer,
)
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox

pytestmark = [
    pytest.mark.outside_description(reason="checks by itself what it makes"),
    pytest.mark.skipif(
        find_description() is None,
        reason=f"no description of the API: neither {VARIABLE} nor {BESIDE_THE_REPOSITORY}",
    ),
]


@pytest.fixture
def description(descriptions):
    return descriptions["Bitbucket Data Center"]()


@pytest.fixture
def exchange(sandbox, monkeypatch):
    """Returns a function that requests a path and returns the exchange that a watcher of the
    sandbox saw."""
    sandbox.arrange(ONE)
    token = sandbox.add_credential("personal-token").secret.get_secret_value()
    seen = []
    monkeypatch.setattr(BitbucketDataCenterSandbox, "watchers", [seen.append])

    def ask(path="projects/WEB/repos/shop", **params):
        url = f"{sandbox.base_url}/rest/api/latest/{path}"
        headers = {"Authorization": f"Bearer {token}"}
        requests.get(url, params=params, headers=headers, timeout=10)
        return seen[-1]

    return ask


def doctored(exchange, **changes):
    body = {**exchange.answer.json(), **changes}
    return replace(exchange, answer=replace(exchange.answer, body=json.dumps(body).encode()))


@pytest.mark.parametrize(
    "path",
    [
        "projects",
        "projects/WEB/repos",
        "projects/WEB/repos/shop",
        "projects/WEB/repos/shop/branches",
        "projects/WEB/repos/shop/tags",
        "projects/WEB/repos/shop/webhooks",
        "projects/WEB/repos/shop/pull-requests",
        "projects/WEB/repos/shop/default-branch",
        "projects/WEB/repos/nowhere",
        "projects/rival/repos/hidden",
        "profile/recent/repos",
        "repos",
        "application-properties",
    ],
)
def test_the_sandbox_matches_the_api_description(description, exchange, path):
    found = exchange(path)
    assert exemption(found) == ""
    assert description.violation(found) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"slug": 7},
        {"public": "yes"},
        {"state": "GONE"},
        {"project": {"name": "no key"}},
        {"project": {"key": "WEB", "type": "OTHER"}},
        {"surprise": True},
        {"links": []},
    ],
)
def test_a_modified_response_is_detected(description, exchange, change):
    found = exchange()
    assert description.violation(found) == ""
    assert "/projects/WEB/repos/shop" in description.violation(doctored(found, **change))


def test_a_modified_part_of_a_page_is_detected(description, exchange):
    found = exchange("projects/WEB/repos")
    assert description.violation(doctored(found, nextPageStart="7")) != ""
    assert description.violation(doctored(found, values=[{"slug": 1}])) != ""
    assert description.violation(doctored(found, next="https://x")) != ""


@pytest.mark.parametrize("params", [{"limmit": "100"}, {"permission": "REPO_WATCH"}])
def test_an_undocumented_request_is_detected(description, exchange, params):
    assert description.violation(exchange("repos")) == ""
    assert description.violation(exchange("repos", **params)) != ""


def test_an_undocumented_path_is_detected(description, exchange):
    assert description.violation(exchange("nothing/here")) != ""


def test_an_error_response_without_errors_is_detected(description, exchange):
    found = exchange("projects/WEB/repos/nowhere")
    assert description.violation(found) == ""
    assert description.violation(doctored(found, errors=[])) != ""


def test_a_watcher_sees_no_secret(sandbox, exchange):
    secret = sandbox.credentials[0].secret.get_secret_value()
    seen = exchange()
    assert seen.request.headers["authorization"] == "Bearer"
    assert secret not in repr(seen)


TEXTS = {
    "key": "PRJ",
    "slug": "my-repo",
    "id": "refs/heads/main",
    "latestCommit": "8d51122def5632836d1cb1026e879069e10a1e13",
}
READERS = {
    "RestProject": (ProjectAnswer, lambda answer: "key" in answer),
    "RestRepository": (
        RepositoryAnswer,
        lambda answer: "slug" in answer and "key" in answer.get("project", {}),
    ),
    "RestBranch": (BranchAnswer, lambda answer: {"id", "latestCommit"} <= answer.keys()),
    "RestTag": (TagAnswer, lambda answer: {"id", "latestCommit"} <= answer.keys()),
    "RestPullRequest": (
        PullRequestAnswer,
        lambda answer: (
            {"id", "state", "fromRef", "toRef"} <= answer.keys()
            and all("id" in answer[name] for name in ("fromRef", "toRef"))
        ),
    ),
}


@pytest.fixture(scope="module")
def schemas():
    whole = json.loads(find_description().read_bytes())
    for name in ("origin", "participants", "reviewers", "relatedLinks"):
        _leave_out(whole["components"]["schemas"], name)
    return Schemas(whole, TEXTS)


def _leave_out(value, name):
    """What is not read, and would multiply the answers."""
    if isinstance(value, dict):
        value.get("properties", {}).pop(name, None)
        for inner in value.values():
            _leave_out(inner, name)


@pytest.mark.parametrize("schema", READERS)
def test_every_valid_response_is_parsed_or_lacks_a_required_field(schemas, schema):
    expected, is_enough = READERS[schema]
    read = 0
    for answer in schemas.valid(schema):
        try:
            parse_answer(expected, answer, what="an answer")
        except UnexpectedAnswer:
            assert not is_enough(answer), answer
        else:
            read += 1
    assert read > 1
