"""Values that both databases can store, and the errors for other values."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycore.applications.application import parse_application
from deploycore.errors import ConfigurationError
from deploycore.text.storable import find_unstorable, why_unstorable

UNSTORABLE = ["a\0b", "half \ud83d", "\udcff", 1 << 63, -(1 << 63) - 1, float("inf"), float("nan")]


@pytest.mark.parametrize("value", UNSTORABLE, ids=ascii)
def test_an_unstorable_value_is_found_at_any_depth(value):
    assert why_unstorable(value)
    places = {path for path, _ in find_unstorable({"a": [1, {"b": value}], "c": value})}
    assert places == {("a", "1", "b"), ("c",)}
    if isinstance(value, str):
        assert [path for path, _ in find_unstorable({"a": {value: 1}})] == [("a",)]


@pytest.mark.parametrize(
    "value", ["", "größe 🎉", 0, (1 << 63) - 1, -(1 << 63), True, None, 1.5, Path("/ö")], ids=ascii
)
def test_all_other_values_are_accepted(value):
    assert list(find_unstorable({"a": [value]})) == []


def test_recursive_and_repeated_values_are_processed_in_finite_time():
    own: list[object] = []
    own.append(own)
    for _ in range(100):
        own = [own, own]
    assert list(find_unstorable(own)) == []


@pytest.mark.parametrize("value", [each for each in UNSTORABLE if isinstance(each, str)], ids=ascii)
@pytest.mark.parametrize(
    "field", ["name", "provider", "repository", "ref", "target", "host", "watch", "environment"]
)
def test_an_unstorable_application_is_rejected_with_its_field(field, value):
    given = {
        "name": "shop",
        "provider": "acme",
        "repository": "team/shop",
        "ref": "main",
        "target": "/srv/shop",
    }
    wrapped = {"watch": [value], "environment": {"A": value}}.get(field, value)
    with pytest.raises(ConfigurationError, match=f"applications/x/{field}") as caught:
        parse_application({**given, field: wrapped}, where="applications/x")
    assert value not in str(caught.value)
    str(caught.value).encode()
