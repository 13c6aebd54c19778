"""Check that values can be stored in every database that deploycore supports.

SQLite and PostgreSQL reject different values: PostgreSQL's text cannot contain NUL, half of a
surrogate pair is not valid UTF-8, and integers have 64 bits in both. deploycore rejects a value
that one of them cannot store before it stores it in either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

__all__ = ["find_unstorable", "is_storable_text", "why_unstorable"]

_INTEGER_BITS = 63


def is_storable_text(text: str) -> bool:
    """Whether a text is valid Unicode without NUL."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def why_unstorable(value: object) -> str:
    """Say why a value cannot be stored, without the value; empty if it can be stored.

    Returns:
        The end of a sentence about the value, such as ``"should not contain NUL"``.
    """
    if isinstance(value, str | PurePath):
        text = str(value)
        if "\0" in text:
            return "should not contain NUL"
        return "" if is_storable_text(text) else "should be valid Unicode text"
    if isinstance(value, int):
        is_small = -(1 << _INTEGER_BITS) <= value < 1 << _INTEGER_BITS
        return "" if is_small else "should be an integer of at most 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "should be a finite number"
    return ""


def find_unstorable(values: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find the values in mappings and sequences that cannot be stored.

    Args:
        values: Values parsed from JSON, YAML or TOML. Keys of mappings are checked too.

    Returns:
        The path of each such value, and the result of ``why_unstorable``. A key that cannot be
        stored is not part of the path.
    """
    waiting: list[tuple[tuple[str, ...], Any]] = [((), values)]
    seen: set[int] = set()
    while waiting:  # no recursion: the sender decides how deep the values are nested
        path, value = waiting.pop()
        if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
            if id(value) in seen:  # in YAML, a container can occur many times, even inside itself
                continue
            seen.add(id(value))
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if why := why_unstorable(key):
                    yield path, f"has a name that {why}"
                else:
                    waiting.append(((*path, str(key)), inner))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            waiting += [((*path, str(number)), inner) for number, inner in enumerate(value)]
        elif why := why_unstorable(value):
            yield path, why
