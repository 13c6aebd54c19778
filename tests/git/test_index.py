"""Git's index, as ``clone`` writes it, read back by dulwich."""

import os

import pytest
from dulwich.index import HFS_IGNORABLE_CHARS, Index
from dulwich.object_format import get_object_format

from deploycore.git.checkout import names
from deploycore.git.packs.objects import OBJECT_FORMATS, TreeEntry
from deploycore.git.repositories.index import write_index


@pytest.mark.parametrize("object_format", OBJECT_FORMATS, ids=lambda each: each.name)
def test_an_index_contains_the_data_that_git_compares(tmp_path, object_format):
    hash_ = bytes(range(object_format.hash_bytes))
    (tmp_path / "run").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 4 * 1024**3)  # sparse
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "sub").mkdir()
    (tmp_path / ("n" * 200)).touch()
    os.utime(tmp_path / "run", ns=(5_000_000_007, 5_000_000_007))
    modes = {
        "large": 0o100664,
        "link": 0o120000,
        "n" * 200: 0o100644,
        "run": 0o100775,
        "sub": 0o160000,
    }
    entries = [(name.encode(), TreeEntry(b"", mode, hash_, 0)) for name, mode in modes.items()]

    write_index(tmp_path / "index", tmp_path, len(entries), entries, object_format)

    read = Index(tmp_path / "index", object_format=get_object_format(object_format.name))
    found = {name.decode(): entry for name, entry in read.items()}
    assert {name: oct(entry.mode) for name, entry in found.items()} == {
        "large": "0o100644",
        "link": "0o120000",
        "n" * 200: "0o100644",
        "run": "0o100755",
        "sub": "0o160000",
    }
    assert {entry.sha for entry in found.values()} == {hash_.hex().encode()}
    # A size that looks like 0 would have git read the file each time.
    assert [found[name].size for name in ("large", "link", "run", "sub")] == [1 << 31, 3, 10, 0]
    run = os.lstat(tmp_path / "run")
    assert found["run"].mtime == (5, 7)
    assert found["run"].ctime == divmod(run.st_ctime_ns, 10**9)
    assert found["run"].ino == run.st_ino & 0xFFFFFFFF


def test_a_large_index_is_written_in_chunks(tmp_path):
    count = 1500
    file_names = [b"%04d" % number for number in range(count)]
    for name in file_names:
        (tmp_path / name.decode()).touch()
    entries = [(name, TreeEntry(b"", 0o100644, bytes(20), 0)) for name in file_names]

    write_index(tmp_path / "index", tmp_path, count, iter(entries), OBJECT_FORMATS[0])

    assert list(Index(tmp_path / "index")) == file_names


def test_hfs_ignored_code_points_match_those_of_git():
    assert names._IGNORED_ON_HFS == HFS_IGNORABLE_CHARS
