"""The plan of a checkout: what a commit's tree would put on disk, checked before files are written.

A small pack may describe millions of files. Trees are read in any order, as they arrive, and
without recursion, so that depth is a limit and not a crash. ``names`` decides which names are
refused, and ``links`` which links.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, overload

from deploycore.errors import LimitExceeded
from deploycore.git.checkout.names import (
    MALFORMED,
    MAX_PATH_BYTES,
    Siblings,
    is_plain_name,
    refuse_depth,
    refuse_unsafe_name,
    sort_key,
    too_long,
    unsafe_path,
)
from deploycore.git.operation import Operation
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_hash
from deploycore.git.packs.objects import ObjectFormat, TreeEntry, read_tree
from deploycore.git.wording import limit_hint

__all__ = ["File", "Named", "Plan"]

_MAX_PRESENT_BYTES = 16 * 1024 * 1024
_MAX_EARLY_BYTES = 8 * 1024 * 1024
_OVERHEAD = 256  # bytes that a small tree takes besides its content
_AT_ONCE = 1000
_DIRECTORIES = (stat.S_IFDIR, 0o160000)  # directories and submodules
# A file's place in one number: which tree, where in it the name begins, how long the name is,
# and whether it is executable.
_START_SHIFT, _TREE_SHIFT = 9, 41
_START_MASK = (1 << _TREE_SHIFT - _START_SHIFT) - 1
_LENGTH_MASK = 0xFF


class Named(NamedTuple):
    """An object and its path.

    Attributes:
        path: Relative, with slashes; the bytes that the repository has.
        hash: The object's hash; for a gitlink, that of the submodule's commit.
    """

    path: bytes
    hash: bytes


class File(NamedTuple):
    """A file, and the hash of its content."""

    path: bytes
    hash: bytes
    executable: bool


class Former(Protocol):
    """An earlier checkout of the same repository."""

    def tree(self, directory: bytes) -> bytes | None:
        """The hash of the tree that a directory was written from, if it was a directory."""

    def files(self, directory: bytes) -> Iterator[TreeEntry]:
        """The files of a directory that can be reused, in the order of its tree."""


class Plan:
    """Everything that a commit's tree would write.

    Args:
        root: The tree's hash.
        object_format: The repository's object format.
        former: An earlier checkout. What is the same there need not be written.
        ignored: Whether to leave out a path and everything below it. The second argument is
            whether the path is a directory or a submodule. A directory is then written only if
            it, or a subdirectory that is not left out, has an entry that is not a directory, even
            if that entry is left out. ``git archive`` does the same.

    Attributes:
        present: The paths of directories that are the same in the earlier checkout.
        symlinks: The symbolic links; their targets are blobs.
        gitlinks: The submodules.
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
        # If ``ignored`` is set: which directories are written, and in which order.
        self._occupied: set[int] = set()
        self._in_order = array("I") if ignored else None
        self.present: list[bytes] = []
        self.symlinks: list[Named] = []
        self.gitlinks: list[Named] = []
        self._operation = operation
        self._format = object_format
        self._hash_bytes = object_format.hash_bytes
        self._former = former
        self._ignored = ignored
        # For each directory, numbered from 0 for the root: the hash and the content of its tree, if
        # it was read; its place, which is a parent directory and a position in the parent's tree;
        # whether the tree is sorted as git requires; and its subdirectories, the first one and the
        # one after the last.
        self._hashes = bytearray()
        self._contents: list[bytes | None] = []
        self._locations = array("Q")
        self._first, self._after = array("I"), array("I")
        self._kept_bytes = 0
        self._present_bytes = 0
        self._missing = HashTable(object_format.hash_bytes)
        self._places = HashTable(object_format.hash_bytes)
        self._known_path = (0, b"")
        self._reused: dict[int, bytes] = {}
        self._early: dict[bytes, bytes] = {}
        self._early_bytes = 0
        self._ready: list[bytes] = []
        self._entry_count = 0
        self._is_sorted = bytearray()
        self._expect(b"", root, 0)

    @property
    def directories(self) -> Sequence[bytes]:
        """The paths of all directories, each before its subdirectories, without the root.

        Paths are built on access, since a small pack can have gigabytes of them.
        """
        return _Paths(self, self._in_order)

    @property
    def unwritten(self) -> HashTable:
        """The places of blobs that were not taken yet, by hash."""
        return self._places

    def missing(self) -> list[bytes]:
        """Return hashes of trees that were not offered yet, up to a maximum; none if all were.

        The newest come first, so that deep trees are finished before many are pending.
        """
        return self._missing.newest(_AT_ONCE)

    def offer(self, tree: bytes, content: bytes) -> None:
        """Offer a tree, in any order, whether it is needed or not.

        Args:
            tree: The hash, which the caller has computed from the content.

        Raises:
            Damaged: The tree is malformed.
            UnsafeRepository: A name or a mode must not be written.
            LimitExceeded: There are too many entries, or they are too deep.
        """
        if self._missing.get(tree) is None:
            self._keep(tree, content)
            return
        self._read_all(tree, content)
        while self._ready:
            early = self._ready.pop()
            self._read_all(early, self._early[early])

    def take(self, blob: bytes) -> Iterable[File]:
        """Return the files that have this content; each file is returned only once."""
        found = self._places.pop(blob)
        if len(found) > 1:
            return map(self._file, found)
        return [self._file(found[0])] if found else ()

    def reused(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Files that are the same in the earlier checkout, in directories that are not.

        Returns:
            The path of each directory and the names of its files.
        """
        return ((self.directory(each), names.split(b"\0")) for each, names in self._reused.items())

    def _keep(self, tree: bytes, content: bytes) -> None:
        size = len(content) + _OVERHEAD
        if self._early_bytes + size <= _MAX_EARLY_BYTES:
            self._early[tree] = content
            self._early_bytes += size

    def _expect(self, path: bytes, tree: bytes, place: int) -> None:
        refuse_depth(path, self._operation.settings.max_path_depth)
        number = len(self._contents)
        self._hashes += tree
        self._contents.append(None)
        self._locations.append(place)
        self._is_sorted.append(True)
        self._first.append(0)
        self._after.append(0)
        if self._is_present(path, tree):
            self.present.append(path)
            self._present_bytes += len(path)
            self._occupy(number)
            return
        if tree in self._early and self._missing.get(tree) is None:
            self._ready.append(tree)
        self._missing.add(tree, number)

    @property
    def directory_count(self) -> int:
        """The number of directories, the root included."""
        return len(self._contents)

    def directory(self, number: int) -> bytes:
        """The path of a directory; quick for the last requested one, and those below it."""
        known, path = self._known_path
        if number == known:
            return path
        names, below = [], number
        while below and below != known:
            names.append(self._name(below))
            below = self._locations[below] >> _TREE_SHIFT
        if below:
            names.append(path)
        path = b"/".join(reversed(names))
        self._known_path = (number, path)
        return path

    def _is_present(self, path: bytes, tree: bytes) -> bool:
        if self._former is None or self._former.tree(path) != tree:
            return False
        # Above this size, unchanged files are found one by one.
        return self._present_bytes + len(path) <= _MAX_PRESENT_BYTES

    def _read_all(self, tree: bytes, content: bytes) -> None:
        if content is not self._early.get(tree):
            self._kept_bytes += len(content)
        if self._kept_bytes > self._operation.settings.max_tree_bytes:
            raise _too_many_trees(self._operation.settings.max_tree_bytes)
        for number in self._missing.pop(tree):
            self._read(number, content)

    def _name(self, number: int) -> bytes:
        place = self._locations[number]
        start = place >> _START_SHIFT & _START_MASK
        content = self._contents[place >> _TREE_SHIFT] or b""
        return content[start : start + (place >> 1 & _LENGTH_MASK)]

    def _read(self, number: int, content: bytes) -> None:
        self._contents[number] = content
        self._first[number] = len(self._contents)
        path = self.directory(number)
        prefix = path and path + b"/"
        tree = number << _TREE_SHIFT
        reusable = self._former.files(path) if self._former else iter(())
        same = next(reusable, None)
        reused = []
        room = self._operation.entries_left
        siblings = Siblings(content, self._format)
        longest = MAX_PATH_BYTES - len(prefix)
        entries = 0
        files = 0
        for entry in read_tree(content, self._format):
            entries += 1
            if entries > room:
                break
            name, mode, hash_, position = entry
            if not is_plain_name(name):
                refuse_unsafe_name(prefix, name)
            if len(name) > longest:
                raise too_long(prefix + name)
            if siblings.repeat(entry):
                raise unsafe_path(prefix + name, "which is in its directory twice", MALFORMED)
            if self._ignored and self._leaves_out(number, prefix + name, mode):
                continue
            first = content.index(b" ", position) + 1
            place = tree | first << _START_SHIFT | len(name) << 1 | (mode >> 6 & 1)
            if stat.S_ISREG(mode):
                files += 1
                while same and same.name < name:
                    same = next(reusable, None)
                if same and same[:3] == entry[:3]:
                    reused.append(name)
                else:
                    self._places.add(hash_, place)
            else:
                self._place_other(prefix, entry, place)
        self._after[number] = len(self._contents)
        self._entry_count += entries
        self._is_sorted[number] = siblings.are_sorted
        if reused:
            self._reused[number] = b"\0".join(reused)
        self._operation.plan(entries)
        self._operation.expect(files)

    def _leaves_out(self, directory: int, path: bytes, mode: int) -> bool:
        self._operation.check_sometimes()
        if not stat.S_ISDIR(mode):
            self._occupy(directory)
        ignored = self._ignored
        return ignored is not None and ignored(path, stat.S_IFMT(mode) in _DIRECTORIES)

    def _occupy(self, number: int) -> None:
        """Write a directory and those above it."""
        if self._in_order is None:
            return
        found = []
        while number and number not in self._occupied:
            self._occupied.add(number)
            found.append(number)
            number = self._locations[number] >> _TREE_SHIFT
        self._in_order.extend(reversed(found))

    def _place_other(self, prefix: bytes, entry: TreeEntry, place: int) -> None:
        path = prefix + entry.name
        if not stat.S_ISDIR(entry.mode):
            self._operation.hold(len(path))
        match stat.S_IFMT(entry.mode):
            case stat.S_IFDIR:
                self._expect(path, entry.hash, place)
            case stat.S_IFLNK:
                self.symlinks.append(Named(path, entry.hash))
                self._operation.expect(1)
            case 0o160000:
                self.gitlinks.append(Named(path, entry.hash))
            case _:
                raise unsafe_path(path, f"which has the unknown mode {entry.mode:o}", MALFORMED)

    def written(self) -> Iterator[tuple[bytes, bytes, list[bytes]]]:
        """The path, the tree and the names of the files of each directory.

        They are sorted by path with a slash at its end, so that subdirectories directly follow
        their parent. Directories that are the same in the earlier checkout are left out.
        """
        pending = [iter((0,))]
        while pending:
            number = next(pending[-1], None)
            content = None if number is None else self._contents[number]
            if number is None:
                pending.pop()
            if number is None or content is None or self._is_left_empty(number):
                continue
            path = self.directory(number)
            prefix = path and path + b"/"
            names = [
                entry.name
                for entry in read_tree(content, self._format)
                if stat.S_ISREG(entry.mode)
                and not (self._ignored and self._ignored(prefix + entry.name, False))
            ]
            size = self._hash_bytes
            yield path, bytes(self._hashes[number * size : (number + 1) * size]), names
            below = range(self._first[number], self._after[number])
            pending.append(iter(sorted(below, key=lambda each: self._name(each) + b"/")))

    def _is_left_empty(self, number: int) -> bool:
        return self._in_order is not None and bool(number) and number not in self._occupied

    def entries(self) -> Iterator[tuple[bytes, TreeEntry]]:
        """The path and the entry of everything but directories, in the order of git's index."""
        numbers = HashTable(PATH_HASH_BYTES)
        for number in range(len(self._contents)):
            numbers.add(path_hash(self.directory(number)), number)
        pending = [self._lines(b"", 0)]
        while pending:
            for path, entry in pending[-1]:
                if stat.S_ISDIR(entry.mode):
                    pending.append(self._lines(path, numbers.get(path_hash(path))))
                    break
                yield path, entry
            else:
                pending.pop()

    @property
    def entry_count(self) -> int:
        """The number of ``entries``, if nothing is ignored."""
        return self._entry_count - (self.directory_count - 1)

    def _lines(self, path: bytes, number: int | None) -> Iterator[tuple[bytes, TreeEntry]]:
        content = None if number is None else self._contents[number]
        prefix = path and path + b"/"
        entries: Iterable[TreeEntry] = read_tree(content or b"", self._format)
        if number is not None and not self._is_sorted[number]:
            entries = sorted(entries, key=sort_key)
        return ((prefix + entry.name, entry) for entry in entries)

    def _file(self, place: int) -> File:
        number = place >> _TREE_SHIFT
        path, content = self.directory(number), self._contents[number] or b""
        start = place >> _START_SHIFT & _START_MASK
        end = start + (place >> 1 & _LENGTH_MASK)
        executable = bool(place & 1)
        name, hash_ = content[start:end], content[end + 1 : end + 1 + self._hash_bytes]
        return File(path + b"/" + name if path else name, hash_, executable)


class _Paths(Sequence[bytes]):
    """The paths of a plan's directories; a slice is such a sequence, too.

    Args:
        numbers: The numbers of the directories (default: all but the root).
    """

    def __init__(self, plan: Plan, numbers: Sequence[int] | None = None) -> None:
        self._plan = plan
        self._numbers = numbers

    @property
    def _range(self) -> Sequence[int]:
        return range(1, self._plan.directory_count) if self._numbers is None else self._numbers

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        found = self._range[index]
        return self._plan.directory(found) if isinstance(found, int) else _Paths(self._plan, found)


def _too_many_trees(most: int) -> LimitExceeded:
    return LimitExceeded(
        f"The repository's names of files and directories take more than {most:,} bytes.",
        hint=limit_hint("max_tree_bytes"),
        limit="max_tree_bytes",
    )
