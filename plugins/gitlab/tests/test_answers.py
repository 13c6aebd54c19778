"""Responses from GitLab's documentation, and the models that they are converted to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from deploycore.errors import UnexpectedAnswer
from deploycore.http import parse_answer
from deploycore.models import Account, Branch, CloneLink, Owner, Repository

from deploycore_gitlab.answers import (
    AccessTokenAnswer,
    BranchAnswer,
    OAuthTokenAnswer,
    ProjectAnswer,
    UserAnswer,
)

# https://docs.gitlab.com/api/projects/#list-all-projects
PROJECT = {
    "id": 4,
    "description": None,
    "name": "Diaspora Client",
    "name_with_namespace": "Diaspora / Apps / Diaspora Client",
    "path": "diaspora-client",
    "path_with_namespace": "diaspora/apps/diaspora-client",
    "created_at": "2013-09-30T13:46:02Z",
    "default_branch": "main",
    "tag_list": ["example", "disapora client"],
    "topics": ["example", "disapora client"],
    "ssh_url_to_repo": "git@gitlab.example.com:diaspora/apps/diaspora-client.git",
    "http_url_to_repo": "https://gitlab.example.com/diaspora/apps/diaspora-client.git",
    "web_url": "https://gitlab.example.com/diaspora/apps/diaspora-client",
    "avatar_url": None,
    "star_count": 0,
    "last_activity_at": "2013-09-30T13:46:02Z",
    "visibility": "private",
    "namespace": {
        "id": 3,
        "name": "Apps",
        "path": "apps",
        "kind": "group",
        "full_path": "diaspora/apps",
        "parent_id": 2,
        "avatar_url": None,
        "web_url": "https://gitlab.example.com/groups/diaspora/apps",
    },
    "empty_repo": False,
    "archived": False,
}

GOLDEN = Repository(
    host_id="4",
    name="Diaspora Client",
    slug="diaspora-client",
    url="https://gitlab.example.com/diaspora/apps/diaspora-client",
    commit_url="https://gitlab.example.com/diaspora/apps/diaspora-client/-/commit/{commit}",
    owner=Owner(username="diaspora/apps", display_name="Apps"),
    default_branch="main",
    private=True,
    clone_links=(
        CloneLink(
            name="https", href="https://gitlab.example.com/diaspora/apps/diaspora-client.git"
        ),
        CloneLink(name="ssh", href="git@gitlab.example.com:diaspora/apps/diaspora-client.git"),
    ),
    archived=False,
    empty=False,
    topics=("example", "disapora client"),
    updated_at=datetime(2013, 9, 30, 13, 46, 2, tzinfo=UTC),
)


def repository(**changes):
    return parse_answer(ProjectAnswer, {**PROJECT, **changes}, what="a project").repository()


def without(field):
    return {name: value for name, value in PROJECT.items() if name != field}


def test_a_project_of_a_subgroup_is_owned_by_the_full_path():
    assert repository() == GOLDEN


@pytest.mark.parametrize(
    ("visibility", "private"), [("private", True), ("internal", True), ("public", False)]
)
def test_a_project_visible_to_signed_in_users_only_is_private(visibility, private):
    assert repository(visibility=visibility).private is private


@pytest.mark.parametrize("wrong", ["yesterday", -1, {}, ["x", 1], None])
def test_invalid_display_fields_are_none(wrong):
    found = repository(archived=wrong, topics=wrong, last_activity_at=wrong)
    assert found.archived is None
    assert (found.topics, found.size) == ((), None)


def test_an_empty_project_has_no_default_branch_even_if_gitlab_names_one():
    assert repository(empty_repo=True).default_branch is None


def test_an_account_without_code_access_gets_no_default_branch():
    answer = parse_answer(ProjectAnswer, without("default_branch"), what="a project")
    assert answer.repository().default_branch is None


def test_a_project_with_one_clone_protocol_has_one_link():
    assert [link.name for link in repository(http_url_to_repo=None).clone_links] == ["ssh"]


@pytest.mark.parametrize("field", ["name", "path", "namespace", "visibility", "web_url"])
def test_a_project_without_a_required_field_is_rejected_with_its_name(field):
    with pytest.raises(UnexpectedAnswer, match=field):
        parse_answer(ProjectAnswer, without(field), what="a project")


# https://docs.gitlab.com/api/branches/#get-single-repository-branch
BRANCH = {
    "name": "feature/ü#1",
    "merged": False,
    "protected": True,
    "default": True,
    "developers_can_push": False,
    "developers_can_merge": False,
    "can_push": True,
    "web_url": "https://gitlab.example.com/my-group/my-project/-/tree/main",
    "commit": {
        "id": "7b5c3cc8be40ee161ae89a06bba6229da1032a0c",
        "short_id": "7b5c3cc",
        "created_at": "2024-06-28T03:44:20-07:00",
        "parent_ids": ["4ad91d3c1144c406e50c7b33bae684bd6837faf8"],
        "title": "add projects API",
        "message": "add projects API",
    },
}


def test_a_branch_points_to_the_full_hash():
    assert parse_answer(BranchAnswer, BRANCH, what="a branch").branch() == Branch(
        name="feature/ü#1", commit="7b5c3cc8be40ee161ae89a06bba6229da1032a0c"
    )


@pytest.mark.parametrize("commit", [None, {}, {"id": "7b5c3cc"}, "7b5c3cc"])
def test_a_branch_without_a_full_hash_is_refused(commit):
    with pytest.raises(UnexpectedAnswer, match="commit"):
        parse_answer(BranchAnswer, {**BRANCH, "commit": commit}, what="a branch")


# https://docs.gitlab.com/user/project/settings/project_access_tokens/#bot-users-for-projects
@pytest.mark.parametrize(
    ("user", "account"),
    [
        (
            {"id": 1, "username": "john_smith", "name": "John Smith", "state": "active"},
            Account(username="john_smith", display_name="John Smith", scopes=("read_api",)),
        ),
        (
            {"id": 9, "username": "project_4_bot_1f2e3d", "name": "deploycore", "bot": True},
            Account(
                username="project_4_bot_1f2e3d", display_name="deploycore", scopes=("read_api",)
            ),
        ),
    ],
    ids=["person", "bot"],
)
def test_an_account_is_a_user_or_the_bot_of_a_token(user, account):
    assert parse_answer(UserAnswer, user, what="the user").account(["read_api"]) == account


def test_scopes_of_a_token_are_read_from_two_formats():
    # https://docs.gitlab.com/api/personal_access_tokens/#self-inform
    own = {"id": 4, "name": "Test Token", "revoked": False, "scopes": ["api"], "active": True}
    assert parse_answer(AccessTokenAnswer, own, what="the token").scopes == ["api"]
    # https://docs.gitlab.com/api/oauth2/#retrieve-the-token-information
    info = {"resource_owner_id": 1, "scope": ["api"], "expires_in": None, "created_at": 1575890427}
    assert parse_answer(OAuthTokenAnswer, info, what="the token").scope == ["api"]


def test_the_expiry_of_a_token_is_read():
    own = {"scopes": ["api"], "expires_at": "2027-01-31"}
    ends_at = parse_answer(AccessTokenAnswer, own, what="the token").ends_at
    assert ends_at == datetime(2027, 1, 31, tzinfo=UTC)
    own["expires_at"] = None
    assert parse_answer(AccessTokenAnswer, own, what="the token").ends_at is None
    info = parse_answer(OAuthTokenAnswer, {"scope": [], "expires_in": 60}, what="the token")
    assert info.ends_at(ends_at) == datetime(2027, 1, 31, 0, 1, tzinfo=UTC)
    info = parse_answer(OAuthTokenAnswer, {"scope": [], "expires_in": None}, what="the token")
    assert info.ends_at(ends_at) is None


@pytest.mark.parametrize("value", [None, ...], ids=["null", "missing"])
@pytest.mark.parametrize("field", ["id", "default_branch", "empty_repo", "http_url_to_repo"])
def test_optional_fields_of_a_project_have_defaults(field, value):
    answer = {**PROJECT, field: value} if value is None else without(field)
    found = parse_answer(ProjectAnswer, answer, what="a project").repository()
    assert found.slug == PROJECT["path"]
