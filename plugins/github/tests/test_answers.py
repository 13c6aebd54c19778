"""Samples from GitHub's documentation, and the models that they are converted to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from deploycore_github.answers import (
    BranchAnswer,
    InstallationAnswer,
    InstallationRepositoriesAnswer,
    InstallationTokenAnswer,
    RepositoryAnswer,
    UserAnswer,
    token_details,
)
from deploycore_github.webhooks import HookAnswer
from requests.structures import CaseInsensitiveDict

from deploycore.errors import UnexpectedAnswer
from deploycore.http import parse_answer, parse_items
from deploycore.models import Account, Branch, CloneLink, Owner, Repository

HASH = "c5b97d5ae6c19d5c5df71a34c7fbeeda2479ccbc"

# https://docs.github.com/en/rest/repos/repos#list-organization-repositories
REPOSITORY = {
    "id": 1296269,
    "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5",
    "name": "Hello-World",
    "full_name": "octocat/Hello-World",
    "owner": {"login": "octocat", "id": 1, "type": "User", "site_admin": False},
    "private": False,
    "html_url": "https://github.com/octocat/Hello-World",
    "description": "This your first repo!",
    "fork": False,
    "url": "https://api.github.com/repos/octocat/Hello-World",
    "clone_url": "https://github.com/octocat/Hello-World.git",
    "git_url": "git:github.com/octocat/Hello-World.git",
    "ssh_url": "git@github.com:octocat/Hello-World.git",
    "language": None,
    "size": 108,
    "topics": ["octocat", "api"],
    "pushed_at": "2011-01-26T19:06:43Z",
    "updated_at": "2011-01-26T19:14:43Z",
    "default_branch": "master",
    "archived": False,
    "visibility": "public",
    "permissions": {"admin": False, "push": False, "pull": True},
}
HELLO_WORLD = Repository(
    host_id="1296269",
    name="Hello-World",
    slug="Hello-World",
    url="https://github.com/octocat/Hello-World",
    commit_url="https://github.com/octocat/Hello-World/commit/{commit}",
    owner=Owner(username="octocat"),
    default_branch="master",
    private=False,
    clone_links=(
        CloneLink(name="https", href="https://github.com/octocat/Hello-World.git"),
        CloneLink(name="ssh", href="git@github.com:octocat/Hello-World.git"),
    ),
    archived=False,
    size=108 * 1024,
    topics=("octocat", "api"),
    updated_at=datetime(2011, 1, 26, 19, 14, 43, tzinfo=UTC),
)


def test_a_repository():
    assert parse_answer(RepositoryAnswer, REPOSITORY, what="it").repository() == HELLO_WORLD


@pytest.mark.parametrize("wrong", ["", "yesterday", -1, [], {}, ["x", 1], None])
def test_invalid_display_fields_are_none(wrong):
    fields = ("archived", "size", "topics", "pushed_at", "updated_at")
    answer = {**REPOSITORY, **dict.fromkeys(fields, wrong)}
    found = parse_answer(RepositoryAnswer, answer, what="it").repository()
    nothing = {"archived": None, "size": None, "topics": (), "updated_at": None}
    assert found.model_copy(update=nothing) == HELLO_WORLD.model_copy(update=nothing)
    assert (found.archived, found.size if wrong != -1 else None) == (None, None)


def test_an_internal_repository_is_not_public():
    internal = {**REPOSITORY, "private": True, "visibility": "internal"}
    assert parse_answer(RepositoryAnswer, internal, what="it").repository().private


def test_a_page_of_an_installation():
    # https://docs.github.com/en/rest/apps/installations#list-repositories-accessible-to-the-app-installation
    page = {"total_count": 1, "repositories": [REPOSITORY]}
    found = parse_answer(InstallationRepositoriesAnswer, page, what="it")
    read = RepositoryAnswer.repository
    assert parse_items(RepositoryAnswer, found.repositories, what="it", read=read) == [HELLO_WORLD]


def test_a_branch():
    # https://docs.github.com/en/rest/branches/branches#list-branches
    answer = {
        "name": "release/2.0",
        "commit": {
            "sha": HASH,
            "url": f"https://api.github.com/repos/octocat/Hello-World/commits/{HASH}",
        },
        "protected": True,
        "protection": {"required_status_checks": {"enforcement_level": "non_admins"}},
    }
    found = parse_answer(BranchAnswer, answer, what="it").branch()
    assert found == Branch(name="release/2.0", commit=HASH)


@pytest.mark.parametrize(
    ("name", "shown"), [("monalisa octocat", "monalisa octocat"), (None, None)]
)
def test_a_user(name, shown):
    # https://docs.github.com/en/rest/users/users#get-the-authenticated-user
    answer = {"login": "octocat", "id": 1, "type": "User", "name": name, "plan": {"name": "pro"}}
    found = parse_answer(UserAnswer, answer, what="it").account()
    assert found == Account(username="octocat", display_name=shown)


def test_an_installation():
    # https://docs.github.com/en/rest/apps/apps#get-an-installation-for-the-authenticated-app
    answer = {
        "id": 1,
        "account": {"login": "github", "id": 1, "type": "Organization"},
        "app_id": 1,
        "target_type": "Organization",
        "permissions": {"metadata": "read", "contents": "read"},
        "events": ["push"],
        "repository_selection": "selected",
        "suspended_at": None,
    }
    found = parse_answer(InstallationAnswer, answer, what="it").as_account()
    assert found == Account(username="github", scopes=("contents=read", "metadata=read"))


def test_an_installation_token():
    # https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
    answer = {
        "token": "made-up-secret",
        "expires_at": "2016-07-11T22:14:10Z",
        "permissions": {"metadata": "read", "contents": "read"},
        "repository_selection": "all",
    }
    found = parse_answer(InstallationTokenAnswer, answer, what="it")
    assert found.expires_at == datetime(2016, 7, 11, 22, 14, 10, tzinfo=UTC)


@pytest.mark.parametrize("field", ["name", "owner", "private", "html_url"])
def test_a_missing_field_is_named(field):
    broken = {name: value for name, value in REPOSITORY.items() if name != field}
    with pytest.raises(UnexpectedAnswer, match=field):
        parse_answer(RepositoryAnswer, broken, what="it")


# Of the schemas in the API's description, just what they require: ``minimal-repository``, which
# organizations and users are listed with, ``short-branch``, ``hook``, ``installation``.
MINIMAL = {
    "repository": {
        "id": 1296269,
        "name": "Hello-World",
        "full_name": "octocat/Hello-World",
        "owner": {"login": "octocat", "id": 1},
        "private": False,
        "html_url": "https://github.com/octocat/Hello-World",
    },
    "branch": {"name": "main", "commit": {"sha": HASH, "url": "https://x"}, "protected": False},
    "hook": {"id": 1, "active": True, "name": "web", "config": {}},
    "installation": {"id": 1, "account": None, "permissions": {}, "suspended_at": None},
}


@pytest.mark.parametrize("left_out", [None, "default_branch", "clone_url", "ssh_url", "id"])
def test_a_repository_with_only_the_required_fields_is_parsed(left_out):
    answer = {**MINIMAL["repository"], **({left_out: None} if left_out else {})}
    found = parse_answer(RepositoryAnswer, answer, what="it").repository()
    assert (found.default_branch, found.clone_links) == (None, ())


def test_other_responses_with_only_the_required_fields_are_parsed():
    branch = parse_answer(BranchAnswer, MINIMAL["branch"], what="it").branch()
    installation = parse_answer(InstallationAnswer, MINIMAL["installation"], what="it")
    hook = parse_answer(HookAnswer, MINIMAL["hook"], what="it")
    assert (branch.name, installation.as_account().username) == ("main", "installation")
    assert (hook.active, hook.config.url) == (True, None)


@pytest.mark.parametrize(
    ("told", "expires_at"),
    [
        ("2027-01-31 12:34:56 UTC", datetime(2027, 1, 31, 12, 34, 56, tzinfo=UTC)),
        ("2027-01-31 12:34:56 -0700", datetime(2027, 1, 31, 19, 34, 56, tzinfo=UTC)),
        ("soon", None),
        (None, None),
    ],
)
def test_headers_contain_scopes_and_token_expiry(told, expires_at):
    headers = CaseInsensitiveDict({"x-oauth-scopes": "repo, read:org"})
    if told is not None:
        headers["github-authentication-token-expiration"] = told
    expected = {"scopes": ("repo", "read:org"), "expires_at": expires_at}
    assert token_details(headers) == expected
    assert token_details(CaseInsensitiveDict({"X-OAuth-Scopes": ""}))["scopes"] == ()
