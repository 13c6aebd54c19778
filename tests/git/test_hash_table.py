"""Numbers by hash: as a dictionary has them, however they are kept."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore.git import hash_table
from deploycore.git.hash_table import HashTable


def names(hash_bytes):
    found = [hashlib.sha256(b"%d" % number).digest()[:hash_bytes] for number in range(6)]
    # Those share what is bisected by.
    return found + [b"same key" + bytes([number]) * (hash_bytes - 8) for number in range(3)]


def steps(hash_bytes):
    return st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "add", "pop", "get", "newest", "ordered"]),
            st.sampled_from(names(hash_bytes)),
            st.integers(0, 300) | st.integers(0, 2**63 - 1),
        ),
        max_size=100,
    )


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(hash_table, "_IN_DICTIONARY", 4)


@pytest.mark.parametrize("hash_bytes", [20, 32])
@given(data=st.data())
def test_it_is_a_dictionary_of_lists(hash_bytes, data):
    table, known = HashTable(hash_bytes), defaultdict(list)
    before = hash_table._IN_DICTIONARY, hash_table._FEW
    hash_table._IN_DICTIONARY, hash_table._FEW = 4, 2
    try:
        for step, name, number in data.draw(steps(hash_bytes)):
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


@pytest.mark.parametrize("hash_bytes", [20, 32])
def test_a_sequence_of_names_stays_as_it_is_while_they_are_taken(small, hash_bytes):
    table, added = HashTable(hash_bytes), names(hash_bytes)
    for number, name in enumerate(added):
        table.add(name, number)
    ordered = table.ordered()
    assert sorted(ordered) == sorted(added)
    assert [list(table.pop(ordered[index])) for index in range(len(ordered))] == [
        [added.index(name)] for name in ordered
    ]
    assert sorted(ordered) == sorted(added)
    assert len(table) == 0
