"""Sample responses, and the models that they are converted to.

The samples have the fields of the definitions ``User``, ``Repository``, ``Branch``,
``PayloadCommit`` and ``SearchResults`` of Gitea's API description, to which the sandbox's answers
were compared by hand, field by field (1.26; ``username`` of a user is in answers, and not in the
description).
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from deploycore.errors import UnexpectedAnswer
from deploycore.http import parse_answer
from deploycore.models import Account, Branch, CloneLink, Owner, Repository

from deploycore_gitea.answers import BranchAnswer, RepositoryAnswer, SearchAnswer, UserAnswer
from deploycore_gitea.webhooks import HookAnswer

USER = {
    "id": 4,
    "login": "ada",
    "login_name": "",
    "source_id": 0,
    "full_name": "Ada Lovelace",
    "email": "ada@noreply.git.example.com",
    "avatar_url": "https://git.example.com/avatars/4",
    "html_url": "https://git.example.com/ada",
    "language": "",
    "is_admin": False,
    "last_login": "0001-01-01T00:00:00Z",
    "created": "2024-05-01T09:30:00Z",
    "restricted": False,
    "active": False,
    "prohibit_login": False,
    "location": "",
    "website": "",
    "description": "",
    "visibility": "public",
    "followers_count": 0,
    "following_count": 0,
    "starred_repos_count": 0,
    "username": "ada",
}

REPOSITORY = {
    "id": 7,
    "owner": USER,
    "name": "shop",
    "full_name": "ada/shop",
    "description": "Sells things",
    "empty": False,
    "private": True,
    "fork": False,
    "template": False,
    "parent": None,
    "mirror": False,
    "size": 28,
    "language": "Python",
    "languages_url": "https://git.example.com/api/v1/repos/ada/shop/languages",
    "html_url": "https://git.example.com/ada/shop",
    "url": "https://git.example.com/api/v1/repos/ada/shop",
    "link": "",
    "ssh_url": "git@git.example.com:ada/shop.git",
    "clone_url": "https://git.example.com/ada/shop.git",
    "original_url": "",
    "website": "",
    "stars_count": 0,
    "default_branch": "trunk",
    "archived": False,
    "created_at": "2024-05-01T09:30:00Z",
    "updated_at": "2024-05-02T10:00:00Z",
    "archived_at": "1970-01-01T00:00:00Z",
    "permissions": {"admin": False, "push": False, "pull": True},
    "internal": False,
    "mirror_interval": "",
    "object_format_name": "sha256",
    "mirror_updated": "0001-01-01T00:00:00Z",
    "repo_transfer": None,
    "topics": [],
    "licenses": ["MIT"],
}

BRANCH = {
    "name": "release/2.0",
    "commit": {
        "id": "5b1f" * 16,
        "message": "Ship it\n",
        "url": "https://git.example.com/ada/shop/commit/" + "5b1f" * 16,
        "author": {"name": "Ada", "email": "ada@example.com", "username": "ada"},
        "committer": {"name": "Ada", "email": "ada@example.com", "username": "ada"},
        "verification": {"verified": False, "reason": "gpg.error.not_signed_commit"},
        "timestamp": "2024-05-02T10:00:00Z",
        "added": None,
        "removed": None,
        "modified": None,
    },
    "protected": True,
    "required_approvals": 1,
    "enable_status_check": False,
    "status_check_contexts": [],
    "user_can_push": False,
    "user_can_merge": False,
    "effective_branch_protection_name": "release/*",
}

SHOP = Repository(
    host_id="7",
    name="shop",
    slug="shop",
    url="https://git.example.com/ada/shop",
    commit_url="https://git.example.com/ada/shop/commit/{commit}",
    owner=Owner(username="ada", display_name="Ada Lovelace"),
    default_branch="trunk",
    private=True,
    clone_links=(
        CloneLink(name="https", href="https://git.example.com/ada/shop.git"),
        CloneLink(name="ssh", href="git@git.example.com:ada/shop.git"),
    ),
    archived=False,
    empty=False,
    size=28 * 1024,
    updated_at=datetime(2024, 5, 2, 10, tzinfo=UTC),
)


def repository(**changes):
    answer = parse_answer(RepositoryAnswer, {**REPOSITORY, **changes}, what="a repository")
    return answer.repository()


def test_a_documented_repository_is_parsed():
    assert repository() == SHOP


@pytest.mark.parametrize("wrong", ["yesterday", {}, ["x", 1], None])
def test_invalid_display_fields_are_none(wrong):
    found = repository(archived=wrong, size=wrong, topics=wrong, updated_at=wrong)
    nothing = {"archived": None, "size": None, "updated_at": None}
    assert found == SHOP.model_copy(update=nothing)


def test_an_empty_repository_has_no_default_branch_even_if_one_is_named():
    assert repository(empty=True).default_branch is None


@pytest.mark.parametrize("what", [{"archived": True}, {"mirror": True}, {"object_format_name": ""}])
def test_archived_repositories_and_mirrors_are_normal_repositories(what):
    archived = what.get("archived", False)
    assert repository(**what) == SHOP.model_copy(update={"archived": archived})


def test_a_repository_of_a_hidden_organization_is_not_public():
    assert repository(private=False, internal=True).private
    assert not repository(private=False).private


def test_a_server_without_ssh_has_no_ssh_link():
    assert [link.name for link in repository(ssh_url="").clone_links] == ["https"]


def test_a_branch_with_a_sha_256_hash():
    answer = parse_answer(BranchAnswer, BRANCH, what="a branch")
    assert answer.branch() == Branch(name="release/2.0", commit="5b1f" * 16)


def test_a_user():
    answer = parse_answer(UserAnswer, USER, what="a user")
    assert answer.account() == Account(username="ada", display_name="Ada Lovelace")


def test_a_user_without_a_full_name_has_no_display_name():
    answer = parse_answer(UserAnswer, {**USER, "full_name": ""}, what="a user")
    assert answer.account().display_name is None


@pytest.mark.parametrize("field", ["name", "owner", "private", "html_url"])
def test_a_repository_without_a_field_is_unexpected(field):
    rest = {name: value for name, value in REPOSITORY.items() if name != field}
    with pytest.raises(UnexpectedAnswer, match=field):
        parse_answer(RepositoryAnswer, rest, what="a repository")


MINIMAL = {
    "name": "shop",
    "owner": {"login": "ada"},
    "html_url": "https://git.example.com/ada/shop",
    "private": True,
}


@pytest.mark.parametrize(
    "more", [{}, {"clone_url": None, "default_branch": None, "empty": None, "internal": None}]
)
def test_a_repository_with_only_the_required_fields_is_parsed(more):
    found = parse_answer(RepositoryAnswer, {**MINIMAL, **more}, what="a repository").repository()
    assert (found.slug, found.default_branch, found.clone_links) == ("shop", None, ())


@pytest.mark.parametrize("answer", [{"ok": True, "data": None}, {"ok": True}, {"data": []}])
def test_a_search_that_finds_nothing(answer):
    assert parse_answer(SearchAnswer, answer, what="a page").data == []


@pytest.mark.parametrize(
    "answer",
    [
        {"config": {"url": "https://x", "content_type": "json"}},
        {"url": "https://x", "content_type": "json"},
        {"url": "https://x", "config": None},
        {"url": "https://x", "config": {"content_type": "json"}},
        {"url": "https://x", "config": {"url": "https://x"}, "type": "forgejo"},
    ],
)
def test_the_webhook_address_is_read_from_either_field(answer):
    found = parse_answer(HookAnswer, {"id": 3, "active": True, **answer}, what="a webhook")
    assert found.webhook().url == "https://x"
    assert found.is_ours("https://x")
