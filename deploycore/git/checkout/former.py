"""Files of an earlier checkout of the same repository, which can be reused."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.git.checkout.manifest import Manifest
from deploycore.git.checkout.writer import STATE
from deploycore.git.packs.objects import TREE, TreeEntry, read_tree
from deploycore.git.packs.pack import Objects

__all__ = ["FormerCheckout"]


class FormerCheckout:
    """An earlier checkout, in the form that ``Plan`` needs.

    Args:
        objects: May have the trees of the earlier commit. If a tree is missing, the files of its
            directory are not reused.
    """

    def __init__(self, manifest: Manifest, objects: Objects) -> None:
        self.manifest = manifest
        self._objects = objects
        self._format = objects.object_format

    def tree(self, directory: bytes) -> bytes | None:
        """The hash of the tree that a directory was written from, if it was a directory."""
        known = self.manifest.directory(directory)
        return known.tree if known else None

    def files(self, directory: bytes) -> Iterator[TreeEntry]:
        """The files of a directory that can be reused, in the order of its tree."""
        known = self.manifest.directory(directory)
        if known is None or known.tree not in self._objects:
            return
        names = iter(known.names)
        name = next(names, None)
        for entry in read_tree(self._objects.read(known.tree, TREE), self._format):
            if entry.name == name:
                yield entry
                name = next(names, None)

    def states(self, directory: bytes, names: list[bytes]) -> bytes:
        """The states of some files of a directory, in the same order as in the directory."""
        known = self.manifest.directory(directory)
        if known is None or names == known.names:
            return known.states if known else b""
        wanted = iter(names)
        name = next(wanted, None)
        found = []
        for each, state in zip(known.names, STATE.iter_unpack(known.states), strict=True):
            if each == name:
                found.append(STATE.pack(*state))
                name = next(wanted, None)
        return b"".join(found)
