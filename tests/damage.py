"""Changes that damage a JSON body, chosen by hand or by hypothesis."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

__all__ = ["NO_JSON", "anything", "broken", "paths"]

NO_JSON = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{", id="cut"),
    pytest.param(b"\xff\xfe", id="binary"),
    pytest.param(b"[" * 100_000, id="deep"),
    pytest.param(b"9" * 10_000, id="number"),
    pytest.param(b'{"a": ' * 50_000, id="deep-object"),
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
"""A value that JSON can represent."""

Path = Sequence[Any]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[Path]:
    """Yield the keys that lead to each place in a body."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from paths(inner, (*path, key))
        else:
            yield (*path, key)


def broken(body: Any, path: Path, value: Any) -> Any:
    """Return a body with another value at one place."""
    body = copy.deepcopy(body)
    *way, last = path
    place = body
    for key in way:
        place = place[key]
    place[last] = value
    return body
