"""What a tree would put on disk, checked in full before anything is written.

Names come from whoever can push. A name may be ``..``, ``a/b``, or one of the spellings that
some file system takes for ``.git``; a link may lead out of the tree; a small pack may describe
millions of files. The walk keeps its own stack, so depth is a limit and no crash.

Sources: git's ``verify_path`` (read-cache.c) and CVE-2014-9390, CVE-2019-1352, CVE-2021-21300.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass

from dulwich.index import (
    validate_path_element_default,
    validate_path_element_hfs,
    validate_path_element_ntfs,
)
from dulwich.objects import ObjectID

from deploycore.errors import LimitExceeded, UnsafeRepository
from deploycore.git.operation import Operation
from deploycore.git.pack import ReceivedPack, TreeEntry
from deploycore.git.wording import clean

__all__ = ["Directory", "File", "Gitlink", "Planned", "Symlink", "plan", "shown"]

_LINK_BYTES_MOST = 4096


@dataclass(frozen=True)
class Planned:
    """Something to write.

    Attributes:
        path: Relative, with slashes, in whatever bytes the repository has.
        hash: Of the object in the pack; for a gitlink, of the submodule's commit.
    """

    path: bytes
    hash: ObjectID


class Directory(Planned):
    """A directory."""


@dataclass(frozen=True)
class File(Planned):
    """A file."""

    executable: bool


@dataclass(frozen=True)
class Symlink(Planned):
    """A symbolic link, proven to stay within the tree."""

    target: bytes


class Gitlink(Planned):
    """The place of a submodule."""


def shown(path: bytes) -> str:
    """A path, for messages."""
    return clean(path, most=200)


def plan(pack: ReceivedPack, root: ObjectID, operation: Operation) -> list[Planned]:
    """Everything that a tree would write, each directory before what is in it.

    Args:
        root: The tree's hash.

    Raises:
        UnsafeRepository: A name or a link must not be written.
        LimitExceeded: There is too much of it, or it is too deep.
        CorruptPack: The pack lacks a part of it.
    """
    planned = list(_walk(pack, root, operation))
    _refuse_escaping_links(planned)
    operation.expect(sum(isinstance(each, File | Symlink) for each in planned))
    return planned


def _walk(pack: ReceivedPack, root: ObjectID, operation: Operation) -> Iterator[Planned]:
    levels = [_level(pack, b"", root, operation)]
    while levels:
        each = next(levels[-1], None)
        if each is None:
            levels.pop()
            continue
        yield each
        if isinstance(each, Directory):
            if len(levels) > operation.settings.path_depth_most:
                raise _too_deep(each.path, operation.settings.path_depth_most)
            levels.append(_level(pack, each.path + b"/", each.hash, operation))


def _level(
    pack: ReceivedPack, prefix: bytes, tree: ObjectID, operation: Operation
) -> Iterator[Planned]:
    entries: dict[bytes, TreeEntry] = {}
    for entry in pack.tree(tree):
        operation.plan()
        _refuse_unsafe_name(prefix, entry.name)
        if entry.name in entries:
            raise _unsafe(prefix + entry.name, "is in its directory twice")
        entries[entry.name] = entry
    for entry in entries.values():
        yield _planned(pack, prefix + entry.name, entry)


def _planned(pack: ReceivedPack, path: bytes, entry: TreeEntry) -> Planned:
    match stat.S_IFMT(entry.mode):
        case stat.S_IFDIR:
            return Directory(path, entry.hash)
        case stat.S_IFREG:
            return File(path, entry.hash, executable=bool(entry.mode & 0o100))
        case stat.S_IFLNK:
            return Symlink(path, entry.hash, target=_link_target(pack, path, entry.hash))
        case 0o160000:
            return Gitlink(path, entry.hash)
    raise _unsafe(path, f"has the unknown mode {entry.mode:o}")


def _refuse_unsafe_name(prefix: bytes, name: bytes) -> None:
    if not name or b"/" in name or not validate_path_element_default(name):
        raise _unsafe(prefix + name, "is no name that a file may have")
    if not validate_path_element_ntfs(name) or not _safe_on_hfs(name):
        raise _unsafe(prefix + name, "is taken for .git by some file systems")


def _safe_on_hfs(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        # HFS+ holds no such name, and elsewhere it stands for itself alone.
        return True
    return validate_path_element_hfs(name)


def _link_target(pack: ReceivedPack, path: bytes, blob: ObjectID) -> bytes:
    target = pack.blob(blob)
    if not target or len(target) >= _LINK_BYTES_MOST or b"\0" in target:
        raise _unsafe(path, "is a link with an impossible target")
    if target.startswith(b"/"):
        raise _unsafe(path, f"is a link to the absolute path {shown(target)!r}")
    return target


def _refuse_escaping_links(planned: list[Planned]) -> None:
    links = [each for each in planned if isinstance(each, Symlink)]
    if not links:
        return
    directories = {each.path for each in planned if isinstance(each, Directory)}
    for link in links:
        if not _stays_within(link, directories):
            raise _unsafe(link.path, f"is a link that leads out of the tree: {shown(link.target)}")


def _stays_within(link: Symlink, directories: set[bytes]) -> bool:
    """Whether following the link step by step never leaves the tree.

    ``..`` is the lexical parent only of a true directory; after the name of another link it
    leads wherever that one leads. So it may follow only what this tree has as a directory.
    """
    place = link.path.split(b"/")[:-1]
    for step in link.target.split(b"/"):
        if step in (b"", b"."):
            continue
        if step != b"..":
            place.append(step)
            continue
        if not place or b"/".join(place) not in directories:
            return False
        place.pop()
    return True


def _unsafe(path: bytes, why: str) -> UnsafeRepository:
    return UnsafeRepository(
        f"The repository holds {shown(path)!r}, which {why}.",
        hint="Remove it from the repository, and find out who added it and why.",
        path=shown(path),
    )


def _too_deep(path: bytes, most: int) -> LimitExceeded:
    return LimitExceeded(
        f"The repository has more than {most} directories within each other,"
        f" at {clean(path, most=60)!r}.",
        hint="Raise path_depth_most if this repository is to be trusted.",
        limit="path_depth_most",
    )
