"""Deltas of packs: the result is exact, or an error."""

from __future__ import annotations

import pytest

from deploycore.git.packs.delta import apply_in_memory, sizes
from deploycore.git.packs.objects import Damaged

BASE = b"0123456789"
COPY = bytes([0b1001_0001, 2, 5])  # 5 bytes from the third on
DELTA = bytes([len(BASE), 8]) + COPY + b"\x03abc"


def test_a_delta_copies_from_its_base_and_adds_new_bytes():
    assert sizes(DELTA) == (10, 8)
    assert apply_in_memory(BASE, DELTA) == b"23456abc"


@pytest.mark.parametrize(
    ("base", "delta"),
    [(BASE + b"x", DELTA), (BASE, DELTA[:-1]), (BASE, DELTA + b"\x01d"), (BASE, DELTA[:2] + b"\0")],
    ids=["another base", "cut", "too long", "unknown command"],
)
def test_a_damaged_delta_is_an_error(base, delta):
    with pytest.raises(Damaged):
        apply_in_memory(base, delta)
