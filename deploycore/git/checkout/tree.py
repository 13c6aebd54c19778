"""What a tree would put on disk, checked in full before the first file is written.

Names come from whoever can push. A name may be ``..``, ``a/b``, or one of the spellings that
some file system takes for ``.git``; a link may lead out of the tree; a small pack may describe
millions of files. Trees are taken in any order, as they arrive; none is entered by recursion,
so depth is a limit and no crash.

Refused is what git refuses by default on Linux, and what ``git fsck`` reports as a spelling of
``.git`` besides, which hosts refuse to take; a name that is only odd is written.

Sources: git's ``verify_path`` (read-cache.c), ``is_ntfs_dotgit`` (path.c), ``is_hfs_dotgit``
(utf8.c) and CVE-2014-9390, CVE-2019-1352, CVE-2021-21300.
"""

from __future__ import annotations

import hashlib
import re
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import NamedTuple, Protocol, overload

from dulwich.index import HFS_IGNORABLE_CHARS

from deploycore.errors import LimitExceeded, UnsafeRepository
from deploycore.git.operation import Operation
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_digest, path_hash
from deploycore.git.packs.objects import ObjectFormat, TreeEntry, read_tree
from deploycore.git.wording import clean, quoted, raising, shown

__all__ = [
    "File",
    "Named",
    "Plan",
    "escaping_links",
    "leads_out",
    "refuse_depth",
    "refuse_link_for_modules",
]

_LINK_BYTES_MOST = 4095
_MALFORMED = "Find the tree with git fsck in the repository, and commit its files again."
_NAME_BYTES_MOST = 255
_PATH_BYTES_MOST = 4095  # what a call of the system takes (PATH_MAX)
_PRESENT_BYTES_MOST = 16 * 1024 * 1024
_EARLY_BYTES_MOST = 8 * 1024 * 1024
_OVERHEAD = 256  # bytes that a small tree takes besides its content
_AT_ONCE = 1000
_DIRECTORIES = (stat.S_IFDIR, 0o160000)  # and the places of submodules
# A file's place in one number: which tree, where in it the name begins, how long the name is,
# and whether it is executable.
_START_SHIFT, _TREE_SHIFT = 9, 41
_START_MASK = (1 << _TREE_SHIFT - _START_SHIFT) - 1
_LENGTH_MASK = 0xFF
# Names that mean nothing special anywhere: most of them, and the other checks are slow.
_no_character = re.compile("[\ufffe\uffff]")
# What NTFS takes for .git, and, of links, for .gitmodules: by its short name, with dots and
# spaces at the end, which Windows drops, or as a stream of it.
_END_ON_NTFS = rb"[. ]*(?::.*)?"
_is_git_on_ntfs = re.compile(
    rb"(?:\.git|git~1)" + _END_ON_NTFS, re.IGNORECASE | re.DOTALL
).fullmatch
_is_short_or_gitmodules = re.compile(
    rb"(\.gitmodules|.{8})" + _END_ON_NTFS, re.IGNORECASE | re.DOTALL
).fullmatch
_SHORT_NAME = b"gi7eba"  # what NTFS makes of .gitmodules where shorter names are taken
_is_counter = re.compile(rb"[1-9][0-9]*").fullmatch
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
        # Of those that have to be there, where not all have: which, and in which order.
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
        # Of each directory, numbered from the root, which is 0: the hash and the content of its
        # tree, as far as it was read; its place; and which directories are in it, the first one
        # and the one after the last. A place is a directory and a position in its tree.
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
        self._expect(b"", root, 0)

    @property
    def directories(self) -> Sequence[bytes]:
        """Their paths, each before what is in it; the root itself is left out.

        They are made when they are looked at: a small pack can have gigabytes of them.
        """
        return _Paths(self, self._in_order)

    @property
    def unwritten(self) -> HashTable:
        """Where blobs belong that were not taken yet, by hash; for ``take`` to look into."""
        return self._places

    def missing(self) -> list[bytes]:
        """Hashes of trees that were not offered yet, not too many; none if all were.

        The last ones first: those that are deep in the tree are done with before there are many.
        """
        return self._missing.newest(_AT_ONCE)

    def offer(self, tree: bytes, content: bytes) -> None:
        """Give a tree, needed or not; any order is good.

        Args:
            tree: Its hash, which the content must have been found to have.

        Raises:
            Damaged: It is malformed.
            UnsafeRepository: A name or a mode must not be written.
            LimitExceeded: There is too much of it, or it is too deep.
        """
        if self._missing.get(tree) is None:
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
        return ((self.directory(each), names.split(b"\0")) for each, names in self._reused.items())

    def _keep(self, tree: bytes, content: bytes) -> None:
        size = len(content) + _OVERHEAD
        if self._early_bytes + size <= _EARLY_BYTES_MOST:
            self._early[tree] = content
            self._early_bytes += size

    def _expect(self, path: bytes, tree: bytes, place: int) -> None:
        refuse_depth(path, self._operation.settings.path_depth_most)
        number = len(self._contents)
        self._hashes += tree
        self._contents.append(None)
        self._locations.append(place)
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
        """How many directories there are, the root included."""
        return len(self._contents)

    def directory(self, number: int) -> bytes:
        """The path of a directory; quick for the one that was asked for last, and what is in it."""
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
        # Beyond, what is the same is found out file by file.
        return self._present_bytes + len(path) <= _PRESENT_BYTES_MOST

    def _read_all(self, tree: bytes, content: bytes) -> None:
        if content is not self._early.get(tree):
            self._kept_bytes += len(content)
        if self._kept_bytes > self._operation.settings.tree_bytes_most:
            raise _too_many_trees(self._operation.settings.tree_bytes_most)
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
        siblings = _Siblings(content, self._format)
        longest = _PATH_BYTES_MOST - len(prefix)
        entries = 0
        files = 0
        for entry in read_tree(content, self._format):
            entries += 1
            if entries > room:
                break
            name, mode, hash_, position = entry
            if not _is_plain(name):
                _refuse_unsafe_name(prefix, name)
            if len(name) > longest:
                raise _too_long(prefix + name)
            if siblings.repeat(entry):
                raise _unsafe(prefix + name, "which is in its directory twice", _MALFORMED)
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
        """A directory has to be there, and those that it is in."""
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
                raise _unsafe(path, f"which has the unknown mode {entry.mode:o}", _MALFORMED)

    def written(self) -> Iterator[tuple[bytes, bytes, list[bytes]]]:
        """The path, the tree and the names of the files of each directory, as paths are sorted
        with a slash at their ends: what is in a directory comes right after it.

        Directories that are the same in the former checkout are left out.
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
        """The path and the entry of all that is not a directory, in the order of git's index."""
        numbers = HashTable(PATH_HASH_BYTES)
        for number in range(len(self._contents)):
            numbers.add(path_hash(self.directory(number)), number)
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
        path, content = self.directory(number), self._contents[number] or b""
        start = place >> _START_SHIFT & _START_MASK
        end = start + (place >> 1 & _LENGTH_MASK)
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
            hint=raising("path_depth_most"),
            limit="path_depth_most",
        )


