"""Compare the trees of two commits: which paths differ, and whether one of them is watched.

Watch patterns have the syntax of ``.gitignore``, since people know it.
Format: https://git-scm.com/docs/gitignore
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

from deploycore.errors import ConfigurationError
from deploycore.git.checkout.names import MAX_PATH_BYTES
from deploycore.git.checkout.patterns import Patterns, is_valid_pattern
from deploycore.git.operation import Operation
from deploycore.git.packs.compression import DECOMPRESSION_ERRORS
from deploycore.git.packs.objects import COMMIT, TREE, Damaged, TreeEntry, read_commit, read_tree
from deploycore.git.packs.pack import Objects
from deploycore.git.watched import Watched

__all__ = ["PathPatterns", "refuse_matching_nothing", "watched_path_differs"]

_Entries = dict[bytes, TreeEntry]


def _count_nothing(steps: int) -> None:
    """Ignore how much work a match takes."""


class PathPatterns:
    """Patterns with the syntax of a ``.gitignore`` at the top of a repository. The last one that
    matches decides.

    Args:
        patterns: The patterns. ``!`` at the beginning excludes what earlier ones match.
        work: Called with the number of steps before they are taken; see ``Patterns``.

    Raises:
        ConfigurationError: A pattern is malformed.
    """

    def __init__(
        self, patterns: Sequence[str], work: Callable[[int], None] = _count_nothing
    ) -> None:
        self._patterns = Patterns(work)
        self._excludes: list[bool] = []
        for text in patterns:
            pattern = os.fsencode(text)
            self._excludes.append(pattern.startswith(b"!"))
            pattern = pattern.removeprefix(b"!")
            if not is_valid_pattern(pattern):
                raise ConfigurationError(
                    f"{text!r} is not a valid .gitignore pattern.",
                    hint="Correct it in the application's watch. For a literal bracket or"
                    " backslash, put a backslash before it.",
                )
            self._patterns.add(pattern)

    def match(self, path: bytes) -> bool:
        """Whether the patterns match a file, or a directory that the file is in."""
        last = -1
        end = 0
        while end < len(path):
            start = end + 1 if end else 0
            end = path.find(b"/", start)
            is_directory = end >= 0
            end = end if is_directory else len(path)
            found = self._patterns.matching(path[:end], path[start:end], is_directory)
            last = max([last, *found[:1]])
        return last >= 0 and not self._excludes[last]


def refuse_matching_nothing(patterns: Sequence[str]) -> None:
    """Refuse patterns with which no commit would ever be deployed.

    They are well-formed, so a deployment with them works, and deploys nothing.

    Raises:
        ConfigurationError: A pattern can match no path of a repository, or all of them exclude.
    """
    for text in patterns:
        names = text.removeprefix("!").removeprefix("/").removesuffix("/").split("/")
        if not {"", ".", ".."}.isdisjoint(names):
            raise ConfigurationError(
                f"{text!r} matches no path of a repository.",
                hint="Write it in the application's watch as a path within the repository, without"
                " './' or '../': src/",
            )
    if all(text.startswith("!") for text in patterns):
        raise ConfigurationError(
            "watch only excludes paths, so no commit would be deployed.",
            hint="Put a pattern that includes paths before the others: '**'",
        )


def watched_path_differs(
    objects: Objects, watched: Watched, commit: bytes, operation: Operation
) -> bool:
    """Whether a watched path differs between two commits; true if that cannot be told.

    Args:
        objects: The objects of the new commit, and of the old one if the cache has it.
        commit: The hash of the new commit.

    Raises:
        ConfigurationError: A pattern is malformed.
        Cancelled: The operation was asked to stop.
        LimitExceeded: There is no time left.
    """
    patterns = PathPatterns(watched.patterns, lambda steps: operation.check_sometimes())
    try:
        old = _root(objects, objects.object_format.unhex(watched.since))
        new = _root(objects, commit)
        return any(patterns.match(path) for path in _differences(objects, old, new, operation))
    except (Damaged, *DECOMPRESSION_ERRORS):
        return True


def _root(objects: Objects, commit: bytes) -> bytes:
    return read_commit(objects.read(commit, COMMIT), objects.object_format).tree


def _differences(objects: Objects, old: bytes, new: bytes, operation: Operation) -> Iterator[bytes]:
    """The paths of files, links and submodules that only one of two trees has in this form.

    Raises:
        Damaged: A tree is missing or damaged, or has a path that no checkout would write.
    """
    pending: list[tuple[bytes, bytes | None, bytes | None]] = [(b"", old, new)]
    while pending:
        operation.check_sometimes()
        prefix, one, other = pending.pop()
        if one == other:
            continue
        if prefix.count(b"/") > operation.settings.max_path_depth:
            raise Damaged("directories are nested too deeply")
        before, after = _entries(objects, one), _entries(objects, other)
        for name in before.keys() | after.keys():
            was, is_now = before.get(name), after.get(name)
            if was and is_now and was[:3] == is_now[:3]:
                continue
            path = prefix + name
            if len(path) > MAX_PATH_BYTES:
                raise Damaged("a path is too long")
            trees = (_tree(was), _tree(is_now))
            if trees != (None, None):
                pending.append((path + b"/", *trees))
            if any(each and not stat.S_ISDIR(each.mode) for each in (was, is_now)):
                yield path


def _entries(objects: Objects, tree: bytes | None) -> _Entries:
    if tree is None:
        return {}
    return {
        entry.name: entry for entry in read_tree(objects.read(tree, TREE), objects.object_format)
    }


def _tree(entry: TreeEntry | None) -> bytes | None:
    return entry.hash if entry and stat.S_ISDIR(entry.mode) else None
