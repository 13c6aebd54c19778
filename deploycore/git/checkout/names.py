"""Names and paths that a repository may not have, since writing them could do harm.

Anyone who can push chooses the names. A name may be ``..``, ``a/b``, or a spelling that some file
system treats as ``.git``. Names that git rejects by default on Linux are rejected, and also those
that ``git fsck`` reports as spellings of ``.git``, which hosts reject too. A name that is only
unusual is written.

Sources: git's ``verify_path`` (read-cache.c), ``is_ntfs_dotgit`` (path.c), ``is_hfs_dotgit``
(utf8.c) and CVE-2014-9390, CVE-2019-1352, CVE-2021-21300.
"""

from __future__ import annotations

import re
import stat
from functools import lru_cache
from itertools import takewhile

from deploycore.errors import LimitExceeded, UnsafeRepository
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_hash
from deploycore.git.packs.objects import ObjectFormat, TreeEntry, read_tree
from deploycore.git.wording import clean, limit_hint, quoted, shown

__all__ = [
    "MALFORMED",
    "MAX_PATH_BYTES",
    "Siblings",
    "is_plain_name",
    "refuse_depth",
    "refuse_link_for_modules",
    "refuse_unsafe_name",
    "sort_key",
    "too_long",
    "unsafe_path",
]

MALFORMED = "Find the tree with git fsck in the repository, and commit its files again."
_MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4095  # the maximum length of a path in a system call (PATH_MAX)
# Code points that HFS+ ignores in names (``next_hfs_char`` in utf8.c).
_IGNORED_ON_HFS = frozenset(
    (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF)
)
_NO_CHARACTER = "[\ufffe\uffff]"
# Names that NTFS treats as .git, and, for links, as .gitmodules: its short name, the name with dots
# and spaces at the end, which Windows drops, or a stream of it.
_END_ON_NTFS = rb"[. ]*(?::.*)?"
_GIT_ON_NTFS = rb"(?is)(?:\.git|git~1)" + _END_ON_NTFS
_SHORT_OR_GITMODULES = rb"(?is)(\.gitmodules|.{8})" + _END_ON_NTFS
_SHORT_NAME = b"gi7eba"  # NTFS's short name of .gitmodules if the simple ones are in use
_COUNTER = rb"[1-9][0-9]*"
# Names that have no special meaning anywhere. Most are such, and the other checks are slow.
is_plain_name = re.compile(
    rb"[A-Za-z0-9_+,=@-](?:[A-Za-z0-9_+,=@. -]{0,200}[A-Za-z0-9_+,=@-])?"
).fullmatch


@lru_cache(maxsize=4096)
def _fault(name: bytes) -> str:
    if name in (b"", b".", b"..") or b"/" in name:
        return "which is not a valid file name"
    if name.lower() == b".git":
        return "which is the name of git's own directory"
    # Git checks all parts of what would be a path on Windows.
    if any(re.fullmatch(_GIT_ON_NTFS, part) for part in name.split(b"\\")):
        return "which Windows takes for .git, git's own directory"
    if _is_on_hfs(name, ".git"):
        return "which macOS takes for .git, git's own directory"
    return ""


def refuse_unsafe_name(prefix: bytes, name: bytes) -> None:
    """Refuse a name that git does not allow, or that is too long for a file system.

    Args:
        prefix: The path of its directory, with a slash at the end, or empty.

    Raises:
        UnsafeRepository: It must not be written.
    """
    # Checked before the cached function, whose cache would keep names of megabytes.
    if len(name) > _MAX_NAME_BYTES:
        raise unsafe_path(
            prefix + name,
            f"whose name has more than {_MAX_NAME_BYTES} bytes",
            "Give it a shorter name in the repository.",
        )
    fault = _fault(name)
    if fault:
        raise unsafe_path(
            prefix + name,
            fault,
            "Remove it from the repository, and find out who added it: git does not allow such a"
            " name, since it can be used to attack those who clone.",
        )


