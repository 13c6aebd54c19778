"""Apply attributes to the files of an export, if that is requested.

Attributes say which files are left out, which line endings the others get, and which are in Git
LFS. Git has pointers to the latter; they are downloaded after all other files are written.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from deploycore.disk.trees import open_shared
from deploycore.errors import GitError
from deploycore.git.checkout.applied import AppliedAttributes
from deploycore.git.checkout.attributes import Attributes, LineEnding, convert, convert_file
from deploycore.git.checkout.files import Files
from deploycore.git.checkout.names import refuse_depth
from deploycore.git.checkout.plan import File, Named
from deploycore.git.lfs.client import LfsClient
from deploycore.git.lfs.errors import COMMIT_AGAIN
from deploycore.git.lfs.pointers import Pointer, begins_as_pointer, parse_pointer
from deploycore.git.operation import Operation
from deploycore.git.packs.content import Content
from deploycore.git.packs.objects import BLOB, TREE, TreeEntry, read_tree
from deploycore.git.packs.pack import Objects
from deploycore.git.wire.destination import Destinations
from deploycore.git.wording import quoted, shown
from deploycore.models import CloneUrl

__all__ = ["Changes"]


class Changes:
    """Applies the attributes of one tree.

    Args:
        tree: The tree's hash.
        directory: For temporary files.

    Attributes:
        name: Identifies the attributes: if it is the same for two trees, a file with the same path
            and content is written in the same way.
        ignored: Returns whether a path is left out; see ``Plan``. ``None`` if no path is left out.

    Raises:
        Damaged: A tree or a ``.gitattributes`` file is missing or damaged.
        DeploycoreError: The tree exceeds a limit.
    """

    def __init__(
        self,
        tree: bytes,
        objects: Objects,
        directory: Path,
        operation: Operation,
        applied: AppliedAttributes,
    ) -> None:
        operation.allow_matching(sum(each.size for each in objects.packs))
        found = _attribute_files(tree, objects, operation)
        files = {}
        for each in found:
            operation.check_sometimes()
            files[each.path] = objects.read(each.hash, BLOB)
            operation.hold(len(each.path) + len(files[each.path]))
        known = repr(sorted((each.path, each.hash) for each in found))
        self.name = f"{applied} {hashlib.sha256(known.encode()).hexdigest()}"
        self._attributes = Attributes(files, operation)
        self.ignored = self._attributes.export_ignored if applied.archive else None
        self._applied = applied
        self._directory = directory
        self._operation = operation
        self._pointers: dict[Pointer, list[File]] = {}

    def change(self, file: File, content: Content) -> Content | None:
        """Return the content to write for a file; ``None`` if it will be downloaded."""
        pointer = self._pointer(file, content) if self._applied.lfs else None
        if pointer is not None:
            self._operation.hold(len(file.path))
            self._pointers.setdefault(pointer, []).append(file)
            return None
        if not self._applied.archive:
            return content
        ending = self._attributes.line_ending(file.path)
        if ending is LineEnding.UNCHANGED:
            return content
        if isinstance(content, bytes):
            return convert(content, ending)
        changed = cast(BinaryIO, TemporaryFile(dir=self._directory))  # noqa: SIM115
        convert_file(content, ending, changed)
        return changed

    def _pointer(self, file: File, content: Content) -> Pointer | None:
        if not isinstance(content, bytes) or not begins_as_pointer(content):
            return None
        if not self._attributes.kept_in_lfs(file.path):
            return None
        pointer = parse_pointer(content, f"The file {quoted(file.path)}")
        if pointer is None:  # a broken pointer must not be released silently
            raise GitError(
                f"The file {quoted(file.path)} begins like a Git LFS pointer, but is not a valid"
                " one.",
                hint=COMMIT_AGAIN,
                path=shown(file.path),
            )
        return pointer

    def download(
        self, source: CloneUrl, ref: bytes, files: Files, within: Destinations | None
    ) -> None:
        """Write the files that are kept in Git LFS.

        Args:
            source: The repository.
            ref: Full name of the exported ref.
            files: The writer, after it has written all other files.
            within: The addresses that a submodule may have; ``None`` if this is not a submodule.

        Raises:
            DeploycoreError: As in ``LfsClient.fetch``.
            OSError: A file cannot be written.
        """
        if not self._pointers:
            return

        @contextmanager
        def place(pointer: Pointer) -> Iterator[BinaryIO]:
            incoming = self._directory / f"{secrets.token_hex(8)}.lfs"
            try:
                with open(incoming, "xb", opener=open_shared) as sink:
                    yield sink
                for file in self._pointers[pointer]:
                    path = os.fsencode(incoming)
                    files.adopt(path, file.path, executable=file.executable)
            finally:
                incoming.unlink(missing_ok=True)

        client = LfsClient(source, self._operation, ref, within=within)
        client.fetch(self._pointers, place)


def _attribute_files(root: bytes, objects: Objects, operation: Operation) -> list[Named]:
    """Find all ``.gitattributes`` files of a tree.

    Entries count against the limit by their paths, as in a plan, since a few trees can describe any
    number of paths. The count is reset in the end, because the plan counts them again.
    """
    before = operation.counts.entries
    found: list[Named] = []
    pending = {root: [b""]}
    while pending:
        tree, paths = pending.popitem()
        content = objects.read(tree, TREE)
        lines = read_tree(content, objects.object_format)
        entries, kept = _leading_to_attributes(lines, operation.entries_left)
        operation.plan(entries * len(paths))
        for path in paths:
            refuse_depth(path, operation.settings.max_path_depth)
            for each in kept:
                inner = path + b"/" + each.name if path else each.name
                if stat.S_ISDIR(each.mode):
                    pending.setdefault(each.hash, []).append(inner)
                else:
                    operation.hold(len(inner))
                    found.append(Named(inner, each.hash))
    counts = operation.counts
    counts.entries = before
    operation.count_again(counts)
    return found


def _leading_to_attributes(tree: Iterable[TreeEntry], most: int) -> tuple[int, list[TreeEntry]]:
    """The number of entries of a tree, up to one more than ``most``, and the relevant ones."""
    entries, kept = 0, []
    for each in tree:
        entries += 1
        if entries > most:
            break
        if stat.S_ISDIR(each.mode) or (stat.S_ISREG(each.mode) and each.name == b".gitattributes"):
            kept.append(each)
    return entries, kept
