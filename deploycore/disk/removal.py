"""Removal of directory trees: the one way in which deploycore removes a directory.

A tree is walked by directory descriptors (openat(2), unlinkat(2)), never by paths, so that
nothing outside it can be reached, whatever is put into it meanwhile:

- no link is followed;
- no other mount is entered, bind mounts of the same file system included;
- only directories that are being removed are made writable, by their descriptors (fchmod(2)). The
  directory that holds the tree, and files, keep their modes;
- an entry that cannot be removed does not stop the removal: it is counted, and all others are
  removed.

Only the current directory is open, so neither depth nor the limit of open files matters. The way
up is ``..``, and it must lead to the directory that the walk came from.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deploycore.records import record

__all__ = ["Remains", "measure_tree", "remove_tree"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opens a directory that may be entered but not listed, where the system has that (open(2)).
_HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_OWNER = stat.S_IRWXU
_DESCRIPTORS = "/proc/self/fd"
_TRIES = 100  # per tree, for directories in which other processes create files meanwhile
_BLOCK = 512  # bytes, the unit of st_blocks (stat(2))
_MIB = 1024 * 1024
_MAX_PATH = 200


@record
class Remains:
    """What is left of a tree.

    Attributes:
        path: The tree.
        entries: The number of files, links and directories that are left, the tree itself
            included.
        bytes: The disk space that they take, as far as they can be examined.
        first: The first entry that was refused.
        reason: Why, in the operating system's words; empty where nothing was refused.
        number: The refusal's ``errno``.
    """

    path: Path
    entries: int = 0
    bytes: int = 0
    first: Path = Path()
    reason: str = ""
    number: int = 0

    @property
    def error(self) -> OSError:
        """The first failure, for callers that must remove everything."""
        return OSError(self.number, self.reason, str(self.first))

    def __str__(self) -> str:
        noun = "entry" if self.entries == 1 else "entries"
        size = f"{self.entries} {noun}, {self.bytes / _MIB:.1f} MiB"
        return f"{size}; {shown(self.first)}: {self.reason}" if self.reason else size


def shown(path: Path) -> str:
    """Make a path safe to print: bounded, without control characters."""
    text = "".join(each if each.isprintable() else "?" for each in str(path))
    return text if len(text) <= _MAX_PATH else f"{text[: _MAX_PATH - 1]}…"


def remove_tree(path: Path) -> Remains | None:
    """Remove a directory and everything in it, or a file or link, as far as possible.

    Directories that their owner may not write are made writable first.

    Args:
        path: Links in its parents are followed; a link at the path itself is removed as such.

    Returns:
        What is left, or ``None``. An entry that cannot be removed raises nothing.

    Raises:
        ValueError: The path has no name of its own, such as ``/`` or ``..``.
    """
    walk = _Walk(path, removes=True)
    walk.run()
    if not walk.reason:
        return None
    left = measure_tree(path)
    return left and replace(left, first=walk.first, reason=walk.reason, number=walk.number)


def measure_tree(path: Path) -> Remains | None:
    """Count and measure the entries of a tree; nothing is changed.

    Returns:
        The size of the tree and its number of entries; ``None`` if the path does not exist.
    """
    walk = _Walk(path, removes=False)
    walk.run()
    if not walk.entries and not walk.reason:
        return None
    return Remains(path, max(1, walk.entries), walk.bytes, walk.first, walk.reason, walk.number)


class _Level:
    """A directory on the way from the top to the current one.

    Attributes:
        identity: Its device and inode.
        pending: Names of its entries to process, and whether they are directories.
        is_kept: Whether an entry of it is left.
    """

    def __init__(
        self, name: str, identity: tuple[int, int], pending: list[tuple[str, bool]]
    ) -> None:
        self.name = name
        self.identity = identity
        self.pending = pending
        self.is_kept = False


class _Walk:
    """One walk through a tree, whose first level is the directory that holds the tree.

    Attributes:
        entries, bytes: What was found, where nothing is removed.
        first, reason, number: The first refusal; see ``Remains``.
    """

    def __init__(self, path: Path, *, removes: bool) -> None:
        if path.name in ("", ".."):
            raise ValueError(f"{path} has no name of its own.")
        self.entries = 0
        self.bytes = 0
        self.first = path
        self.reason = ""
        self.number = 0
        self._path = path
        self._removes = removes
        self._levels: list[_Level] = []
        self._mount: bytes | None = None
        self._tries = _TRIES

    def run(self) -> None:
        """Walk, and note the first failure."""
        try:
            top = os.open(self._path.parent, _HANDLE)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._refused(error)
            return
        try:
            self._begin(top)
        except OSError as error:
            self._refused(error)
        finally:
            os.close(top)

    def _begin(self, top: int) -> None:
        name = self._path.name
        try:
            status = os.stat(name, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return
        self._mount = _mount(top)
        self._levels = [
            _Level("", _identity(os.fstat(top)), [(name, stat.S_ISDIR(status.st_mode))])
        ]
        self._walk(top)

    def _walk(self, top: int) -> None:
        """Process all pending entries; only the current directory is open."""
        here = top
        try:
            while self._levels[0].pending or len(self._levels) > 1:
                if self._levels[-1].pending:
                    entered = self._process(here, *self._levels[-1].pending.pop())
                else:
                    entered = self._leave(here, top)
                if entered is not None:
                    left, here = here, entered
                    if left != top:
                        os.close(left)
        finally:
            if here != top:
                os.close(here)

    def _process(self, here: int, name: str, is_directory: bool) -> int | None:
        """Remove a file, or enter a directory and return its descriptor."""
        try:
            if is_directory:
                return self._enter(here, name)
            if self._removes:
                os.unlink(name, dir_fd=here)
            else:
                self._keep(here, name)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not (is_directory and self._removes and _is_removed_empty(here, name)):
                self._refused(error, name)
                self._keep(here, name)
        return None

    def _enter(self, here: int, name: str) -> int:
        opened = self._open(here, name)
        try:
            status = os.fstat(opened)
            self._refuse_other_mount(opened, status)
            if self._removes and status.st_mode & _OWNER != _OWNER:
                with suppress(OSError):  # another user's directory, which may still be writable
                    os.fchmod(opened, _OWNER)
            os.stat("..", dir_fd=opened)  # fails if the way back is closed
            with os.scandir(opened) as found:
                pending = [(each.name, _is_directory(each)) for each in found]
        except BaseException:
            os.close(opened)
            raise
        self._levels.append(_Level(name, _identity(status), pending))
        return opened

    def _open(self, here: int, name: str) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=here)
        except PermissionError:
            if not self._removes or not os.path.isdir(_DESCRIPTORS):
                raise
        # Its owner cannot list it. fchmodat(2) would follow a link, and fchmod(2) does not accept
        # an O_PATH descriptor, so the mode is changed by the path of the descriptor.
        handle = os.open(name, _HANDLE | os.O_NOFOLLOW, dir_fd=here)
        try:
            self._refuse_other_mount(handle, os.fstat(handle))
            os.chmod(f"{_DESCRIPTORS}/{handle}", _OWNER)
            return os.open(".", _DIRECTORY, dir_fd=handle)
        finally:
            os.close(handle)

    def _refuse_other_mount(self, opened: int, status: os.stat_result) -> None:
        device, _ = self._levels[0].identity
        if status.st_dev != device or _mount(opened) != self._mount:
            raise OSError(errno.EXDEV, "Another file system is mounted there")

    def _leave(self, here: int, top: int) -> int:
        """Go up to the parent, and remove the directory that was left.

        Returns:
            The parent's descriptor.
        """
        level, parent = self._levels[-1], self._levels[-2]
        if len(self._levels) == 2:
            above = top
        else:
            above = os.open("..", _HANDLE | os.O_NOFOLLOW, dir_fd=here)
            if _identity(os.fstat(above)) != parent.identity:
                os.close(above)
                raise OSError(errno.ESTALE, "The directory was moved while it was removed")
        self._levels.pop()
        try:
            if self._removes and not level.is_kept:
                os.rmdir(level.name, dir_fd=above)
            else:
                self._keep(above, level.name)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and self._tries:
                self._tries -= 1
                parent.pending.append((level.name, True))
            else:
                self._refused(error, level.name)
                self._keep(above, level.name)
        return above

    def _keep(self, here: int, name: str) -> None:
        """Count an entry that stays."""
        self._levels[-1].is_kept = True
        if self._removes:
            return
        self.entries += 1
        with suppress(OSError):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            self.bytes += status.st_blocks * _BLOCK

    def _refused(self, error: OSError, *name: str) -> None:
        """Note the first failure, of the current directory or of an entry in it."""
        if not self.reason:
            names = [*(each.name for each in self._levels[1:]), *name]
            self.first = self._path.parent.joinpath(*names) if names else self._path
            self.reason = error.strerror or type(error).__name__
            self.number = error.errno or errno.EIO


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_removed_empty(here: int, name: str) -> bool:
    """Remove a directory that cannot be entered, which succeeds if it is empty."""
    try:
        os.rmdir(name, dir_fd=here)
    except OSError:
        return False
    return True


def _mount(descriptor: int) -> bytes | None:
    """Return the mount of a descriptor (proc_pid_fdinfo(5)); ``None`` without ``/proc``.

    ``st_dev`` is not enough, since a bind mount has the device of what is mounted.
    """
    try:
        opened = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        lines = os.read(opened, 4096).splitlines()
    finally:
        os.close(opened)
    return next((line for line in lines if line.startswith(b"mnt_id:")), None)
