"""Paths that all releases have in common: kept in ``shared/``, linked into each release.

Whatever a release has at such a path is replaced by a relative link, so that the target may be
moved. The repository decides what is in a release, so no link of it is followed on the way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deploycore.application import Shared
from deploycore.deploy.releases import Releases
from deploycore.disk import (
    DIRECTORY_MODE,
    FILE_MODE,
    make_directory,
    real_path,
    sync_directory,
)
from deploycore.errors import DeployError, UnsafeRepository
from deploycore.git.disk import sync_tree

__all__ = ["link_shared"]


def link_shared(
    releases: Releases, release: Path, shared: Shared, note: Callable[[str], None]
) -> None:
    """Link what is shared into a release that is not live yet.

    Args:
        note: Told of what came to be in ``shared/``.

    Raises:
        UnsafeRepository: The release has a link on the way to such a path.
        DeployError: Something can't be written, or a file is where a directory should be.
    """
    if not shared.directories and not shared.files:
        return
    try:
        for path in shared.directories:
            _link(releases, release, path, note, is_directory=True)
        for path in shared.files:
            _link(releases, release, path, note, is_directory=False)
    except OSError as error:
        raise releases.unusable(error) from error


def _link(
    releases: Releases,
    release: Path,
    path: str,
    note: Callable[[str], None],
    *,
    is_directory: bool,
) -> None:
    kept, place = releases.shared / path, release / path
    real_path(kept)  # a link to a disk that is not mounted is told, and nothing made behind it
    _make_parents(release, path)
    if not os.path.lexists(kept):
        origin = "from the repository" if _has_content(place) else "empty"
        _begin(kept, place, is_directory=is_directory)
        note(f"shared/{path} is new: {origin}")
    elif kept.is_dir() != is_directory:
        wanted = "a directory" if is_directory else "a file"
        raise DeployError(
            f"{kept} is not {wanted}, as the application says.",
            hint="Move it away, or list the path under the other kind.",
            path=str(kept),
        )
    _remove(place)
    os.symlink(_link_text(releases, kept, place), place)


def _link_text(releases: Releases, kept: Path, place: Path) -> str:
    """Relative, unless ``releases`` is a link: then ``..`` leads to another directory."""
    if real_path(releases.directory) == real_path(releases.target) / releases.directory.name:
        return os.path.relpath(kept, place.parent)
    return str(kept)


def _make_parents(release: Path, path: str) -> None:
    place = release
    for name in path.split("/")[:-1]:
        place = place / name
        if place.is_symlink():
            raise UnsafeRepository(
                f"The release has a link at {place.relative_to(release)}, where a directory with"
                " something shared should be.",
                hint="Remove the link from the repository, or share its place itself.",
                path=str(place.relative_to(release)),
            )
        place.mkdir(DIRECTORY_MODE, exist_ok=True)


def _begin(kept: Path, place: Path, *, is_directory: bool) -> None:
    """Make the first content of a shared path: what the release has there, or nothing.

    Whole or not at all, so that a crash in the middle can't pass for the content.
    """
    make_directory(kept.parent)
    kept = real_path(kept.parent) / kept.name
    beside = kept.with_name(f".{kept.name}.deploycore-new")
    _remove(beside)
    if not _has_content(place):
        beside.mkdir(DIRECTORY_MODE) if is_directory else beside.touch(FILE_MODE)
    elif is_directory:
        shutil.copytree(place, beside, symlinks=True)
    else:
        shutil.copy2(place, beside, follow_symlinks=False)
    # Shared paths may be on another file system than the release.
    opened = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        sync_tree(beside, opened) if is_directory else os.fsync(opened)
    finally:
        os.close(opened)
    os.rename(beside, kept)
    sync_directory(kept.parent)


def _has_content(place: Path) -> bool:
    return place.exists() and not place.is_symlink()


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif os.path.lexists(place):
        place.unlink()
