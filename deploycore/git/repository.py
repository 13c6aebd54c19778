"""The ``.git`` of a clone, written by hand so that nothing else gets into it.

A shallow repository of one branch, as ``git clone --depth 1 --branch`` makes it: its
configuration holds the clean URL, and nothing of the user's own configuration is read.

Format: https://git-scm.com/docs/gitrepository-layout and https://git-scm.com/docs/git-config
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from dulwich.index import IndexEntry, index_entry_from_stat, write_index_dict

from deploycore.git.checkout import Written
from deploycore.git.disk import write_file
from deploycore.git.remote import Fetched
from deploycore.git.tree import File, Gitlink, Symlink

__all__ = ["make_repository"]

_BRANCHES = b"refs/heads/"
_DIRECTORIES = ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags")


def make_repository(
    tree: Path,
    pack: Path,
    checksum: str,
    fetched: Fetched,
    url: str,
    written: Iterable[Written],
    *,
    shallow: bool,
) -> None:
    """Make a checked-out tree a git repository; the pack file is moved into it.

    Args:
        tree: Where the files are.
        pack: Ends in ``.pack``, and is closed; its index is beside it.
        checksum: The pack's.
        url: Without credentials.
        written: The files of the tree itself, those of submodules left out.
        shallow: Whether the commit has parents that were left out.

    Raises:
        OSError: A call of the file system failed.
    """
    git = tree / ".git"
    git.mkdir()
    for name in _DIRECTORIES:
        (git / name).mkdir()
    packs = git / "objects" / "pack"
    for suffix in (".pack", ".idx"):
        os.rename(pack.with_suffix(suffix), packs / f"pack-{checksum}{suffix}")
    write_file(git / "index", _index(written))
    write_file(git / "config", _config(fetched.ref, url))
    write_file(git / "packed-refs", _packed_refs(fetched))
    if shallow:
        write_file(git / "shallow", fetched.commit.encode() + b"\n")
    write_file(git / "HEAD", b"ref: " + fetched.ref + b"\n")


def _config(ref: bytes, url: str) -> bytes:
    branch = ref.removeprefix(_BRANCHES)
    tracked = b"refs/remotes/origin/" + branch
    return b"\n".join(
        (
            b"[core]",
            b"\trepositoryformatversion = 0",
            b"\tfilemode = true",
            b"\tbare = false",
            b"\tlogallrefupdates = true",
            b'[remote "origin"]',
            b"\turl = " + _quoted(url.encode()),
            b"\tfetch = " + _quoted(b"+" + ref + b":" + tracked),
            b"[branch " + _quoted(branch) + b"]",
            b"\tremote = origin",
            b"\tmerge = " + _quoted(ref),
            b"",
        )
    )


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _packed_refs(fetched: Fetched) -> bytes:
    commit = fetched.commit.encode()
    branch = fetched.ref.removeprefix(_BRANCHES)
    return b"".join(
        (
            b"# pack-refs with: peeled fully-peeled sorted \n",
            commit + b" " + fetched.ref + b"\n",
            commit + b" refs/remotes/origin/" + branch + b"\n",
        )
    )


def _index(written: Iterable[Written]) -> bytes:
    buffer = BytesIO()
    write_index_dict(buffer, {each.planned.path: _index_entry(each) for each in written}, version=2)
    content = buffer.getvalue()
    return content + hashlib.sha1(content, usedforsecurity=False).digest()


def _index_entry(written: Written) -> IndexEntry:
    planned = written.planned
    mode = 0o160000
    if isinstance(planned, File):
        mode = 0o100755 if planned.executable else 0o100644
    elif isinstance(planned, Symlink):
        mode = 0o120000
    size = 0 if isinstance(planned, Gitlink) else written.stat.st_size
    entry = index_entry_from_stat(written.stat, planned.hash, mode)
    entry.size = size
    return entry
