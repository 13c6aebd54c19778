"""The table of hashes gives the same results as a dictionary."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore.git.packs import hash_table
from deploycore.git.packs.hash_table import HashIndex, HashTable


def names(hash_bytes):
    found = [hashlib.sha256(b"%d" % number).digest()[:hash_bytes] for number in range(6)]
    # Those share what is bisected by.
    return found + [b"same key" + bytes([number]) * (hash_bytes - 8) for number in range(3)]


NAMES = names(20)


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
def test_the_table_behaves_like_a_dictionary_of_lists(hash_bytes, data):
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
def test_an_ordered_view_is_stable_while_entries_are_removed(small, hash_bytes):
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


def test_a_hash_of_another_length_is_rejected(small):
    """All that follow it would be found under wrong names."""
    table = HashTable(20)
    with pytest.raises(ValueError, match="0 bytes"):
        list(map(table.add, [b"", *NAMES], range(5)))


@pytest.fixture
def half_taken(small):
    table = HashTable(20)
    for number, name in enumerate(NAMES):
        table.add(name, number)
    for name in NAMES[::2]:
        table.pop(name)
    return table


def test_newest_returns_remaining_entries_from_the_end(half_taken):
    assert half_taken.newest(2) == [NAMES[7], NAMES[5]]
    assert half_taken.newest(100) == [NAMES[7], NAMES[5], NAMES[3], NAMES[1]]
    for name in NAMES[1::2]:
        half_taken.pop(name)
    assert half_taken.newest(2) == []
    half_taken.add(NAMES[0], 1)
    assert half_taken.newest(2) == [NAMES[0]]


@pytest.mark.parametrize("scans", [0, 3])
@given(
    steps=st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.sampled_from(NAMES)), max_size=80)
)
def test_an_index_finds_the_hashes_of_its_array(scans, steps):
    names, known, late = bytearray(), {}, []
    index = HashIndex(names, 20)
    index._asked = hash_table._SCANS - scans
    for step, name in steps:
        number = len(names) // 20
        if step == 0:
            names += name
            known.setdefault(name, set()).add(number)
        elif step == 1:
            names += bytes(20)
            late.append(number)
        elif step == 2 and late:
            number = late.pop()
            names[number * 20 : (number + 1) * 20] = name
            index.named(number)
            known.setdefault(name, set()).add(number)
        else:
            found = index.find(name)
            assert found in known[name] if name in known else found is None


def test_a_hash_that_spans_two_entries_is_not_found():
    first, second = NAMES[:2]
    index = HashIndex(bytearray(first + second), 20)
    across = (first + second)[7:27]
    assert [index.find(each) for each in (second, across) * 10] == [1, None] * 10
