"""Write the ``.git`` directory of a clone, with exactly the files that it needs.

The result is a shallow repository of one branch or tag, like one that
``git clone --depth 1 --branch`` makes. Its configuration has the URL without credentials, and the
user's own configuration is not read. For any other commit, HEAD holds its hash, without refs.

Format: https://git-scm.com/docs/gitrepository-layout and https://git-scm.com/docs/git-config
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from deploycore.disk.durable import DIRECTORY_MODE
from deploycore.disk.trees import write_file
from deploycore.git.packs.objects import SHA1, ObjectFormat, TreeEntry
from deploycore.git.packs.receive import Received
from deploycore.git.repositories.index import write_index
from deploycore.git.wire.request import Fetched

__all__ = ["core_section", "make_repository", "write_pack_index"]

_BRANCHES = b"refs/heads/"
_TAGS = b"refs/tags/"
_DIRECTORIES = ("objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags")


def write_pack_index(received: Received) -> None:
    """Write the index of a pack beside the pack, from where ``make_repository`` moves both.

    Raises:
        OSError: A file system call failed.
    """
    write_file(_index_path(received), received.index())


def make_repository(
    tree: Path,
    received: Received,
    fetched: Fetched,
    url: str,
    number: int,
    entries: Iterable[tuple[bytes, TreeEntry]],
    *,
    shallow: bool,
) -> None:
    """Make a checked-out tree a git repository; the pack and its index are moved into it.

    Args:
        tree: The directory with the files.
        received: The pack, whose index ``write_pack_index`` has written.
        url: The URL without credentials.
        number: The number of entries.
        entries: The files, links and submodules of the tree, sorted by path.
        shallow: Whether the commit has parents that were left out.

    Raises:
        OSError: A file system call failed.
    """
    git = tree / ".git"
    git.mkdir(DIRECTORY_MODE)
    for name in _DIRECTORIES:
        (git / name).mkdir(DIRECTORY_MODE)
    packs = git / "objects" / "pack"
    name = f"pack-{received.checksum.hex()}"
    os.rename(received.path, packs / f"{name}.pack")
    os.rename(_index_path(received), packs / f"{name}.idx")
    write_index(git / "index", tree, number, entries, received.object_format)
    write_file(git / "config", [_config(fetched.ref, url, received.object_format)])
    write_file(git / "packed-refs", [_packed_refs(fetched)])
    if shallow:
        write_file(git / "shallow", [fetched.commit.encode(), b"\n"])
    is_branch = fetched.ref.startswith(_BRANCHES)
    head = b"ref: " + fetched.ref if is_branch else fetched.commit.encode()
    write_file(git / "HEAD", [head, b"\n"])


def _index_path(received: Received) -> Path:
    return received.path.with_suffix(".idx")


def core_section(object_format: ObjectFormat, *, bare: bool) -> str:
    """Return the first lines of a repository's configuration.

    They state version 1 of the format only if it is needed, since old programs refuse it.
    """
    lines = [
        "[core]",
        f"\trepositoryformatversion = {int(object_format is not SHA1)}",
        "\tfilemode = true",
        f"\tbare = {str(bare).lower()}",
    ]
    if not bare:
        lines.append("\tlogallrefupdates = true")
    if object_format is not SHA1:
        lines += ["[extensions]", f"\tobjectformat = {object_format.name}"]
    return "\n".join(lines) + "\n"


def _config(ref: bytes, url: str, object_format: ObjectFormat) -> bytes:
    lines = [b'[remote "origin"]', b"\turl = " + _quoted(url.encode())]
    branch = ref.removeprefix(_BRANCHES)
    if branch != ref:
        tracked = b"refs/remotes/origin/" + branch
        lines += [
            b"\tfetch = " + _quoted(b"+" + ref + b":" + tracked),
            b"[branch " + _quoted(branch) + b"]",
            b"\tremote = origin",
            b"\tmerge = " + _quoted(ref),
        ]
    elif ref.startswith(_TAGS):
        lines.append(b"\tfetch = " + _quoted(b"+" + ref + b":" + ref))
    return core_section(object_format, bare=False).encode() + b"\n".join((*lines, b""))


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _packed_refs(fetched: Fetched) -> bytes:
    commit, ref = fetched.commit.encode(), fetched.ref
    lines = [b"# pack-refs with: peeled fully-peeled sorted "]
    if ref.startswith(_BRANCHES):
        remote = b"refs/remotes/origin/" + ref.removeprefix(_BRANCHES)
        lines += [commit + b" " + ref, commit + b" " + remote]
    elif ref.startswith(_TAGS) and fetched.tag:
        lines += [fetched.tag.encode() + b" " + ref, b"^" + commit]
    elif ref.startswith(_TAGS):
        lines.append(commit + b" " + ref)
    return b"\n".join((*lines, b""))
