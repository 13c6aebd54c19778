"""Durable and private files and directories, and lock files.

A rename is atomic, but a power failure may undo it unless the directory is flushed, too (fsync(2)).
``mkdir`` gives its mode only to the last directory, not to its parents. Links in a path that the
operator configured are followed. ``deploycore.git`` writes the content of repositories and follows
no links.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "BrokenLink",
    "closed_in_forks",
    "is_held",
    "lock_file",
    "make_directory",
    "make_private_directory",
    "open_private",
    "open_regular_file",
    "real_path",
    "sync_directory",
    "write_private_file",
]

DIRECTORY_MODE = 0o775
"""Mode of directories and executable files, before the umask. Other users cannot write."""
FILE_MODE = 0o664
"""Mode of files that are not executable, before the umask."""
_PRIVATE = 0o600
_OPEN_TO_OTHERS = 0o077
_TRIES = 20
_closed_in_forks: set[int] = set()


class BrokenLink(FileNotFoundError):
    """A link in a configured path is broken; ``strerror`` names the link and its target."""

    HINT = "Create what the link leads to, mount its disk, or change the link."


def real_path(path: os.PathLike[str]) -> Path:
    """Return a path without links, ``..`` and repeated slashes; it need not exist.

    Two leading slashes, whose meaning POSIX leaves to the system, count as one, as on Linux and
    macOS.

    Raises:
        BrokenLink: A link in the path is broken. It may lead to a disk that is not mounted, so
            nothing is created behind it.
    """
    text = os.fspath(path)
    if text.startswith("/"):
        text = "/" + text.lstrip("/")
    for each in (Path(text), *Path(text).parents):
        if each.is_symlink() and not each.exists():
            what = f"{each} is a link to {os.readlink(each)}, which does not exist"
            raise BrokenLink(errno.ENOENT, what, text)
    return Path(os.path.realpath(text))


def sync_directory(path: os.PathLike[str]) -> None:
    """Flush the entries of a directory to the disk, but not the files themselves.

    A link to a directory is followed: the path is the operator's, and a flush changes nothing.

    Raises:
        OSError: The disk reports a failure.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = DIRECTORY_MODE) -> None:
    """Create a directory and its parents with one mode; existing ones are not changed.

    ``Path.mkdir`` gives the mode only to the last one.

    Raises:
        OSError: A directory cannot be created.
    """
    path = real_path(path)
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            each.mkdir(mode, exist_ok=True)


def make_private_directory(path: Path) -> None:
    """Create a directory and its parents for their owner only; existing ones are not changed.

    Raises:
        OSError: A directory cannot be created.
    """
    make_directory(path, 0o700)


def open_private(path: str, flags: int) -> int:
    """Open a file, for ``open(..., opener=open_private)``; only its owner can open a new one."""
    return os.open(path, flags, _PRIVATE)


def write_private_file(path: os.PathLike[str], content: bytes) -> None:
    """Write a new file that only its owner can open, and replace an existing one.

    Raises:
        OSError: It cannot be written.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "xb", opener=open_private) as file:
        file.write(content)


def lock_file(path: os.PathLike[str]) -> int:
    """Lock a file that only its owner can open (flock(2)); create it if it does not exist.

    Everyone who can open a file can hold its lock, even a shared lock without write access. So if
    other users could open the file, its mode is changed, and it is replaced while its lock is held,
    since another user may have opened it before.

    Returns:
        A descriptor that holds the lock until it is closed, for the caller to close.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file cannot be opened, or is not a regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(_TRIES):
        descriptor = os.open(path, flags, _PRIVATE)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
            is_open = found.st_mode & _OPEN_TO_OTHERS or found.st_uid != os.geteuid()
            if is_open:
                with suppress(PermissionError):  # it belongs to another user
                    os.fchmod(descriptor, _PRIVATE)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return _replaced_lock(path, descriptor) if is_open else descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another process has replaced or removed the file meanwhile
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fspath(path))


@contextmanager
def closed_in_forks(descriptor: int) -> Iterator[None]:
    """Close a descriptor at the end of the block, and in each child that is forked meanwhile.

    A lock (flock(2)) is held until all descriptors of it are closed. A plugin may fork a child that
    lives on without ``exec``, and the lock would be held for as long.
    """
    _closed_in_forks.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _closed_in_forks:  # not in a child that runs this block to its end
            _closed_in_forks.discard(descriptor)
            os.close(descriptor)


def _close_in_child() -> None:
    while _closed_in_forks:
        with suppress(OSError):
            os.close(_closed_in_forks.pop())


os.register_at_fork(after_in_child=_close_in_child)


def _is_at(path: os.PathLike[str], descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _replaced_lock(path: os.PathLike[str], held: int) -> int:
    """Replace a locked file with a new one, which is locked, too, and has the same content."""
    beside = f"{os.fspath(path)}.{secrets.token_hex(4)}.new"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        made = os.open(beside, flags, _PRIVATE)
    except OSError:
        return held  # the old lock is still held
    try:
        fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(made, os.pread(held, 4096, 0))
        os.rename(beside, path)
    except OSError:
        os.close(made)
        with suppress(OSError):
            os.unlink(beside)
        return held
    os.close(held)
    return made


def open_regular_file(path: os.PathLike[str]) -> int:
    """Open a regular file for reading, without waiting, as the opening of a FIFO would.

    Returns:
        The descriptor, for the caller to close.

    Raises:
        OSError: It cannot be opened, or is a directory, a FIFO or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(lock: Path) -> bool:
    """Whether a process holds the lock of a file, shared or exclusive (flock(2)).

    To find out, the lock is taken for a moment, which another process may notice. A missing file is
    not created. A file that cannot be opened, or is not a regular file, counts as locked.
    """
    try:
        descriptor = open_regular_file(lock)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
