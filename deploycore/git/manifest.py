"""What a checkout left on disk, so that the next one need not write it again.

For each directory: the hash of its tree, its files, and the state of each file: size, times,
inode. A file whose state is what it was still holds what was written; one that a build step or
a stranger has touched does not pass (git's index is used for the same). A manifest that is
damaged, of another version, or of another directory is as good as none.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deploycore.git.writer import STATE, state_of

__all__ = [
    "CLOCK_STEP",
    "Manifest",
    "ManifestDirectory",
    "describe",
    "read_manifest",
    "write_manifest",
]

_MAGIC = f"deploycore manifest 1 {marshal.version} {sys.version_info[:2]}\n".encode()
_DIGEST = 32
# The clock of a file system advances in steps; two changes within one step look like one.
CLOCK_STEP = 0.01


class ManifestDirectory(NamedTuple):
    """One directory of a checkout.

    Attributes:
        tree: The hash of its tree, 20 bytes.
        names: Of its files, those that may be reused.
        states: Of the same files, as ``STATE`` packs them.
    """

    tree: bytes
    names: list[bytes]
    states: bytes


class Manifest(NamedTuple):
    """One checkout.

    Attributes:
        root: The device and the inode of its directory.
        paths: Of its directories, sorted; the root's is ``b""``.
        directories: One for each path.
        links: What the symbolic links point to, by path.
        gitlinks: The commits of submodules, 20 bytes each, by path.
    """

    root: tuple[int, int]
    paths: list[bytes]
    directories: dict[bytes, ManifestDirectory]
    links: dict[bytes, bytes]
    gitlinks: dict[bytes, bytes]

    def trees(self) -> dict[bytes, bytes]:
        """The hash of the tree of each directory."""
        return {path: each.tree for path, each in self.directories.items()}

    def below(self, directory: bytes) -> Iterator[bytes]:
        """The directories below one, each before what is in it."""
        prefix = directory and directory + b"/"
        for path in self.paths[bisect_left(self.paths, prefix) :]:
            if not path.startswith(prefix):
                return
            if path != directory:
                yield path


def describe(
    root: int,
    directories: dict[bytes, tuple[bytes, list[bytes]]],
    states: Mapping[bytes, bytes],
    links: dict[bytes, bytes],
    gitlinks: dict[bytes, bytes],
) -> Manifest:
    """Look at the files of a checkout that is complete.

    Whoever changes a file later must do so at least ``CLOCK_STEP`` seconds later.

    Args:
        root: A descriptor of its directory.
        directories: The tree and the names of the files of each.
        states: Those of all files of a directory, by its path with a slash at the end, where
            they are known.

    Raises:
        OSError: A file is not there.
    """
    at = os.fstat(root)
    paths = sorted(directories)
    described = {}
    for path in paths:
        prefix = path and path + b"/"
        tree, names = directories[path]
        known = states.get(prefix, b"")
        if len(known) != len(names) * STATE.size:
            known = _states(root, prefix, names)
        described[path] = ManifestDirectory(tree, names, known)
    return Manifest((at.st_dev, at.st_ino), paths, described, links, gitlinks)


def _states(root: int, prefix: bytes, names: list[bytes]) -> bytes:
    return b"".join(
        STATE.pack(*state_of(os.stat(prefix + name, dir_fd=root, follow_symlinks=False)))
        for name in names
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Keep a manifest, replacing the former one in one step.

    Raises:
        OSError: That failed.
    """
    data = marshal.dumps((*manifest[:2], _values(manifest), *manifest[3:]))
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(_MAGIC)
            file.write(hashlib.sha256(data).digest())
            file.write(data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def read_manifest(path: Path, root: Path) -> Manifest | None:
    """The manifest of a checkout, if there is a good one.

    Args:
        root: Where the checkout is now.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            digest, data = file.read(_DIGEST), file.read()
        at = root.lstat()
    except OSError:
        return None
    if hashlib.sha256(data).digest() != digest:
        return None
    # What this very program wrote, as the checksum says; marshal reads nothing else safely.
    place, paths, directories, links, gitlinks = marshal.loads(data)  # noqa: S302
    if (at.st_dev, at.st_ino) != place or not stat.S_ISDIR(at.st_mode):
        return None
    described = dict(zip(paths, _each(directories), strict=True))
    return Manifest(place, paths, described, links, gitlinks)


def _each(directories: Iterable[tuple[bytes, list[bytes], bytes]]) -> Iterator[ManifestDirectory]:
    return (ManifestDirectory(*each) for each in directories)


def _values(manifest: Manifest) -> list[tuple[bytes, list[bytes], bytes]]:
    found = (manifest.directories[path] for path in manifest.paths)
    return [(each.tree, each.names, each.states) for each in found]