def escaping_links(
    targets: Mapping[bytes, bytes], directories: Callable[[], Iterable[bytes]], operation: Operation
) -> Iterator[bytes]:
    """The paths of symbolic links that lead, or could be made to lead, out of the tree.

    Args:
        targets: What each link, by its path, points to.
        directories: Gives the paths of all true directories of the tree.

    Raises:
        UnsafeRepository: A link has a target that no link can have.
    """
    known: HashTable | None = None
    for path, target in targets.items():
        operation.check_sometimes()
        if not target or len(target) > _LINK_BYTES_MOST or b"\0" in target:
            raise _unsafe(
                path,
                "which is a link with an invalid target",
                "Replace or remove it in the repository.",
            )
        if known is None and b".." in target:
            known = HashTable(PATH_HASH_BYTES)
            for directory in directories():
                operation.check_sometimes()
                known.add(path_hash(directory), 0)
        # Without any "..", no link leads out but an absolute one.
        if target.startswith(b"/") or (
            known is not None and not _stays_within(path, target, known)
        ):
            yield path


def leads_out(path: bytes, target: bytes) -> UnsafeRepository:
    """The error for a link that leads out of the tree."""
    error = _unsafe(
        path,
        f"a link to {quoted(target)}, which leads out of the repository's files",
        "Set links: write-as-files for the application, which writes such links as files, or accept"
        f" this one with links: {{allow: [{quoted(path)}]}}; or remove it from the repository.",
    )
    error.add_context(link_target=shown(target))
    return error


def _stays_within(path: bytes, target: bytes, directories: HashTable) -> bool:
    """Whether following the link step by step never leaves the tree.

    ``..`` is the lexical parent only of a true directory; after the name of another link it
    leads wherever that one leads. So it may follow only what this tree has as a directory.
    """
    # Of the place and of each one above it: what makes the hash of its path. To make a path of
    # thousands of bytes at each of thousands of steps would take seconds.
    places: list[hashlib.blake2b] = []
    for step in (*path.split(b"/")[:-1], *target.split(b"/")):
        if step in (b"", b"."):
            continue
        if step == b"..":
            if not places or directories.get(places.pop().digest()) is None:
                return False
        elif places:
            places.append(places[-1].copy())
            places[-1].update(b"/" + step)
        else:
            places.append(path_digest(step))
    return True


