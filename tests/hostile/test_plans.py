"""Trees that could fill memory, and names and links that try to bypass the checks."""

from __future__ import annotations

import hashlib
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycore.errors import LimitExceeded, UnsafeRepository
from deploycore.git import Cancellation, GitSettings
from deploycore.git.checkout import links as links_module
from deploycore.git.checkout import names as names_module
from deploycore.git.checkout.links import escaping_links
from deploycore.git.checkout.plan import Plan
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import SHA1
from deploycore.git.progress import no_progress
from tests.hostile.packs import blob, commit, pack_of, tree
from tests.hostile.test_packs import BASELINE, MIB

FILE = blob(b"x")
ROOT_OF_NOTHING = tree()
DIRECTORY, LINK = 0o40000, 0o120000


def nested(leaf, levels, name):
    """A tree below so many directories of one name, with all between."""
    made = [leaf]
    for _ in range(levels):
        made.append(tree((DIRECTORY, name, made[-1])))
    return made


def numbered(count):
    """Files that nobody has, in one tree."""
    return ((0o100644, b"%06d" % e, hashlib.sha1(b"%d" % e).digest()) for e in range(count))


def test_paths_longer_than_any_system_call_accepts_are_rejected(script, confined):
    """A few hundred bytes for each of a hundred thousand paths of 31 kilobytes."""
    empty = tree()
    leaf = tree(*((DIRECTORY, b"%05d" % each, empty) for each in range(20_000)))
    made = nested(leaf, 126, b"d" * 250)
    tip = commit(made[-1])
    script.serve_pack(tip, pack_of(tip, *reversed(made), empty))
    outcome = confined()
    assert outcome.error == "LimitExceeded"
    assert outcome.peak < BASELINE


def test_a_path_one_byte_too_long_is_rejected(script, refused, attempt):
    made = nested(tree((0o100644, b"n" * 80, FILE)), 16, b"d" * 250)  # 16 * 251 + 80 = 4096
    tip = commit(made[-1])
    script.serve_pack(tip, pack_of(tip, *made, FILE))
    assert refused(LimitExceeded).details["limit"] == "path_bytes"
    made = nested(tree((0o100644, b"n" * 80, FILE)), 15, b"d" * 250)
    tip = commit(made[-1])
    script.serve_pack(tip, pack_of(tip, *made, FILE))
    assert isinstance(attempt(), dict)


def test_many_deeply_nested_directories_use_little_memory(script, confined):
    leaf = tree((DIRECTORY, b"below", tree()))
    many = tree(*((DIRECTORY, b"%05d" % each, leaf) for each in range(20_000)))
    made = nested(many, 15, b"d" * 250)
    tip = commit(made[-1])
    script.serve_pack(tip, pack_of(tip, *reversed(made), leaf, tree()))
    outcome = confined(max_object_bytes=MIB)
    assert outcome.error is None, outcome
    assert outcome.peak < BASELINE


@pytest.mark.parametrize("order", ["sorted", "unsorted"])
def test_a_tree_of_very_many_files_uses_little_memory(script, confined, order):
    entries = list(numbered(100_000))
    root = tree(*(entries if order == "sorted" else reversed(entries)))
    tip = commit(root)
    script.serve_pack(tip, pack_of(tip, root))
    outcome = confined()
    assert outcome.error == "CorruptPack"  # the files are missing
    assert outcome.peak < 48 * MIB + 25 * MIB


def test_the_total_size_of_trees_is_limited(script, refused, attempt):
    trees = [tree((0o100644, b"%d" % each + b"n" * 200, FILE)) for each in range(20)]
    root = tree(*((DIRECTORY, b"%02d" % number, each) for number, each in enumerate(trees)))
    tip = commit(root)
    script.serve_pack(tip, pack_of(tip, root, *trees, FILE))
    assert refused(LimitExceeded, max_tree_bytes=4000).details["limit"] == "max_tree_bytes"
    assert len(attempt()) == 40


@pytest.mark.parametrize(
    "names",
    [
        [(0o100644, b"a"), (0o100644, b"a")],
        [(0o100644, b"a"), (DIRECTORY, b"a")],
        [(0o100644, b"a"), (0o100644, b"a.b"), (DIRECTORY, b"a")],
        [(0o100644, b"a"), (0o100644, b"a-"), (0o100644, b"a-.c"), (DIRECTORY, b"a-")],
        [(DIRECTORY, b"a"), (0o100644, b"a")],
        [(0o100644, b"b"), (0o100644, b"a"), (0o100644, b"b")],
    ],
    ids=range(6),
)
def test_a_duplicate_name_is_found_regardless_of_what_is_between(script, refused, names):
    below = tree((0o100644, b"f", FILE))
    root = tree(*((mode, name, below if mode == DIRECTORY else FILE) for mode, name in names))
    tip = commit(root)
    script.serve(tip, root, below, FILE)
    assert "twice" in refused(UnsafeRepository).message


