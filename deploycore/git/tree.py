"""What a tree would put on disk, checked in full before the first file is written.

Names come from whoever can push. A name may be ``..``, ``a/b``, or one of the spellings that
some file system takes for ``.git``; a link may lead out of the tree; a small pack may describe
millions of files. Trees are taken in any order, as they arrive; none is entered by recursion,
so depth is a limit and no crash.

Sources: git's ``verify_path`` (read-cache.c) and CVE-2014-9390, CVE-2019-1352, CVE-2021-21300.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice, pairwise
from typing import NamedTuple, Protocol

from dulwich.index import (
    validate_path_element_default,
    validate_path_element_hfs,
    validate_path_element_ntfs,
)

from deploycore.errors import LimitExceeded, UnsafeRepository
from deploycore.git.hash_table import PATH_HASH_BYTES, HashTable, path_hash
from deploycore.git.objects import ObjectFormat, TreeEntry, read_tree
from deploycore.git.operation import Operation
from deploycore.git.wording import clean

__all__ = ["File", "Named", "Plan", "escaping_links", "refuse_depth", "shown"]

_LINK_BYTES_MOST = 4095
_NAME_BYTES_MOST = 255
_EARLY_BYTES_MOST = 8 * 1024 * 1024
_OVERHEAD = 256  # bytes that a small tree takes besides its content
_AT_ONCE = 1000
_DIRECTORIES = (stat.S_IFDIR, 0o160000)  # and the places of submodules
# A file's place in one number: which tree, where in it the name begins, how long the name is,
# and whether it is executable.
_START_SHIFT, _TREE_SHIFT = 9, 41
_START_MASK = (1 << _TREE_SHIFT - _START_SHIFT) - 1
# Names that mean nothing special anywhere: most of them, and the other checks are slow.
_is_plain = re.compile(
    rb"[A-Za-z0-9_+,=@-](?:[A-Za-z0-9_+,=@. -]{0,200}[A-Za-z0-9_+,=@-])?"
).fullmatch


class Named(NamedTuple):
    """An object with a place.

    Attributes:
        path: Relative, with slashes, in whatever bytes the repository has.
        hash: For a gitlink, of the submodule's commit.
    """

    path: bytes
    hash: bytes


class File(NamedTuple):
    """A file, and the hash of its content."""

    path: bytes
    hash: bytes
    executable: bool


class Former(Protocol):
    """A former checkout of the same repository."""

    def tree(self, directory: bytes) -> bytes | None:
        """The hash of the tree that a directory was written from, if it was a directory."""

    def files(self, directory: bytes) -> Iterator[TreeEntry]:
        """The files of a directory that can be reused, in the order of its tree."""


class Plan:
    """Everything that a commit's tree would write.

    Args:
        root: The tree's hash.
        object_format: Of the repository.
        former: What a former checkout has; what is the same there need not be written.
        ignored: Whether to leave a path out, with all below it; the second argument is
            whether it is a directory, or the place of a submodule. Then a directory is there
            only if it, or one in it that is not left out itself, holds something else than
            directories, left out or not: so does ``git archive`` have it.

    Attributes:
        directories: Their paths, each before what is in it; the root itself is left out.
        present: The paths of those that are the same in the former checkout.
        symlinks: Their targets are blobs.
        gitlinks: The places of submodules.
    """

    def __init__(
        self,
        root: bytes,
        operation: Operation,
        object_format: ObjectFormat,
        *,
        former: Former | None = None,
        ignored: Callable[[bytes, bool], bool] | None = None,
    ) -> None:
        self.directories: list[bytes] = []
        self.present: list[bytes] = []
        self.symlinks: list[Named] = []
        self.gitlinks: list[Named] = []
        self._operation = operation
        self._format = object_format
        self._hash_bytes = object_format.hash_bytes
        self._former = former
        self._ignored = ignored
        self._occupied: set[bytes] = set()
        # Of each directory, numbered from the root, which is 0: the hash and the content of its
        # tree, as far as it was read. A file's place is a directory and a position in its tree.
        self._paths = self.directories if ignored is None else []
        self._hashes = bytearray()
        self._contents: list[bytes | None] = []
        self._missing: dict[bytes, int | list[int]] = {}
        self._places = HashTable(object_format.hash_bytes)
        self._reused: dict[bytes, bytes] = {}
        self._early: dict[bytes, bytes] = {}
        self._early_bytes = 0
        self._ready: list[bytes] = []
        self._expect(b"", root)

    @property
    def unwritten(self) -> HashTable:
        """Where blobs belong that were not taken yet, by hash; for ``take`` to look into."""
        return self._places

    def missing(self) -> list[bytes]:
        """Hashes of trees that were not offered yet, not too many; none if all were.

        The last ones first: those that are deep in the tree are done with before there are many.
        """
        return list(islice(reversed(self._missing), _AT_ONCE))

    def offer(self, tree: bytes, content: bytes) -> None:
        """Give a tree, needed or not; any order is good.

        Args:
            tree: Its hash, which the content must have been found to have.

        Raises:
            Damaged: It is malformed.
            UnsafeRepository: A name or a mode must not be written.
            LimitExceeded: There is too much of it, or it is too deep.
        """
        if tree not in self._missing:
            self._keep(tree, content)
            return
        self._read_all(tree, content)
        while self._ready:
            early = self._ready.pop()
            self._read_all(early, self._early[early])

    def take(self, blob: bytes) -> Iterable[File]:
        """Where a file's content belongs; each place is told once only."""
        found = self._places.pop(blob)
        if len(found) > 1:
            return map(self._file, found)
        return [self._file(found[0])] if found else ()

    def reused(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Files that are the same in the former checkout, in directories that are not.

        Their names, by the path of their directory.
        """
        return ((path, names.split(b"\0")) for path, names in self._reused.items())

    def _keep(self, tree: bytes, content: bytes) -> None:
        size = len(content) + _OVERHEAD
        if self._early_bytes + size <= _EARLY_BYTES_MOST:
            self._early[tree] = content
            self._early_bytes += size

    def _expect(self, path: bytes, tree: bytes) -> None:
        refuse_depth(path, self._operation.settings.path_depth_most)
        number = len(self._contents)
        self._hashes += tree
        self._contents.append(None)
        if path:
            self._paths.append(path)
        if self._former and self._former.tree(path) == tree:
            self.present.append(path)
            self._occupy(path)
            return
        if tree in self._early and tree not in self._missing:
            self._ready.append(tree)
        before = self._missing.setdefault(tree, number)
        if isinstance(before, list):
            before.append(number)
        elif before != number:
            self._missing[tree] = [before, number]

    def _read_all(self, tree: bytes, content: bytes) -> None:
        found = self._missing.pop(tree, ())
        for number in (found,) if isinstance(found, int) else found:
            self._read(number, content)

    def _path(self, number: int) -> bytes:
        return self._paths[number - 1] if number else b""

    def _read(self, number: int, content: bytes) -> None:
        self._contents[number] = content
        path = self._path(number)
        prefix = path and path + b"/"
        tree = number << _TREE_SHIFT
        reusable = self._former.files(path) if self._former else iter(())
        same = next(reusable, None)
        reused = []
        room = self._operation.entries_left
        names = set()
        entries = 0
        files = 0
        for entry in read_tree(content, self._format):
            entries += 1
            if entries > room:
                break
            name, mode, hash_, position = entry
            if not _is_plain(name):
                _refuse_unsafe_name(prefix, name)
            names.add(name)
            if len(names) != entries:
                raise _unsafe(prefix + name, "is in its directory twice")
            if self._ignored and self._leaves_out(path, prefix + name, mode):
                continue
            if stat.S_ISREG(mode):
                files += 1
                while same and same.name < name:
                    same = next(reusable, None)
                if same and same[:3] == entry[:3]:
                    reused.append(name)
                else:
                    first = content.index(b" ", position) + 1
                    place = first << _START_SHIFT | len(name) << 1 | (mode >> 6 & 1)
                    self._places.add(hash_, tree | place)
            else:
                self._place_other(prefix, entry)
        if reused:
            self._reused[path] = b"\0".join(reused)
        self._places.settle(files)
        self._operation.plan(entries)
        self._operation.expect(files)

    def _leaves_out(self, directory: bytes, path: bytes, mode: int) -> bool:
        self._operation.check_sometimes()
        if not stat.S_ISDIR(mode):
            self._occupy(directory)
        ignored = self._ignored
        return ignored is not None and ignored(path, stat.S_IFMT(mode) in _DIRECTORIES)

    def _occupy(self, directory: bytes) -> None:
        """A directory has to be there, and those that it is in."""
        if self._ignored is None:
            return
        found = []
        while directory and directory not in self._occupied:
            self._occupied.add(directory)
            found.append(directory)
            directory = directory.rpartition(b"/")[0]
        self.directories.extend(reversed(found))

    def _place_other(self, prefix: bytes, entry: TreeEntry) -> None:
        path = prefix + entry.name
        if not stat.S_ISDIR(entry.mode):
            self._operation.hold(len(path))
        match stat.S_IFMT(entry.mode):
            case stat.S_IFDIR:
                self._expect(path, entry.hash)
            case stat.S_IFLNK:
                self.symlinks.append(Named(path, entry.hash))
                self._operation.expect(1)
            case 0o160000:
                self.gitlinks.append(Named(path, entry.hash))
            case _:
                raise _unsafe(path, f"has the unknown mode {entry.mode:o}")

    def written(self) -> Iterator[tuple[bytes, bytes, list[bytes]]]:
        """The path, the tree and the names of the files of each directory, as paths are sorted
        with a slash at their ends: what is in a directory comes right after it.

        Directories that are the same in the former checkout are left out.
        """
        size = self._hash_bytes
        for number in sorted(range(len(self._contents)), key=self._order):
            content, path = self._contents[number], self._path(number)
            if content is None or (self._ignored and path and path not in self._occupied):
                continue
            prefix = path and path + b"/"
            names = [
                entry.name
                for entry in read_tree(content, self._format)
                if stat.S_ISREG(entry.mode)
                and not (self._ignored and self._ignored(prefix + entry.name, False))
            ]
            yield path, bytes(self._hashes[number * size : (number + 1) * size]), names

    def _order(self, number: int) -> bytes:
        path = self._path(number)
        return path and path + b"/"

    def entries(self) -> Iterator[tuple[bytes, TreeEntry]]:
        """The path and the entry of all that is no directory, in the order of git's index."""
        numbers = HashTable(PATH_HASH_BYTES)
        for number in range(len(self._contents)):
            numbers.add(path_hash(self._path(number)), number)
            numbers.settle(1)
        pending = [self._lines(b"", 0)]
        while pending:
            path, entry = next(pending[-1], (b"", None))
            if entry is None:
                pending.pop()
            elif stat.S_ISDIR(entry.mode):
                pending.append(self._lines(path, numbers.get(path_hash(path))))
            else:
                yield path, entry

    def _lines(self, path: bytes, number: int | None) -> Iterator[tuple[bytes, TreeEntry]]:
        content = None if number is None else self._contents[number]
        prefix = path and path + b"/"
        return ((prefix + entry.name, entry) for entry in _in_order(content or b"", self._format))

    def _file(self, place: int) -> File:
        number = place >> _TREE_SHIFT
        path, content = self._path(number), self._contents[number] or b""
        start = place >> _START_SHIFT & _START_MASK
        end = start + (place >> 1 & 0xFF)
        executable = bool(place & 1)
        name, hash_ = content[start:end], content[end + 1 : end + 1 + self._hash_bytes]
        return File(path + b"/" + name if path else name, hash_, executable)


def refuse_depth(path: bytes, most: int) -> None:
    """Refuse a directory that is within too many others.

    Raises:
        LimitExceeded: Those are more than ``most``, itself included.
    """
    if path and path.count(b"/") + 1 > most:
        raise LimitExceeded(
            f"The repository has more than {most} directories within each other,"
            f" at {clean(path, most=60)!r}.",
            hint="Raise path_depth_most if this repository is to be trusted.",
            limit="path_depth_most",
        )


def shown(path: bytes) -> str:
    """A path, for messages."""
    return clean(path, most=200)


def escaping_links(
    targets: Mapping[bytes, bytes], directories: Collection[bytes]
) -> Iterator[tuple[bytes, UnsafeRepository]]:
    """Symbolic links that lead, or could be made to lead, out of the tree, each with its fault.

    Args:
        targets: What each link, by its path, points to.
        directories: The paths of all true directories of the tree; a set.

    Raises:
        UnsafeRepository: A link has a target that no link can have.
    """
    for path, target in targets.items():
        if not target or len(target) > _LINK_BYTES_MOST or b"\0" in target:
            raise _unsafe(path, "is a link with an impossible target")
        if target.startswith(b"/"):
            yield path, _unsafe(path, f"is a link to the absolute path {shown(target)!r}")
        elif not _stays_within(path, target, directories):
            yield path, _unsafe(path, f"is a link that leads out of the tree: {shown(target)}")


def _stays_within(path: bytes, target: bytes, directories: Collection[bytes]) -> bool:
    """Whether following the link step by step never leaves the tree.

    ``..`` is the lexical parent only of a true directory; after the name of another link it
    leads wherever that one leads. So it may follow only what this tree has as a directory.
    """
    place = path.split(b"/")[:-1]
    for step in target.split(b"/"):
        if step in (b"", b"."):
            continue
        if step != b"..":
            place.append(step)
            continue
        if not place or b"/".join(place) not in directories:
            return False
        place.pop()
    return True


def _in_order(tree: bytes, object_format: ObjectFormat) -> Iterable[TreeEntry]:
    """The lines of a tree, in the order that they should have."""

    def key(entry: TreeEntry) -> bytes:
        return entry.name + b"/" if stat.S_ISDIR(entry.mode) else entry.name

    if all(one < other for one, other in pairwise(map(key, read_tree(tree, object_format)))):
        return read_tree(tree, object_format)
    return sorted(read_tree(tree, object_format), key=key)


@lru_cache(maxsize=4096)
def _fault(name: bytes) -> str:
    if not name or b"/" in name or not validate_path_element_default(name):
        return "is no name that a file may have"
    if len(name) > _NAME_BYTES_MOST:
        return f"has a name of more than {_NAME_BYTES_MOST} bytes"
    if not validate_path_element_ntfs(name) or not _safe_on_hfs(name):
        return "is taken for .git by some file systems"
    return ""


def _refuse_unsafe_name(prefix: bytes, name: bytes) -> None:
    fault = _fault(name)
    if fault:
        raise _unsafe(prefix + name, fault)


def _safe_on_hfs(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        # HFS+ holds no such name, and elsewhere it stands for itself alone.
        return True
    return validate_path_element_hfs(name)


def _unsafe(path: bytes, why: str) -> UnsafeRepository:
    return UnsafeRepository(
        f"The repository holds {shown(path)!r}, which {why}.",
        hint="Remove it from the repository, and find out who added it and why.",
        path=shown(path),
    )
