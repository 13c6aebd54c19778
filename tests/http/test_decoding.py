"""Responses as models: errors name the place of an invalid value, but not the value."""

from __future__ import annotations

import pytest

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, parse_answer
from deploycore.models import NonEmpty


class Owner(AnswerModel):
    login: NonEmpty


class Row(AnswerModel):
    name: NonEmpty
    private: bool
    owner: Owner | None = None


def test_known_fields_are_typed_and_unknown_fields_are_ignored():
    rows = parse_answer(
        list[Row], [{"name": "shop", "private": True, "owner": {"login": "ada"}, "x": 1}], what="x"
    )
    assert rows == [Row(name="shop", private=True, owner=Owner(login="ada"))]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (None, "the whole"),
        ({"name": "hunter2"}, "the whole"),
        ([{"private": True}], "0.name"),
        ([{"name": "shop", "private": "yes"}], "0.private"),
        ([{"name": 7, "private": True}], "0.name"),
        ([{"name": "", "private": True}], "0.name"),
        ([{"name": "shop", "private": True, "owner": {"login": None}}], "0.owner.login"),
    ],
    ids=range(7),
)
def test_an_invalid_value_is_reported_with_its_path(value, place):
    with pytest.raises(UnexpectedAnswer) as caught:
        parse_answer(list[Row], value, what="a page of rows")
    assert f"a page of rows as its API describes it: {place}: " in str(caught.value)
    assert "hunter2" not in str(caught.value.as_dict())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert parse_answer(list[Row], [{"name": "shop", "private": True}], what="a page of rows")


def test_only_the_first_problems_are_shown():
    with pytest.raises(UnexpectedAnswer) as caught:
        parse_answer(list[Row], [{}] * 100, what="a page of rows")
    assert len(str(caught.value)) < 300
