"""Malicious repositories write nothing outside the target, or nothing at all."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from dataclasses import replace

import pytest

from deploycore.errors import CorruptPack, GitError, LimitExceeded, UnsafeRepository
from deploycore.git import export
from deploycore.git.packs.objects import SHA1, Damaged, TreeEntry, read_tree
from tests.git.servers import DIRECTORY, FILE, GITLINK, LINK, nothing_left, source


@pytest.fixture
def refused(make, target, settings):
    """Exports a repository with this tree, which must be refused, with nothing written."""

    def run(build, kind=UnsafeRepository, **changed):
        shop = make()
        shop.commit(build(shop))
        with pytest.raises(kind) as caught:
            export(source(shop.url), "main", target, settings=replace(settings, **changed))
        assert nothing_left(target)
        assert os.listdir(target.parent.parent) == ["place"]
        return caught.value

    return run


NAMES = [
    b"",
    b".",
    b"..",
    b".git",
    b".GIT",
    b".Git",
    b".git.",
    b".git ",
    b".git...",
    b"git~1",
    b"GIT~1",
    b".git::$INDEX_ALLOCATION",
    b".git\\config",
    b"a\\.git\\b",
    b".g\xe2\x80\x8cit",
    b"\xe2\x80\xae.git",
    b"../escape",
    b"a/b",
    b"/etc/passwd",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [FILE, DIRECTORY, LINK, GITLINK])
def test_dangerous_names_are_refused(refused, name, mode):
    def build(shop):
        inner = shop.files({"config": b"[core]"}) if mode == DIRECTORY else shop.blob(b"x")
        return shop.tree((mode, name, b"1" * 40 if mode == GITLINK else inner))

    refused(build)


def test_dangerous_names_are_rejected_at_any_depth(refused, make, target, settings):
    error = refused(
        lambda shop: shop.files({"a/b/.GIT/hooks/post-checkout": (0o100755, b"#!/bin/sh")})
    )
    assert error.details["path"] == "a/b/.GIT"
    shop = make("cleaned")
    shop.commit(shop.files({"a/b/f": b""}))
    export(source(shop.url), "main", target, settings=settings)


@pytest.mark.parametrize(
    ("at", "link"),
    [
        ("l", b"/etc/passwd"),
        ("l", b".."),
        ("l", b"../x"),
        ("a/l", b"../.."),
        ("a/l", b"../../x"),
        ("l", b"a/../../x"),
        ("l", b"./../x"),
        ("l", b""),
        ("l", b"nul\0here"),
        ("l", b"x" * 5000),
    ],
)
def test_links_out_of_the_target_are_rejected_with_their_path(refused, at, link):
    error = refused(lambda shop: shop.files({at: (LINK, link), "a/f": b""}))
    assert error.details["path"] == at


def test_links_out_of_the_target_through_other_links_are_rejected(refused):
    """``a/b/up`` is the root; lexically ``a/b/up/..`` is ``a/b``, in truth it is above."""
    files = {"a/b/up": (LINK, b"../.."), "a/b/f": b"", "l": (LINK, b"a/b/up/..")}
    assert refused(lambda shop: shop.files(files)).details["path"] == "l"


def test_links_out_of_the_target_through_a_submodule_are_rejected(refused):
    files = {"lib": (GITLINK, b"1" * 40), "l": (LINK, b"lib/here/../../x")}
    assert refused(lambda shop: shop.files(files)).details["path"] == "l"


def test_a_directory_is_counted_during_reading(refused):
    """The rest of a directory with far too many entries is not even looked at."""

    def build(shop):
        return shop.tree(*((FILE, name, shop.blob(b"")) for name in (b"a", b"b", b"..")))

    assert refused(build, LimitExceeded, max_files=1).details["limit"] == "max_files"


NO_ENTRY = [
    b"100644 b",
    b"100644 b\0" + b"1" * 19,
    b"100644",
    b" b\0" + b"1" * 20,
    b"-1 b\0" + b"1" * 20,
    b"+1 b\0" + b"1" * 20,
    b"100648 b\0" + b"1" * 20,
    b"7" * 5000 + b" b\0" + b"1" * 20,
]


@pytest.mark.parametrize("rest", NO_ENTRY)
def test_an_invalid_tree_is_read_up_to_the_error(rest):
    entries = read_tree(b"100644 a\0" + bytes(20) + rest, SHA1)
    assert next(entries) == TreeEntry(b"a", FILE, bytes(20), 0)
    with pytest.raises(Damaged):
        next(entries)


def test_a_commit_of_absurd_size_is_refused(make, target, settings):
    shop = make()
    shop.commit(shop.files({"a": b""}), message=b"x" * 17_000_000)
    with pytest.raises(LimitExceeded, match="a commit of more than 16,777,216 bytes"):
        export(source(shop.url), "main", target, settings=settings)
    assert nothing_left(target)
    shop.commit(shop.files({"a": b""}), message=b"Smaller")
    export(source(shop.url), "main", target, settings=settings)


@pytest.mark.parametrize("second", [FILE, DIRECTORY])
def test_a_duplicate_name_is_rejected(refused, second):
    def build(shop):
        inner = shop.files({"f": b"through"}) if second == DIRECTORY else shop.blob(b"through")
        return shop.tree((LINK, b"a", shop.blob(b"b")), (second, b"a", inner))

    assert "twice" in refused(build).message


def test_an_unknown_kind_of_entry_is_refused(refused):
    refused(lambda shop: shop.tree((0o60000, b"device", shop.blob(b""))))


def test_special_permission_bits_are_not_copied(make, target, settings):
    shop = make()
    shop.commit(shop.tree((0o106777, b"f", shop.blob(b""))))
    export(source(shop.url), "main", target, settings=settings)
    assert (target / "f").stat().st_mode & 0o7000 == 0


def test_trees_that_are_too_deep_are_rejected(refused):
    def build(shop):
        tree = shop.files({"f": b""})
        for _ in range(3000):
            tree = shop.tree((DIRECTORY, b"d", tree))
        return tree

    assert refused(build, LimitExceeded).details["limit"] == "max_path_depth"


def test_a_tree_at_the_maximum_depth_is_written(make, target, settings):
    shop = make("shop", {"d/" * 100 + "f": b"1"})
    export(source(shop.url), "main", target, settings=settings)
    assert (target / ("d/" * 100 + "f")).read_bytes() == b"1"


def test_a_small_pack_that_expands_to_millions_of_files_is_rejected(refused):
    def build(shop):
        tree = shop.files({f"f{number}": b"" for number in range(10)})
        for _ in range(9):
            tree = shop.tree(*((DIRECTORY, b"%d" % number, tree) for number in range(10)))
        return tree

    assert refused(build, LimitExceeded, max_files=5_000).details["limit"] == "max_files"


def test_content_used_under_many_names_counts_each_time(refused):
    def build(shop):
        return shop.files({f"f{number}": b"x" * 1000 for number in range(20)})

    error = refused(build, LimitExceeded, max_checkout_bytes=10_000)
    assert error.details["limit"] == "max_checkout_bytes"


def test_an_oversized_file_is_rejected_before_decompression(refused):
    error = refused(
        lambda shop: shop.files({"zeros": bytes(20_000_000)}),
        LimitExceeded,
        max_object_bytes=1_000_000,
    )
    assert error.details["limit"] == "max_object_bytes"


def test_a_tree_with_missing_objects_is_damaged(make, server, target, settings):
    shop = make("shop", {"a": b"1"})
    tip = shop.repo[shop.repo.refs[b"refs/heads/main"]]
    server.alter = lambda body: _with_pack(body, [(1, tip.as_raw_string())])
    with pytest.raises(CorruptPack, match="missing"):
        export(source(shop.url), "main", target, settings=settings)


def _number(value):
    found = b""
    while True:
        value, low = value >> 7, value & 0x7F
        found += bytes([low | (0x80 if value else 0)])
        if not value:
            return found


def _object(kind, content, *, size=None, base=b""):
    size = len(content) if size is None else size
    first, rest = (kind << 4) | (size & 15), size >> 4
    head = bytes([first | (0x80 if rest else 0)]) + (_number(rest) if rest else b"")
    return head + base + zlib.compress(content)


def _pack(*objects):
    body = b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects)
    return body + hashlib.sha1(body).digest()


def _with_pack(body, contents):
    return _answer(body, _pack(*(_object(kind, content) for kind, content in contents)))


def _answer(body, pack):
    """Another pack in the place of the one that the server sends."""
    start = body.index(b"\x01PACK") - 4
    bands = b"".join(
        b"%04x\x01%s" % (len(pack[at : at + 60_000]) + 5, pack[at : at + 60_000])
        for at in range(0, len(pack), 60_000)
    )
    return body[:start] + bands + b"0000"


BASE = b"0123456789" * 10
BASE_NAME = hashlib.sha1(b"blob %d\0" % len(BASE) + BASE).digest()


@pytest.mark.parametrize(
    ("objects", "kind"),
    [
        pytest.param(
            [_object(3, bytes(5_000_000), size=10)], CorruptPack, id="longer than it says"
        ),
        pytest.param([_object(3, b"x", size=10)], CorruptPack, id="shorter than it says"),
        pytest.param([_object(3, b"x", size=2**62)], LimitExceeded, id="says it is huge"),
        pytest.param([_object(5, b"x")], CorruptPack, id="unknown kind"),
        pytest.param([_object(7, b"", base=b"1" * 20)], CorruptPack, id="delta without sizes"),
        pytest.param(
            [_object(7, _number(100) + _number(2**40) + b"\x01a", base=BASE_NAME)],
            LimitExceeded,
            id="delta to something huge",
        ),
        pytest.param(
            [_object(7, _number(100) + _number(1) + b"\x01a", base=b"1" * 20)],
            CorruptPack,
            id="delta of something that is not there",
        ),
        pytest.param(
            [_object(6, _number(100) + _number(1) + b"\x01a", base=b"\x01")],
            CorruptPack,
            id="delta of something before the beginning",
        ),
        pytest.param(
            [
                _object(3, BASE),
                _object(7, _number(99) + _number(1) + b"\x01a", base=BASE_NAME),
            ],
            CorruptPack,
            id="delta of something of another size",
        ),
        pytest.param([], CorruptPack, id="nothing at all"),
    ],
)
def test_inconsistent_packs_are_rejected(make, server, target, settings, objects, kind):
    shop = make("shop", {"a": b"1"})
    server.alter = lambda body: _answer(body, _pack(*objects))
    with pytest.raises(kind) as caught:
        export(source(shop.url), "main", target, settings=replace(settings, retries=0))
    assert isinstance(caught.value, GitError)
    assert nothing_left(target)
    server.alter = None
    export(source(shop.url), "main", target, settings=settings)
