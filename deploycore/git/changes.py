"""What an export may do to files on their way to the disk, if it is asked to.

Attributes say which files are left out, which line endings the others get, and which are kept
in Git LFS: of those git has pointers, and their contents are downloaded when all else is there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from deploycore.git.attributes import Attributes, LineEnding, convert, convert_file
from deploycore.git.checkout import complete
from deploycore.git.files import Files
from deploycore.git.lfs import LfsClient, Pointer, parse_pointer
from deploycore.git.objects import BLOB
from deploycore.git.operation import Operation
from deploycore.git.pack import Content, Objects
from deploycore.git.progress import no_progress
from deploycore.git.tree import File, Plan
from deploycore.models import CloneUrl

__all__ = ["Changes", "Obeyed"]


@dataclass(frozen=True)
class Obeyed:
    """Which attributes are obeyed.

    Attributes:
        archive: ``export-ignore``, ``text`` and ``eol``.
        lfs: ``filter=lfs``.
    """

    archive: bool = False
    lfs: bool = False


class Changes:
    """Obeys the attributes of one tree.

    Args:
        tree: Its hash.
        directory: Where temporary files may be.

    Attributes:
        name: The same for two trees only if a file with the same content and the same path is
            written in the same way from both.

    Raises:
        Damaged: A tree or a ``.gitattributes`` is missing or damaged.
        DeploycoreError: The tree holds what must not be written, or too much.
    """

    def __init__(
        self,
        tree: bytes,
        objects: Objects,
        directory: Path,
        operation: Operation,
        obeyed: Obeyed,
    ) -> None:
        # What is counted here is counted again when it is written.
        aside = Operation(operation.settings, no_progress, operation.cancellation)
        plan = Plan(tree, aside, objects.object_format)
        complete(plan, objects)
        files = {}
        for each in plan.attributes:
            files[each.path] = objects.read(each.hash, BLOB)
            operation.hold(len(each.path) + len(files[each.path]))
        known = repr(sorted((each.path, each.hash) for each in plan.attributes))
        self.name = f"{obeyed} {hashlib.sha256(known.encode()).hexdigest()}"
        self._attributes = Attributes(files)
        self._obeyed = obeyed
        self._directory = directory
        self._operation = operation
        self._pointers: dict[Pointer, list[File]] = {}

    def ignored(self, path: bytes, directory: bool) -> bool:
        """Whether a path is left out; see ``Plan``."""
        return self._obeyed.archive and self._attributes.export_ignored(path, directory)

    def change(self, file: File, content: Content) -> Content | None:
        """What is written of a file; ``None`` if that is to be downloaded."""
        if self._obeyed.lfs and isinstance(content, bytes):
            pointer = parse_pointer(content)
            if pointer is not None and self._attributes.kept_in_lfs(file.path):
                self._operation.hold(len(file.path))
                self._pointers.setdefault(pointer, []).append(file)
                return None
        if not self._obeyed.archive:
            return content
        ending = self._attributes.line_ending(file.path)
        if ending is LineEnding.UNCHANGED:
            return content
        if isinstance(content, bytes):
            return convert(content, ending)
        changed = cast(BinaryIO, TemporaryFile(dir=self._directory))  # noqa: SIM115
        convert_file(content, ending, changed)
        return changed

    def download(self, source: CloneUrl, ref: bytes, files: Files) -> None:
        """Write the files that are kept in Git LFS.

        Args:
            source: The repository.
            ref: Full name of what is exported.
            files: Where all other files are by now.

        Raises:
            DeploycoreError: As ``LfsClient.fetch`` has it.
            OSError: A file can't be written.
        """
        if not self._pointers:
            return

        @contextmanager
        def place(pointer: Pointer) -> Iterator[BinaryIO]:
            incoming = self._directory / f"{secrets.token_hex(8)}.lfs"
            try:
                with incoming.open("xb") as sink:
                    yield sink
                for file in self._pointers[pointer]:
                    path = os.fsencode(incoming)
                    files.adopt(path, file.path, executable=file.executable)
            finally:
                incoming.unlink(missing_ok=True)

        named = ref if ref.startswith(b"refs/") else None
        LfsClient(source, self._operation, named).fetch(self._pointers, place)
