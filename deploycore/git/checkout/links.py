"""Symbolic links of a repository: which ones lead out of its files, and which of these are allowed.

``..`` in the target of a link is followed only through real directories. After the name of another
link, it would lead to the parent of that link's target.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from deploycore.errors import UnsafeRepository
from deploycore.git.checkout.names import unsafe_path
from deploycore.git.operation import Operation
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_digest, path_hash
from deploycore.git.settings import EscapingLinks
from deploycore.git.wording import quoted, shown

__all__ = ["LINKS_WITHIN", "LinkRules", "escaping_links", "leads_out"]

_MAX_LINK_BYTES = 4095


class LinkRules(NamedTuple):
    """Rules for symbolic links that lead out of the tree.

    Attributes:
        escaping: How such links are handled; see ``EscapingLinks``.
        allowed: Paths of links that are written as links in any case, relative to the outermost
            repository. A path that ends in a slash allows all links in that directory.
        prefix: The path of this repository in the outermost one, with a slash at the end, or
            empty.
    """

    escaping: EscapingLinks = "refuse"
    allowed: frozenset[bytes] = frozenset()
    prefix: bytes = b""

    def is_allowed(self, path: bytes) -> bool:
        """Whether a link may lead out of the tree, by its own path or by a directory above it."""
        whole = self.prefix + path
        above = (whole[: each.end()] for each in re.finditer(b"/", whole))
        return whole in self.allowed or any(way in self.allowed for way in above)


LINKS_WITHIN = LinkRules()


def escaping_links(
    targets: Mapping[bytes, bytes], directories: Callable[[], Iterable[bytes]], operation: Operation
) -> Iterator[bytes]:
    """Find symbolic links that lead, or could be made to lead, out of the tree.

    Args:
        targets: The target of each link, by the link's path.
        directories: Returns the paths of all real directories of the tree.

    Returns:
        The paths of these links.

    Raises:
        UnsafeRepository: A link has an invalid target.
    """
    known: HashTable | None = None
    for path, target in targets.items():
        operation.check_sometimes()
        if not target or len(target) > _MAX_LINK_BYTES or b"\0" in target:
            raise unsafe_path(
                path,
                "which is a link with an invalid target",
                "Replace or remove it in the repository.",
            )
        if known is None and b".." in target:
            known = HashTable(PATH_HASH_BYTES)
            for directory in directories():
                operation.check_sometimes()
                known.add(path_hash(directory), 0)
        # Without "..", only an absolute link leads out.
        if target.startswith(b"/") or (
            known is not None and not _stays_within(path, target, known)
        ):
            yield path


def leads_out(path: bytes, target: bytes) -> UnsafeRepository:
    """Return the error for a link that leads out of the tree."""
    error = unsafe_path(
        path,
        f"a link to {quoted(target)}, which leads out of the repository's files",
        "Set links: write-as-files for the application, which writes such links as files, or accept"
        f" this one with links: {{allow: [{quoted(path)}]}}; or remove it from the repository.",
    )
    error.add_context(link_target=shown(target))
    return error


def _stays_within(path: bytes, target: bytes, directories: HashTable) -> bool:
    """Whether following the link step by step never leaves the tree.

    ``..`` leads to the lexical parent only after a real directory. After another link it leads to
    the parent of that link's target. So it may only follow a directory of this tree.
    """
    # The hash state for the current path and for each path above it. To build a path of thousands
    # of bytes at each of thousands of steps would take seconds.
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
