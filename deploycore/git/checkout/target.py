"""Create a complete target directory in one step, and leave nothing behind if that fails.

Invariants, in the order in which they are kept:

1. Everything is written to a staging directory, ``.<name>.deploycore-<random>``, beside the target
   and on its file system.
2. The staging directory has a lock file, which its process holds with ``flock``. The lock ends with
   the process.
3. When everything is written, it is flushed to the disk.
4. Then one ``rename`` turns the tree into the target. It succeeds only if the target does not exist
   or is an empty directory (POSIX, rename(2)).
5. The parent is flushed, so that the rename survives a power failure.

If the target was an empty directory, the new one gets its mode, owner and group.

A process that gets the lock of another staging directory knows that the other process is dead, or
has not locked its new directory yet. Such a new directory is renamed before it is removed.
Otherwise the other process could lock it while it is removed, and write to it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from deploycore.disk.durable import DIRECTORY_MODE, is_held, sync_directory
from deploycore.disk.removal import Remains, remove_tree
from deploycore.disk.trees import sync_tree
from deploycore.errors import ConfigurationError
from deploycore.git.wording import clean, file_failure

__all__ = ["Staging", "find_leftovers", "refuse_unusable", "remove_leftovers", "staging_for"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"^\..*\.deploycore-[0-9a-f]{16}$", re.DOTALL)
_LOCK = "lock"
_TREE = "tree"
_MAX_NAME = 100
_TRIES = 20


class Staging(NamedTuple):
    """A staging directory beside the target.

    Attributes:
        target: The path that the tree will have.
        directory: The staging directory, private to this process and removed in the end.
        lock: A descriptor of the lock file, for a second process that writes here.
    """

    target: Path
    directory: Path
    lock: int

    @property
    def tree(self) -> Path:
        """The directory that becomes the target."""
        return self.directory / _TREE

    def publish(self) -> None:
        """Turn the tree into the target, durably and in one step.

        Raises:
            OSError: It failed, and the target is unchanged.
        """
        sync_tree(self.tree, self.lock)
        was_there = _be_like(self.tree, self.target)
        os.rename(self.tree, self.target)
        try:
            if was_there is not None:
                os.chmod(self.target, stat.S_IMODE(was_there.st_mode))
            sync_directory(self.target.parent)
        except OSError:
            os.rename(self.target, self.tree)
            if was_there is not None:
                self.target.mkdir(DIRECTORY_MODE)
                _take(self.target, was_there)
            raise


def refuse_unusable(target: Path) -> None:
    """Refuse a target that is not new or empty, before any work is done.

    Raises:
        ConfigurationError: The target is not a directory, or not empty.
        GitError: The target cannot be examined.
    """
    try:
        problem = _problem(target)
    except OSError as error:
        raise file_failure(target, error) from error
    except ValueError:
        problem = "contains a character that is not allowed in a path"
    if problem:
        raise ConfigurationError(
            f"{clean(str(target))} {problem}.",
            hint="Name a directory that is new or empty.",
            path=str(target),
        )


@contextmanager
def staging_for(target: Path) -> Iterator[Staging]:
    """Create a staging directory for ``target``, which is removed in the end.

    First, staging directories of dead processes in the same parent are removed. Parents that had
    to be created are removed again if the target is not created.

    Args:
        target: An absolute path whose parent has no links (``real_path``), so that everything
            happens in one directory even if a link above it changes meanwhile.

    Raises:
        OSError: It cannot be created.
    """
    made = _make_parents(target.parent)
    try:
        remove_leftovers(target.parent)
        directory, lock = _locked_directory(target)
        try:
            (directory / _TREE).mkdir(DIRECTORY_MODE)
            # Do this before files are written, because they may get their group from the directory.
            _be_like(directory / _TREE, target)
            yield Staging(target, directory, lock)
        finally:
            _remove(directory)
            os.close(lock)
    finally:
        for parent in made:
            # Fails if the directory is not empty, for example because the target is in it.
            with suppress(OSError):
                parent.rmdir()


def remove_leftovers(
    parent: Path, *, refused: Callable[[Remains], None] | None = None
) -> list[Path]:
    """Remove the staging directories of dead processes.

    Args:
        parent: The directory that has the targets.
        refused: Called with what is left of a directory that could not be removed (default: log
            it).

    Returns:
        The removed directories. A directory that cannot be locked is skipped: it belongs to a live
        process or to another user.
    """
    return [path for path in _stagings(parent) if _removed(path, refused or _warn)]


def find_leftovers(parent: Path) -> list[Path]:
    """List the staging directories of dead processes; nothing is changed."""
    return [path for path in _stagings(parent) if path.is_dir() and not is_held(path / _LOCK)]


def _stagings(parent: Path) -> list[Path]:
    try:
        return sorted(parent / name for name in os.listdir(parent) if _NAME.match(name))
    except OSError:
        return []


def _problem(target: Path) -> str:
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return "cannot be made, since something above it is not a directory"
    if stat.S_ISLNK(mode):
        return "is a link"
    if not stat.S_ISDIR(mode):
        return "is not a directory"
    with os.scandir(target) as entries:
        return "is not empty" if any(entries) else ""


def _be_like(tree: Path, target: Path) -> os.stat_result | None:
    """Give a directory the mode, owner and group of another one, if that exists."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    _take(tree, found, more=0o700)
    return found


