"""The shared paths of all releases: their content is in ``shared/``, and each release has links to
it.

At such a path, a relative link replaces whatever the release has, so that the target can be moved.
The repository determines the content of a release, so no link in it is followed on the way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deploycore.applications.application import Shared
from deploycore.deploy.releases import Releases
from deploycore.disk.durable import (
    DIRECTORY_MODE,
    FILE_MODE,
    BrokenLink,
    make_directory,
    real_path,
    sync_directory,
)
from deploycore.disk.removal import remove_tree
from deploycore.disk.trees import sync_tree
from deploycore.errors import DeployError, UnsafeRepository

__all__ = ["link_shared"]


def link_shared(
    releases: Releases, release: Path, shared: Shared, note: Callable[[str], None]
) -> None:
    """Link the shared paths into a release that is not live yet.

    Args:
        note: Called with a sentence on each path that was added to ``shared/``.

    Raises:
        UnsafeRepository: The release has a link on the way to a shared path.
        DeployError: Something cannot be written, or a file is where a directory should be.
    """
    for path, is_directory in (
        *((each, True) for each in shared.directories),
        *((each, False) for each in shared.files),
    ):
        try:
            _link(releases, release, path, note, is_directory=is_directory)
        except OSError as error:
            raise _unwritable(path, error) from error


def _link(
    releases: Releases,
    release: Path,
    path: str,
    note: Callable[[str], None],
    *,
    is_directory: bool,
) -> None:
    kept, place = releases.shared / path, release / path
    real_path(kept)  # reports a link to a disk that is not mounted; nothing is created behind it
    _make_parents(release, path)
    if not os.path.lexists(kept):
        origin = "from the repository" if _has_content(place) else "empty"
        _refuse_other_kind(path, place, is_directory=is_directory)
        _refuse_file_above(releases.shared, kept)
        _begin(kept, place, is_directory=is_directory)
        note(f"shared/{path} is new: {origin}")
    elif kept.is_dir() != is_directory:
        wanted = "a directory" if is_directory else "a file"
        listed = "shared/files" if is_directory else "shared/directories"
        raise DeployError(
            f"{kept} is not {wanted}, as the application requires.",
            hint=f"Move it away, or list the path under {listed} of the application.",
            path=str(kept),
        )
    _remove(place)
    os.symlink(_link_text(releases, kept, place), place)


def _link_text(releases: Releases, kept: Path, place: Path) -> str:
    """Return a relative link; an absolute one if ``releases`` is a link, since ``..`` then leads to
    another directory."""
    if real_path(releases.directory) == real_path(releases.target) / releases.directory.name:
        return os.path.relpath(kept, place.parent)
    return str(kept)


def _make_parents(release: Path, path: str) -> None:
    place = release
    for name in path.split("/")[:-1]:
        place = place / name
        if place.is_symlink():
            raise UnsafeRepository(
                f"The release has a link at {place.relative_to(release)}, but a shared path"
                " needs a directory there.",
                hint="Remove the link from the repository, or share the link's own path.",
                path=str(place.relative_to(release)),
            )
        if place.exists() and not place.is_dir():
            above = place.relative_to(release)
            raise DeployError(
                f"The repository has a file at {str(above)!r}, where a directory with the shared"
                f" path {path!r} should be.",
                hint=f"Remove {str(above)!r} from the repository, or share another path.",
                path=str(above),
            )
        place.mkdir(DIRECTORY_MODE, exist_ok=True)


def _refuse_other_kind(path: str, place: Path, *, is_directory: bool) -> None:
    """Refuse what the repository has at a shared path, if it cannot become the path's first
    content."""
    if not _has_content(place) or place.is_dir() == is_directory:
        return
    found, wanted = ("file", "directory") if is_directory else ("directory", "file")
    listed = "shared/files" if is_directory else "shared/directories"
    raise DeployError(
        f"The repository has a {found} at {path!r}, where the application shares a {wanted}.",
        hint=f"Remove {path!r} from the repository, or list it under {listed} of the application.",
        path=path,
    )


def _refuse_file_above(shared: Path, kept: Path) -> None:
    for above in kept.relative_to(shared).parents:
        place = shared / above
        if os.path.lexists(place) and not place.is_dir():
            raise DeployError(
                f"The shared path {kept} cannot be created, because {place} is not a directory.",
                hint=f"Move {place} away, or share another path.",
                path=str(place),
            )


def _unwritable(path: str, error: OSError) -> DeployError:
    """Return the error for a failure of the file system, with the shared path and the file."""
    if isinstance(error, BrokenLink):
        return DeployError(
            f"The shared path {path!r} cannot be linked into the release: {error.strerror}.",
            hint=error.HINT,
            path=path,
        )
    where = error.filename2 or error.filename
    at = f" at {str(where)!r}" if where else ""
    return DeployError(
        f"The shared path {path!r} cannot be linked into the release:"
        f" {error.strerror or type(error).__name__}{at}.",
        hint=f"Check the permissions of {where or 'the target'} and the free space on its disk,"
        " then deploy again.",
        path=path,
    )


def _begin(kept: Path, place: Path, *, is_directory: bool) -> None:
    """Create the first content of a shared path: a copy of what the release has there, or nothing.

    The content is created completely or not at all, so that a crash in the middle leaves no
    incomplete content.
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
    left = remove_tree(place)
    if left is not None:
        raise left.error