NAMES = st.sampled_from([b"a", b"a-", b"a.", b"a-b", b"a0", b"b", b"ab", b"a-.c"])


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=8), st.booleans())
def test_duplicate_names_are_found_as_with_a_set(entries, in_order):
    if in_order:
        entries.sort(key=lambda each: each[0] + b"/" * each[1])
    root = tree(*((DIRECTORY if each[1] else 0o100644, each[0], FILE) for each in entries))
    plan = Plan(root.hash, Operation(GitSettings(), no_progress, Cancellation()), SHA1)
    try:
        plan.offer(root.hash, root.content)
    except UnsafeRepository:
        assert len({name for name, _ in entries}) < len(entries)
    else:
        assert len({name for name, _ in entries}) == len(entries)


def test_directories_are_returned_in_path_order():
    """A manifest is merged in that order: by path, with a slash at the end."""
    inner = tree((0o100644, b"f", FILE))
    mid = tree((DIRECTORY, b"y", inner), (DIRECTORY, b"x", inner))
    names = [b"b", b"a", b"a-", b"a0"]
    root = tree(*((DIRECTORY, name, mid) for name in names))
    plan = Plan(root.hash, Operation(GitSettings(), no_progress, Cancellation()), SHA1)
    for each in (root, mid, inner):
        plan.offer(each.hash, each.content)
    paths = [path for path, _, _ in plan.written()]
    assert paths == sorted(paths, key=lambda path: path and path + b"/")
    assert len(paths) == 1 + 4 + 8 == len(plan.directories) + 1
    assert set(plan.directories) == set(paths) - {b""}
    assert list(plan.directories[3:][1:2]) == [plan.directories[4]]


def test_a_plan_is_freed_as_soon_as_it_is_unused():
    """It holds all trees; a cycle would keep it until Python looks for those."""
    plan = Plan(ROOT_OF_NOTHING.hash, Operation(GitSettings(), no_progress, Cancellation()), SHA1)
    assert list(plan.directories) == []
    gone = weakref.ref(plan)
    del plan
    assert gone() is None


def test_names_of_megabytes_are_not_kept(script, refused):
    before = names_module._fault.cache_info().currsize
    root = tree((0o100644, b"~" + b"n" * MIB, FILE))
    script.serve(commit(root), root)
    refused(UnsafeRepository)
    assert names_module._fault.cache_info().currsize == before


@pytest.mark.parametrize(
    "name", [b".git\xff", b".git\xe2\x80\x8c\xff", b".g\xe2\x80\x8cit\xc3", b".GIT\xef\xbf\xbe"]
)
def test_a_git_directory_name_before_an_invalid_byte_is_rejected(script, refused, name):
    root = tree((0o100644, name, FILE))
    script.serve(commit(root), root, FILE)
    refused(UnsafeRepository)


@pytest.mark.parametrize("name", [b"\xff", b".\xff", b".gi\xff", b".gitx\xff", b"x.git\xff"])
def test_other_names_with_invalid_bytes_are_written(script, attempt, name):
    root = tree((0o100644, name, FILE))
    script.serve(commit(root), root, FILE)
    assert attempt() == {name: ("file", b"x", False)}


def test_a_flood_of_escaping_links_is_rejected_at_the_first_one(script, refused, monkeypatch):
    """An exception was made for each before one was raised."""
    made, unsafe = [], names_module.unsafe_path
    monkeypatch.setattr(
        links_module, "unsafe_path", lambda *each: made.append(each) or unsafe(*each)
    )
    root = tree(*((LINK, b"%05d" % each, blob(b"/")) for each in range(50)))
    script.serve(commit(root), root, blob(b"/"))
    refused(UnsafeRepository)
    assert len(made) == 1


STEP = st.sampled_from([b"..", b".", b"", b"a", b"b", b"link"])
DIRECTORIES = [b"a", b"a/b", b"b", b"a/b/a", b"b/a"]


@given(st.sampled_from([b"", *(each + b"/" for each in DIRECTORIES)]), st.lists(STEP, min_size=1))
def test_escaping_links_are_detected_as_by_path_joining(directory, steps):
    target = b"/".join(steps) or b"x"
    links = {directory + b"link": target}
    operation = Operation(GitSettings(), no_progress, Cancellation())
    found = list(escaping_links(links, lambda: DIRECTORIES, operation))
    assert found == ([] if _stays(directory, target) else [directory + b"link"])


def _stays(directory, target):
    if target.startswith(b"/"):
        return False
    place = directory.split(b"/")[:-1]
    for step in target.split(b"/"):
        if step == b"..":
            if not place or b"/".join(place) not in DIRECTORIES:
                return False
            place.pop()
        elif step not in (b"", b"."):
            place.append(step)
    return True


def test_an_escaping_link_is_found_in_a_tree_without_directories(script, refused):
    root = tree((LINK, b"link", blob(b"../x")))
    script.serve(commit(root), root, blob(b"../x"))
    refused(UnsafeRepository)


def test_links_through_long_paths_are_checked_quickly(operation_clock):
    deep = b"/".join([b"d" * 250] * 15)
    links = {deep + b"/%d" % each: b"a/../" * 800 for each in range(300)}
    assert list(escaping_links(links, lambda: [deep, deep + b"/a"], operation_clock)) == []


@pytest.fixture
def operation_clock():
    """Time for this alone: joined anew at each step, the paths take several times as long."""
    return Operation(GitSettings(total_timeout=3), no_progress, Cancellation())
