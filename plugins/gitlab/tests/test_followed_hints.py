"""After the instruction in a hint of GitLab's errors was followed, the operation succeeds."""

from __future__ import annotations

import json
import re

import pytest
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied, RateLimited
from deploycore.models import RepositoryId
from deploycore.testing.faults import Fault, answer
from deploycore.testing.scenarios import ONE, Access

SHOP = RepositoryId(owner="acme/platform", slug="shop")


@pytest.fixture(autouse=True)
def shop(sandbox):
    (arranged,) = sandbox.arrange(ONE)
    return arranged


def refusing(status, message):
    body = json.dumps({"message": message})
    return Fault(answer(status, body, content_type="application/json"))


def test_a_token_with_the_scopes_of_the_hint_lists_projects(sandbox, connect):
    narrow = sandbox.add_credential("access-token", scopes=["read_user"])
    with pytest.raises(PermissionDenied, match="lacks the scope") as caught:
        list(connect(sandbox, narrow).list_repos())
    wanted = re.search(r"scopes=([\w,]+)", caught.value.hint)[1].split(",")
    made = sandbox.add_credential("access-token", scopes=wanted)
    assert list(connect(sandbox, made).list_repos())


def test_a_fine_grained_token_with_the_permissions_of_the_hint_lists_branches(sandbox, connect):
    narrow = sandbox.add_credential("access-token", scopes=["granular"])
    with pytest.raises(PermissionDenied) as caught:
        list(connect(sandbox, narrow).list_branches(SHOP))
    wanted = re.findall(r"(?:Project|Branch|Code): \w+", caught.value.hint)
    made = sandbox.add_credential("access-token", scopes=["granular", *wanted])
    assert list(connect(sandbox, made).list_branches(SHOP))


@pytest.mark.parametrize(
    ("status", "message", "kind", "hint"),
    [
        (403, "403 Forbidden", PermissionDenied, "at least the role Reporter"),
        (404, "404 Repository Not Found", NotFound, "Settings > General > Visibility"),
    ],
)
def test_a_project_is_readable_after_a_maintainer_changed_its_settings(
    sandbox, connect, status, message, kind, hint
):
    provider = connect(sandbox)
    sandbox.faults.add(refusing(status, message))
    with pytest.raises(kind) as caught:
        list(provider.list_branches(SHOP))
    assert hint in caught.value.hint
    sandbox.faults.clear()
    assert list(provider.list_branches(SHOP))


@pytest.mark.parametrize(("seconds", "hint"), [(600, "Try again after "), (None, "few minutes")])
def test_after_the_rate_limit_projects_are_listed(sandbox, connect, seconds, hint):
    sandbox.faults.add(Fault(sandbox.rate_limited(seconds)))
    with pytest.raises(RateLimited) as caught:
        list(connect(sandbox).list_repos())
    assert hint in caught.value.hint
    sandbox.faults.clear()
    assert list(connect(sandbox).list_repos())


@pytest.mark.parametrize("access", [Access.EXPIRED, Access.WRONG])
def test_a_new_token_replaces_a_rejected_one(sandbox, connect, access):
    with pytest.raises(AuthenticationFailed) as caught:
        connect(sandbox, sandbox.add_credential("access-token", access)).authenticate()
    wanted = re.search(r"scopes=([\w,]+)", caught.value.hint)[1].split(",")
    made = sandbox.add_credential("access-token", scopes=wanted)
    assert connect(sandbox, made).authenticate()


def test_the_group_is_found_by_the_full_path_in_the_web_address(sandbox, connect):
    with pytest.raises(NotFound) as caught:
        list(connect(sandbox, namespace="acme/plattform").list_repos())
    assert "not its display name" in caught.value.hint
    assert list(connect(sandbox, namespace="acme/platform").list_repos())
