"""A filter returns exactly the matching items, for names with any characters."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.filtering import NameFilter
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(min_size=1) | st.text(alphabet='ab"\\\n% ', min_size=1)


@pytest.mark.parametrize(
    ("names", "q", "all_in_q"),
    [
        (NameFilter(), None, True),
        (NameFilter(contains="shop"), 'name ~ "shop"', True),
        (NameFilter(name="feature/a b%c#d-ü"), 'name = "feature/a b%c#d-ü"', True),
        (NameFilter(contains='the "big" one'), 'name ~ "the "', False),
        (NameFilter(name='fix-"quotes"'), 'name ~ "quotes"', False),
        (NameFilter(contains='"'), None, False),
        (NameFilter(contains="back\\slashed"), 'name ~ "slashed"', False),
        (NameFilter(name="main", contains="a"), 'name = "main"', False),
    ],
)
def test_a_name_filter_becomes_a_bitbucket_query(names, q, all_in_q):
    assert names.q == q
    assert names.is_all_in_q is all_in_q


@given(texts)
def test_a_filter_never_breaks_out_of_its_string(text):
    for names in (NameFilter(contains=text), NameFilter(name=text)):
        if names.q is not None:
            before, inner, after = names.q.split('"')
            assert before in ("name ~ ", "name = ")
            assert after == ""
            assert "\\" not in inner


@given(texts, st.text(), st.text())
def test_the_bitbucket_query_matches_every_matching_name(text, before, after):
    name = before + text + after
    asked = NameFilter(contains=text).q
    assert asked is None or asked.split('"')[1] in name


@given(texts)
def test_an_exact_query_contains_the_complete_name(text):
    names = NameFilter(name=text)
    if names.is_all_in_q:
        assert names.q == f'name = "{text}"'
