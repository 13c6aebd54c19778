"""What differs between two commits that were fetched, by their trees; and which paths matter.

Patterns are those of ``.gitignore``, since people know them; here they say what is watched.
Format: https://git-scm.com/docs/gitignore
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from dulwich.ignore import Pattern
from dulwich.wildmatch import MalformedPattern

from deploycore.errors import ConfigurationError
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import COMMIT, TREE, Damaged, TreeEntry, read_commit, read_tree
from deploycore.git.packs.pack import Objects
from deploycore.git.repositories.cached_repository import CachedRepository

__all__ = ["PathPatterns", "differences"]

_Entries = dict[bytes, TreeEntry]


class PathPatterns:
    """Patterns as those of a ``.gitignore`` at the top: the last that matches decides.

    Args:
        patterns: One each; ``!`` at the beginning takes back what former ones say.

    Raises:
        ConfigurationError: One is malformed.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = list(map(_pattern, patterns))

    def match(self, path: bytes) -> bool:
        """Whether a file, or a directory that it is in, is named."""
        parts = path.split(b"/")
        ways = [path, *(b"/".join(parts[:number]) + b"/" for number in range(1, len(parts)))]
        said = False
        for pattern in self._patterns:
            if any(pattern.match(way) for way in ways):
                said = pattern.is_exclude
        return said


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(os.fsencode(text))
    except MalformedPattern:
        problem = f"{text!r} is not a valid .gitignore pattern."
    raise ConfigurationError(problem, hint="Correct it in the application's watch.")


def differences(
    cached: CachedRepository, old: str, new: str, directory: Path, operation: Operation
) -> Iterator[bytes]:
    """The paths of files, links and submodules that one of two commits has, and not the other.

    Args:
        old: A full hash, as is ``new``; both must have been fetched.
        directory: For temporary files.

    Raises:
        Damaged: A commit or a tree is not there, or damaged.
    """
    objects = cached.objects(directory, operation)
    try:
        yield from _between(objects, _root(objects, old), _root(objects, new), operation)
    finally:
        objects.close()


def _root(objects: Objects, commit: str) -> bytes:
    form = objects.object_format
    return read_commit(objects.read(form.unhex(commit), COMMIT), form).tree


def _between(objects: Objects, old: bytes, new: bytes, operation: Operation) -> Iterator[bytes]:
    pending: list[tuple[bytes, bytes | None, bytes | None]] = [(b"", old, new)]
    while pending:
        operation.check_sometimes()
        prefix, one, other = pending.pop()
        if one == other:
            continue
        if prefix.count(b"/") > operation.settings.max_path_depth:
            raise Damaged("there are too many directories within each other")
        before, after = _entries(objects, one), _entries(objects, other)
        for name in before.keys() | after.keys():
            was, is_now = before.get(name), after.get(name)
            if was and is_now and was[:3] == is_now[:3]:
                continue
            path = prefix + name
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