def _take(directory: Path, like: os.stat_result, *, more: int = 0) -> None:
    """Set a directory's owner, group and mode, as far as this user may.

    Args:
        more: Bits that its mode has in addition.
    """
    is_like = directory.lstat()
    for uid, gid in ((-1, like.st_gid), (like.st_uid, -1)):
        if uid not in (-1, is_like.st_uid) or gid not in (-1, is_like.st_gid):
            with suppress(PermissionError):  # only root can give a file to another owner
                os.chown(directory, uid, gid, follow_symlinks=False)
    os.chmod(directory, stat.S_IMODE(like.st_mode) | more)


def _make_parents(parent: Path) -> list[Path]:
    """Create a directory and its parents; returns those that were created, the deepest first."""
    missing = []
    for each in (parent, *parent.parents):
        if each.exists():
            break
        missing.append(each)
    made: list[Path] = []
    try:
        for each in reversed(missing):
            each.mkdir(DIRECTORY_MODE, exist_ok=True)
            made.insert(0, each)
            sync_directory(each.parent)
    except OSError:
        for each in made:
            each.rmdir()
        raise
    return made


def _locked_directory(target: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        directory = target.parent / _new_name(target.name[:_MAX_NAME])
        directory.mkdir(mode=0o700)
        try:
            lock = _lock(directory)
        except OSError:
            _remove(directory)
            raise
        if lock is not None:
            return directory, lock
        # Another process has removed the new directory before it was locked.
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def _new_name(name: str) -> str:
    return f".{name}.deploycore-{secrets.token_hex(8)}"


def _lock(directory: Path) -> int | None:
    """Lock a staging directory; ``None`` if another process holds the lock or has removed it."""
    path = directory / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _removed(directory: Path, refused: Callable[[Remains], None]) -> bool:
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            return False
        lock = _lock(directory)
    except OSError:
        return False
    if lock is None:
        return False
    try:
        left = _remove_abandoned(directory)
    finally:
        os.close(lock)
    if left is not None:
        refused(left)
    return left is None


def _remove_abandoned(directory: Path) -> Remains | None:
    """Remove a locked directory of another process; return what is left.

    A directory without a tree may be a new one, whose process is about to open its lock.
    """
    if not os.path.lexists(directory / _TREE):
        aside = directory.with_name(_new_name("removed"))
        try:
            os.rename(directory, aside)
        except FileNotFoundError:
            return None  # its own process has removed it, or a third one
        except OSError as error:
            reason, number = error.strerror or type(error).__name__, error.errno or errno.EIO
            return Remains(directory, 1, first=directory, reason=reason, number=number)
        directory = aside
    return remove_tree(directory)


def _remove(directory: Path) -> None:
    """Remove as much as possible; the next operation in this parent tries again."""
    left = remove_tree(directory)
    if left is not None:
        _warn(left)


def _warn(left: Remains) -> None:
    logger.warning(
        "%s could not be removed; the next operation tries again: %s", clean(str(left.path)), left
    )
