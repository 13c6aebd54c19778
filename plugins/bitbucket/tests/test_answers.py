"""Samples of Bitbucket's JSON, and the models that they are converted to; errors name malformed
fields."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from deploycore_bitbucket.answers import BranchAnswer, RepositoryAnswer, UserAnswer
from hypothesis import given
from hypothesis import strategies as st

from deploycore.errors import UnexpectedAnswer
from deploycore.http import IncompleteItem, parse_answer
from deploycore.models import Account, Branch, CloneLink, Owner, Repository
from tests.damage import broken

HASH = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"

REPOSITORY = {
    "full_name": "acme/web-shop",
    "name": "Web Shop",
    "is_private": True,
    "size": 40960,
    "updated_on": "2026-11-02T09:30:00.000000+00:00",
    "mainbranch": {"name": "main", "type": "branch"},
    "workspace": {"name": "Acme Corporation", "slug": "acme", "type": "workspace"},
    "links": {
        "html": {"href": "https://bitbucket.org/acme/web-shop"},
        "clone": [
            {"name": "https", "href": "https://dana@bitbucket.org/acme/web-shop.git"},
            {"name": "ssh", "href": "git@bitbucket.org:acme/web-shop.git"},
        ],
    },
}

BRANCH = {"name": "feature/ü#1", "target": {"hash": HASH, "type": "commit"}}

GOLDEN = Repository(
    name="Web Shop",
    slug="web-shop",
    url="https://bitbucket.org/acme/web-shop",
    commit_url="https://bitbucket.org/acme/web-shop/commits/{commit}",
    owner=Owner(username="acme", display_name="Acme Corporation"),
    default_branch="main",
    private=True,
    clone_links=(
        CloneLink(name="https", href="https://bitbucket.org/acme/web-shop.git"),
        CloneLink(name="ssh", href="git@bitbucket.org:acme/web-shop.git"),
    ),
    empty=False,
    size=40960,
    updated_at=datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
)


def repository(item):
    found = parse_answer(RepositoryAnswer, item, what="a repository")
    return found.repository("https://bitbucket.org")


def branch(item):
    return parse_answer(BranchAnswer, item, what="a branch").branch()


def account_from(user):
    return parse_answer(UserAnswer, user, what="the user").account()


def changed(sample, path, value):
    """A copy of a sample with another value at a dotted path."""
    return broken(sample, path.split("."), value)


def test_a_repository():
    assert repository(REPOSITORY) == GOLDEN


def test_an_empty_repository_has_no_default_branch():
    assert repository(changed(REPOSITORY, "mainbranch", None)).default_branch is None


def test_the_web_page_url_is_built_if_its_link_is_missing():
    item = changed(REPOSITORY, "links", {})
    assert repository(item).url == "https://bitbucket.org/acme/web-shop"
    assert repository(item).clone_links == ()


@pytest.mark.parametrize(
    "href",
    [
        "https://dana:secret-value@bitbucket.org/acme/web-shop.git",
        "https://d@na:secret-value@bitbucket.org/acme/web-shop.git",
        "HTTPS://x-token-auth:secret-value@bitbucket.org/acme/web-shop.git",
    ],
)
def test_user_information_is_removed_from_clone_links(href):
    item = changed(REPOSITORY, "links.clone", [{"name": "https", "href": href}])
    (link,) = repository(item).clone_links
    assert link.href.lower() == "https://bitbucket.org/acme/web-shop.git"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("full_name", 7),
        ("full_name", "web-shop"),
        ("full_name", "/web-shop"),
        ("full_name", "a/b/c"),
        ("name", ["Web Shop"]),
        ("is_private", "yes"),
        ("mainbranch.name", 3),
        ("workspace.name", {}),
        ("links.html.href", 1),
        ("links.clone", "https://bitbucket.org/acme/web-shop.git"),
    ],
)
def test_an_invalid_repository_is_rejected_with_the_field(path, value):
    with pytest.raises(UnexpectedAnswer, match=f"a repository.* {path}: it ") as caught:
        repository(changed(REPOSITORY, path, value))
    assert caught.value.details["field"] == path


@pytest.mark.parametrize(
    ("link", "read"),
    [
        (None, ()),
        ({}, ()),
        ({"name": "https"}, ()),
        ({"href": "https://x"}, (CloneLink(name="https", href="https://x"),)),
        ({"href": "git@x:y.git"}, (CloneLink(name="ssh", href="git@x:y.git"),)),
    ],
)
def test_a_clone_link_only_requires_an_address(link, read):
    assert repository(changed(REPOSITORY, "links.clone", [link])).clone_links == read


@pytest.mark.parametrize("link", [{"name": 7, "href": "https://x"}, {"name": "https", "href": 7}])
def test_a_malformed_clone_link_is_refused(link):
    with pytest.raises(UnexpectedAnswer, match=r"a repository.*links.clone.0"):
        repository(changed(REPOSITORY, "links.clone", [link]))


def test_optional_fields_of_a_repository_have_defaults():
    assert repository({"full_name": "acme/web-shop"}) == Repository(
        name="web-shop",
        slug="web-shop",
        url="https://bitbucket.org/acme/web-shop",
        commit_url="https://bitbucket.org/acme/web-shop/commits/{commit}",
        owner=Owner(username="acme"),
        private=True,
    )


@pytest.mark.parametrize("item", [{}, {"type": "repository"}, {"full_name": None}])
def test_a_repository_without_a_full_name_is_incomplete(item):
    with pytest.raises(IncompleteItem, match="full_name"):
        repository(item)


def test_a_branch():
    assert branch(BRANCH) == Branch(name="feature/ü#1", commit=HASH)


@pytest.mark.parametrize("value", [None, 1, "e7d158ff7ed5", HASH.upper(), f"{HASH}\n", "z" * 40])
def test_a_branch_without_a_full_hash_is_refused(value):
    with pytest.raises(UnexpectedAnswer, match=r"branch.*target.hash"):
        branch(changed(BRANCH, "target.hash", value))


@pytest.mark.parametrize("item", [None, [], "main", {}, {"name": None, "target": {"hash": HASH}}])
def test_a_branch_without_a_name_is_refused(item):
    with pytest.raises(UnexpectedAnswer, match=r"a branch.*(name|the whole)"):
        branch(item)


@pytest.mark.parametrize(
    ("user", "account"),
    [
        (
            {"username": "dana", "nickname": "Dana", "display_name": "Dana Doe"},
            Account(username="dana", display_name="Dana Doe"),
        ),
        ({"nickname": "Dana"}, Account(username="Dana")),
        ({"username": "", "nickname": "Dana", "display_name": None}, Account(username="Dana")),
    ],
)
def test_a_user(user, account):
    assert account_from(user) == account


@pytest.mark.parametrize(
    ("user", "username"),
    [
        ({"type": "user", "display_name": "Dana Doe"}, "Dana Doe"),
        ({"type": "user", "account_id": "557058:c0b"}, "557058:c0b"),
        ({"type": "team", "uuid": "{c0b}"}, "{c0b}"),
    ],
)
def test_an_account_is_named_by_the_available_fields(user, username):
    assert account_from(user).username == username


def test_an_account_without_any_name_is_not_an_error():
    assert account_from({"type": "user"}) is None


@pytest.mark.parametrize("user", [None, [], {}, {"x": 1}, {"username": 7}, {"display_name": []}])
def test_an_invalid_account_is_rejected(user):
    with pytest.raises(UnexpectedAnswer, match="the user"):
        account_from(user)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(REPOSITORY)), json_values)
def test_any_field_value_yields_a_repository_or_an_error_naming_the_field(field, value):
    refused = None
    try:
        made = repository({**REPOSITORY, field: value})
    except UnexpectedAnswer as error:
        refused = error
    assert refused.details["field"] if refused else isinstance(made, Repository)
