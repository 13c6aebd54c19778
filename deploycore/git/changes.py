"""What an export may do to files on their way to the disk, if it is asked to.

Attributes say which files are left out and which line endings the others get. All that is
needed for it is in the tree itself, and is known before the first file is written.
"""

from __future__ import annotations

import hashlib
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from deploycore.git.attributes import Attributes, LineEnding, convert, convert_file
from deploycore.git.checkout import complete
from deploycore.git.objects import BLOB
from deploycore.git.operation import Operation
from deploycore.git.pack import Content, Objects
from deploycore.git.progress import no_progress
from deploycore.git.tree import File, Plan

__all__ = ["Changes"]


class Changes:
    """Obeys the attributes of one tree.

    Args:
        tree: Its hash, 20 bytes.
        directory: Where temporary files may be.

    Attributes:
        name: The same for two trees only if a file with the same content and the same path is
            written in the same way from both.

    Raises:
        Damaged: A tree or a ``.gitattributes`` is missing or damaged.
        DeploycoreError: The tree holds what must not be written, or too much.
    """

    def __init__(self, tree: bytes, objects: Objects, directory: str, operation: Operation) -> None:
        # What is counted here is counted again when it is written.
        aside = Operation(operation.settings, no_progress, operation.cancellation)
        plan = Plan(tree, aside)
        complete(plan, objects)
        files = {each.path: objects.read(each.hash, BLOB) for each in plan.attributes}
        known = repr(sorted((each.path, each.hash) for each in plan.attributes))
        self.name = f"attributes {hashlib.sha256(known.encode()).hexdigest()}"
        self._attributes = Attributes(files)
        self._directory = directory

    def ignored(self, path: bytes, directory: bool) -> bool:
        """Whether a path is left out; see ``Plan``."""
        return self._attributes.export_ignored(path, directory)

    def change(self, file: File, content: Content) -> Content:
        """What is written of a file."""
        ending = self._attributes.line_ending(file.path)
        if ending is LineEnding.UNCHANGED:
            return content
        if isinstance(content, bytes):
            return convert(content, ending)
        changed = cast(BinaryIO, TemporaryFile(dir=self._directory))  # noqa: SIM115
        convert_file(content, ending, changed)
        return changed
