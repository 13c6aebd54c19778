"""Write files while the pack that has them arrives.

Git sends trees before files, so the paths of most files are known when their content arrives.
``Checkout`` writes all other files at the end.
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

__all__ = ["FEW_OBJECTS", "LargeBlob", "StreamingCheckout"]

FEW_OBJECTS = 1500  # with fewer objects, a second process takes longer to start than it saves


class StreamingCheckout:
    """Writes a commit's files while its pack arrives; see ``Consumer``.

    Args:
        commit: The commit's hash; ``None`` to write nothing yet.
        directory: For large files that are not complete. It is on the same file system, and gives
            new files the same group and access control lists.
        object_format: The repository's object format.

    Attributes:
        plan: The plan, as far as trees have arrived.
        made: How many of the plan's directories exist.
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
        """Prepare for a pack with this number of objects."""
        if objects > FEW_OBJECTS and self._commit:
            self._files.start_process()

    def take(self, kind: int, name: bytes, content: bytes) -> None:
        """Take a complete object: write a file, or extend the plan."""
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
        """Start a blob that is too large for memory."""
        self._operation.check()
        self._large = LargeBlob(self if self.plan else None, self._directory)
        return self._large

    def drop(self) -> None:
        """Remove a large file that is incomplete, when nothing more arrives."""
        if self._large is not None:
            self._large.drop()

    def place(self, name: bytes, path: bytes) -> None:
        """Move a complete large file to its paths."""
        for file in self._places(name):
            self._files.adopt(path, file.path, executable=file.executable)

    def _places(self, blob: bytes) -> Iterable[File]:
        """The known paths of a blob, whose directories are created first.

        Directories are created for files and not for trees: a few trees can describe more
        directories than any limit allows, which would all be created and removed again.
        """
        if self.plan is None:
            return ()
        found = self.plan.take(blob)
        below_root = self.plan.directory_count - 1
        if found and self.made < below_root:
            self._files.make_directories(self.plan.directories[self.made :])
            self.made = below_root
        return found


class LargeBlob:
    """The content of a large file that arrives, whose hash is not known yet.

    Args:
        streaming: Knows the paths of the file; ``None`` if no paths are known yet.
    """

    def __init__(self, streaming: StreamingCheckout | None, directory: bytes) -> None:
        self._streaming = streaming
        self._path = os.path.join(directory, secrets.token_hex(8).encode() + b".blob")
        self._file = open(self._path, "xb", opener=open_shared) if streaming else None  # noqa: SIM115

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._file is not None:
            self._file.write(piece)

    def finish(self, name: bytes) -> None:
        """End the file, whose hash is known now."""
        if self._file is None or self._streaming is None:
            return
        self._file.close()
        self._streaming.place(name, self._path)
        self.drop()

    def drop(self) -> None:
        """Remove the file, if it still exists."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.unlink(self._path)
