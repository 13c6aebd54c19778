"""Search terms for GitLab: no matching item may be left out."""

from __future__ import annotations

import pytest

from deploycore_gitlab.filtering import branch_search, can_be_asked_for, project_search


@pytest.mark.parametrize(
    ("part", "search"),
    [
        (None, None),
        ("topic/24", "topic/24"),
        ("a b", "a b"),
        ("release$", "release"),
        ("^v1", "v1"),
        ("a*bcd", "bcd"),
        ("$", None),
        ("größe/main", "e/main"),
        ("日本語", None),
    ],
)
def test_branches_are_searched_without_characters_that_have_a_special_meaning(part, search):
    assert branch_search(part) == search


@pytest.mark.parametrize(
    ("part", "search"),
    [
        (None, None),
        ("shop", "shop"),
        ("the shop", "shop"),
        ('say "hello" to', "hello"),
        ("ab", None),
        ("a b c", None),
        ("Größe", None),
        ("Größenwahn", "enwahn"),
    ],
)
def test_projects_are_searched_by_their_longest_word_of_at_least_three_letters(part, search):
    assert project_search(part) == search


@pytest.mark.parametrize(
    ("name", "can"),
    [("main", True), ("feature/x", True), ("a..b", True), ("..", False), ("a/../b", False)],
)
def test_a_name_that_would_escape_from_the_url_is_not_put_in_one(name, can):
    assert can_be_asked_for(name) is can