def _is_on_hfs(name: bytes, known: str) -> bool:
    """Whether HFS+ treats a name as a known one: it ignores some code points."""
    if name.isascii():
        return name.lower() == known.encode()
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        text = name[: error.start].decode()
    # HFS+ cannot have such a name, but git compares the part before the undecodable bytes.
    text = re.split(_NO_CHARACTER, text, maxsplit=1)[0]
    return "".join(each for each in text if ord(each) not in _IGNORED_ON_HFS).lower() == known


def _is_gitmodules(name: bytes) -> bool:
    """Whether NTFS treats a name as .gitmodules (``is_ntfs_dotgitmodules`` in path.c)."""
    found = re.fullmatch(_SHORT_OR_GITMODULES, name)
    if found is None:
        return False
    beginning, tilde, number = found[1].lower().partition(b"~")
    if not tilde:
        return beginning == b".gitmodules"
    if beginning == b"gitmod":
        return number in (b"1", b"2", b"3", b"4")
    return _SHORT_NAME.startswith(beginning) and re.fullmatch(_COUNTER, number) is not None


def refuse_link_for_modules(path: bytes) -> None:
    """Refuse a link with the name ``.gitmodules``, as git does: it would lead to another file.

    Raises:
        UnsafeRepository: The link has this name, or one that a file system treats as this name.
    """
    name = path.rpartition(b"/")[2]
    if _is_gitmodules(name):
        raise unsafe_path(
            path,
            "which is a link in the place of .gitmodules",
            "Replace it with a file in the repository. Git refuses such a link, too.",
        )


def refuse_depth(path: bytes, most: int) -> None:
    """Refuse a directory that is nested too deeply.

    Args:
        most: The allowed number of directories within each other, this one included.

    Raises:
        LimitExceeded: It is nested more deeply.
    """
    if path and path.count(b"/") + 1 > most:
        raise LimitExceeded(
            f"The repository has directories that are nested more than {most} levels deep,"
            f" at {clean(path, most=60)!r}.",
            hint=limit_hint("max_path_depth"),
            limit="max_path_depth",
        )


def unsafe_path(path: bytes, why: str, hint: str) -> UnsafeRepository:
    """Return the error for a path that must not be written.

    Args:
        why: A clause that begins with "which" or "whose".
    """
    return UnsafeRepository(
        f"The repository holds {quoted(path)}, {why}.", hint=hint, path=shown(path)
    )


def too_long(path: bytes) -> LimitExceeded:
    """Return the error for a path that is longer than a system call takes."""
    return LimitExceeded(
        f"The repository has a path of more than {MAX_PATH_BYTES:,} bytes, at"
        f" {clean(path, most=60)!r}.",
        hint="Give its directories shorter names.",
        limit="path_bytes",
    )


def sort_key(entry: TreeEntry) -> bytes:
    """Return what git sorts the entries of a tree by."""
    return entry.name + b"/" if stat.S_ISDIR(entry.mode) else entry.name


class Siblings:
    """Finds duplicate names in a tree.

    Git sorts the entries of a tree, a directory as if its name ended in a slash, such as ``a``,
    ``a.b`` and ``a/``. In a sorted tree, a name can repeat only an earlier name that it begins
    with, so only such names are remembered.
    """

    def __init__(self, content: bytes, object_format: ObjectFormat) -> None:
        self._content = content
        self._format = object_format
        self._last = b""
        self._beginnings: list[bytes] = []
        self._all: HashTable | None = None

    @property
    def are_sorted(self) -> bool:
        """Whether the entries so far are in git's order."""
        return self._all is None

    def repeat(self, entry: TreeEntry) -> bool:
        """Take the next entry; returns whether its name is a duplicate."""
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
        """Like the method above, but from the first unsorted entry on."""
        if self._all is None:
            self._all = HashTable(PATH_HASH_BYTES)
            for each in takewhile(lambda e: e != entry, read_tree(self._content, self._format)):
                self._all.add(path_hash(each.name), 0)
        hashed = path_hash(entry.name)
        if self._all.get(hashed) is not None:
            return True
        self._all.add(hashed, 0)
        return False