class _Paths(Sequence[bytes]):
    """The paths of a plan's directories; a stretch of them is such a sequence itself.

    Args:
        numbers: Which directories; by default all but the root.
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


class _Siblings:
    """Notices a name that is in a tree twice.

    Git sorts trees, a directory as if its name ended in a slash. Of such a tree only the names
    that the one at hand begins with have to be known: ``a``, ``a.b`` and ``a/`` are sorted.
    """

    def __init__(self, content: bytes, object_format: ObjectFormat) -> None:
        self._content = content
        self._format = object_format
        self._last = b""
        self._beginnings: list[bytes] = []
        self._all: HashTable | None = None

    def repeat(self, entry: TreeEntry) -> bool:
        """Take the next entry; whether its name was there."""
        name, is_directory = entry.name, stat.S_ISDIR(entry.mode)
        key = name + b"/" if is_directory else name
        if self._all is not None or key <= self._last:
            return self._is_known(entry)
        self._last = key
        beginnings = self._beginnings
        while beginnings and not name.startswith(beginnings[-1]):
            beginnings.pop()
        if beginnings and beginnings[-1] == name:
            return True
        if not is_directory:
            beginnings.append(name)
        return False

    def _is_known(self, entry: TreeEntry) -> bool:
        """The same for a tree that is not sorted, from where that was seen on."""
        if self._all is None:
            self._all = HashTable(PATH_HASH_BYTES)
            for each in takewhile(lambda e: e != entry, read_tree(self._content, self._format)):
                self._all.add(path_hash(each.name), 0)
        hashed = path_hash(entry.name)
        if self._all.get(hashed) is not None:
            return True
        self._all.add(hashed, 0)
        return False


def _in_order(tree: bytes, object_format: ObjectFormat) -> Iterable[TreeEntry]:
    """The lines of a tree, in the order that they should have."""

    def key(entry: TreeEntry) -> bytes:
        return entry.name + b"/" if stat.S_ISDIR(entry.mode) else entry.name

    def entries() -> Iterator[TreeEntry]:
        return read_tree(tree, object_format)

    if all(one < other for one, other in pairwise(map(key, entries()))):
        return entries()
    return sorted(entries(), key=key)


@lru_cache(maxsize=4096)
def _fault(name: bytes) -> str:
    if name in (b"", b".", b"..") or b"/" in name:
        return "which is not a valid file name"
    if name.lower() == b".git":
        return "which is the name of git's own directory"
    # Git looks at all parts of what would be a path on Windows.
    if any(_is_git_on_ntfs(part) for part in name.split(b"\\")):
        return "which Windows takes for .git, git's own directory"
    if _is_on_hfs(name, ".git"):
        return "which macOS takes for .git, git's own directory"
    return ""


def refuse_link_for_modules(path: bytes) -> None:
    """Refuse a link in the place of ``.gitmodules``, as git does: it would be read elsewhere.

    Raises:
        UnsafeRepository: It is one.
    """
    name = path.rpartition(b"/")[2]
    if _is_gitmodules(name):
        raise _unsafe(
            path,
            "which is a link in the place of .gitmodules",
            "Replace it with a file in the repository. Git refuses such a link, too.",
        )


def _is_gitmodules(name: bytes) -> bool:
    """Whether NTFS takes a name for .gitmodules (``is_ntfs_dotgitmodules`` in path.c)."""
    found = _is_short_or_gitmodules(name)
    if found is None:
        return False
    beginning, tilde, number = found[1].lower().partition(b"~")
    if not tilde:
        return beginning == b".gitmodules"
    if beginning == b"gitmod":
        return number in (b"1", b"2", b"3", b"4")
    return _SHORT_NAME.startswith(beginning) and _is_counter(number) is not None


def _refuse_unsafe_name(prefix: bytes, name: bytes) -> None:
    # Before the cache, which would hold names of megabytes for as long as the process runs.
    if len(name) > _NAME_BYTES_MOST:
        raise _unsafe(
            prefix + name,
            f"whose name has more than {_NAME_BYTES_MOST} bytes",
            "Give it a shorter name in the repository.",
        )
    fault = _fault(name)
    if fault:
        raise _unsafe(
            prefix + name,
            fault,
            "Remove it from the repository, and find out who added it: git does not allow such a"
            " name, since it can be used to attack those who clone.",
        )


def _is_on_hfs(name: bytes, known: str) -> bool:
    """Whether HFS+ takes a name for a known one: it leaves some code points out."""
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        text = name[: error.start].decode()
    # HFS+ holds no such name, but git compares what is before what can't be decoded.
    text = _no_character.split(text, maxsplit=1)[0]
    return "".join(each for each in text if ord(each) not in HFS_IGNORABLE_CHARS).lower() == known


def _unsafe(path: bytes, why: str, hint: str) -> UnsafeRepository:
    return UnsafeRepository(
        f"The repository holds {quoted(path)}, {why}.", hint=hint, path=shown(path)
    )


def _too_long(path: bytes) -> LimitExceeded:
    return LimitExceeded(
        f"The repository has a path of more than {_PATH_BYTES_MOST:,} bytes, at"
        f" {clean(path, most=60)!r}.",
        hint="Give its directories shorter names.",
        limit="path_bytes",
    )


def _too_many_trees(most: int) -> LimitExceeded:
    return LimitExceeded(
        f"The repository's names of files and directories take more than {most:,} bytes.",
        hint=raising("tree_bytes_most"),
        limit="tree_bytes_most",
    )
