"""Files that are written while the pack that holds them arrives.

Git sends trees before files, so the place of most files is known when their content comes. What
comes too early is written in the end, by ``Checkout``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

from deploycore.disk.trees import open_shared
from deploycore.git.checkout.files import Files
from deploycore.git.checkout.plan import File, Plan
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import BLOB, COMMIT, TREE, ObjectFormat, read_commit

__all__ = ["FEW_OBJECTS", "Arriving", "LargeBlob"]

FEW_OBJECTS = 1500  # for which a second process takes longer to start than it saves


class Arriving:
    """Writes a commit's files while its pack arrives; see ``Consumer``.

    Args:
        commit: Its hash; or ``None`` if nothing is to be written yet.
        directory: For what can't be written to its place at once; on the same file system, and
            with the same group and access control lists for what is made in it.
        object_format: Of the repository.

    Attributes:
        plan: As far as it is known.
        made: How many of its directories are there.
    """

    def __init__(
        self,
        commit: bytes | None,
        files: Files,
        directory: bytes,
        operation: Operation,
        object_format: ObjectFormat,
    ) -> None:
        self.plan: Plan | None = None
        self._format = object_format
        self._commit = commit
        self._files = files
        self._directory = directory
        self._operation = operation
        self._large: LargeBlob | None = None
        self.made = 0

    def begin(self, objects: int) -> None:
        """So many objects are going to come."""
        if objects > FEW_OBJECTS and self._commit:
            self._files.start_process()

    def take(self, kind: int, name: bytes, content: bytes) -> None:
        """An object, complete."""
        if kind == BLOB:
            for file in self._places(name):
                self._files.write(file.path, content, executable=file.executable)
        elif kind == TREE:
            if self.plan is not None:
                self.plan.offer(name, content)
        elif kind == COMMIT and name == self._commit and self.plan is None:
            tree = read_commit(content, self._format).tree
            self.plan = Plan(tree, self._operation, self._format)

    def large_blob(self, size: int) -> LargeBlob:
        """A blob too large for memory begins."""
        self._operation.check()
        self._large = LargeBlob(self if self.plan else None, self._directory)
        return self._large

    def drop(self) -> None:
        """Nothing more comes; of what came in part, nothing stays."""
        if self._large is not None:
            self._large.drop()

    def place(self, name: bytes, path: bytes) -> None:
        """Give a large file, complete, its places."""
        for file in self._places(name):
            self._files.adopt(path, file.path, executable=file.executable)

    def _places(self, blob: bytes) -> Iterable[File]:
        """Where a blob belongs, as far as is known; the directories are there.

        They are made for a file and not for a tree: a few trees can describe more directories
        than any limit allows, and those would all be made, and removed again.
        """
        if self.plan is None:
            return ()
        found = self.plan.take(blob)
        if found and self.made < len(self.plan.directories):
            self._files.make_directories(self.plan.directories[self.made :])
            self.made = len(self.plan.directories)
        return found


class LargeBlob:
    """A file's content on its way to the disk, its hash not known yet.

    Args:
        arriving: Who has a place for it; ``None`` if nobody can have yet.
    """

    def __init__(self, arriving: Arriving | None, directory: bytes) -> None:
        self._arriving = arriving
        self._path = os.path.join(directory, secrets.token_hex(8).encode() + b".blob")
        self._file = open(self._path, "xb", opener=open_shared) if arriving else None  # noqa: SIM115

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._file is not None:
            self._file.write(piece)

    def finish(self, name: bytes) -> None:
        """All was written; this is its hash."""
        if self._file is None or self._arriving is None:
            return
        self._file.close()
        self._arriving.place(name, self._path)
        self.drop()

    def drop(self) -> None:
        """Remove what was written, if that is still there."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.unlink(self._path)
