"""Numbers by hash: as a dictionary has them, however they are kept."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore.git import hash_table
from deploycore.git.hash_table import HashTable

NAMES = [hashlib.sha1(b"%d" % number).digest() for number in range(6)]
# Those share what is bisected by.
NAMES += [b"same key" + bytes([number]) * 12 for number in range(3)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "pop", "get", "newest", "ordered"]),
        st.sampled_from(NAMES),
        st.integers(0, 300) | st.integers(0, 2**63 - 1),
    ),
    max_size=100,
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(hash_table, "_IN_DICTIONARY", 4)


@given(STEPS)
def test_it_is_a_dictionary_of_lists(steps):
    table, known = HashTable(), defaultdict(list)
    before = hash_table._IN_DICTIONARY, hash_table._FEW
    hash_table._IN_DICTIONARY, hash_table._FEW = 4, 2
    try:
        for step, name, number in steps:
            if step == "add":
                table.add(name, number)
                known[name].append(number)
            elif step == "pop":
                assert sorted(table.pop(name)) == sorted(known.pop(name, []))
            elif step == "get":
                found = table.get(name)
                assert found in known[name] if known[name] else found is None
            elif step == "newest":
                table.newest(2)
            else:
                assert {name for name, each in known.items() if each} <= set(table.ordered())
            assert bool(len(table)) == any(known.values())
    finally:
        hash_table._IN_DICTIONARY, hash_table._FEW = before


def test_a_sequence_of_names_stays_as_it_is_while_they_are_taken(small):
    table = HashTable()
    for number, name in enumerate(NAMES):
        table.add(name, number)
    names = table.ordered()
    assert sorted(names) == sorted(NAMES)
    assert [list(table.pop(names[index])) for index in range(len(names))] == [
        [NAMES.index(name)] for name in names
    ]
    assert sorted(names) == sorted(NAMES)
    assert len(table) == 0
