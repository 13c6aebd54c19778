"""Directories, flushed to the disk and for their owner alone; and locks, seen from outside.

A rename is atomic, but on its own it may be lost again in a power failure; the directory has to
be flushed too (fsync(2)). And ``mkdir`` gives its mode to the last directory, not to its parents.
Links in a path that the operator configured are followed; what a repository brings is written by
``deploycore.git``, which follows none.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "BrokenLink",
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
"""What the umask is applied to. Other users never get write access, whatever the umask is."""
FILE_MODE = 0o664
"""The same for files that are not executable."""
_PRIVATE = 0o600
_OPEN_TO_OTHERS = 0o077
_TRIES = 20


class BrokenLink(FileNotFoundError):
    """A link of the operator's leads to nothing; ``strerror`` says which one and where to."""

    HINT = "Create what the link leads to, mount its disk, or change the link."


def real_path(path: os.PathLike[str]) -> Path:
    """The path without links, ``..`` and repeated slashes; what does not exist stays as it is.

    Two leading slashes, which POSIX leaves to the system, are one on Linux and macOS.

    Raises:
        BrokenLink: A link on the way leads to nothing. Nothing is created behind such a
            link: it may lead to a disk that is not mounted.
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
    """Flush a directory's entries, not what they lead to.

    A link to a directory is followed: the path is the operator's, and flushing changes nothing.

    Raises:
        OSError: The disk says that it did not take them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = DIRECTORY_MODE) -> None:
    """Make a directory, and those above it, with one mode; what is there stays as it is.

    ``Path.mkdir`` gives the mode to the last one alone.

    Raises:
        OSError: One can't be made.
    """
    path = real_path(path)
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            each.mkdir(mode, exist_ok=True)


def make_private_directory(path: Path) -> None:
    """Make a directory, and those above it, for their owner alone; what is there stays as it is.

    Raises:
        OSError: One can't be made.
    """
    make_directory(path, 0o700)


def open_private(path: str, flags: int) -> int:
    """Open a file, for ``open(..., opener=open_private)``; a new one is for its owner alone."""
    return os.open(path, flags, _PRIVATE)


def write_private_file(path: os.PathLike[str], content: bytes) -> None:
    """Write a new file that only its owner can open, in place of whatever is there.

    Raises:
        OSError: It can't be written.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "xb", opener=open_private) as file:
        file.write(content)


def lock_file(path: os.PathLike[str]) -> int:
    """Lock a file that only its owner can open; it is made if there is none (flock(2)).

    Whoever can open a file can hold its lock, even a shared one and without writing. So a file
    that other users could open is closed to them, and replaced while its lock is held: somebody
    may have opened it before.

    Returns:
        A descriptor that holds the lock until it is closed, for the caller to close.

    Raises:
        BlockingIOError: Somebody else holds the lock.
        OSError: The file can't be opened, or is no regular file.
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
                with suppress(PermissionError):  # it belongs to somebody else
                    os.fchmod(descriptor, _PRIVATE)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return _replaced_lock(path, descriptor) if is_open else descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another process has replaced or removed the file meanwhile
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fspath(path))


def _is_at(path: os.PathLike[str], descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _replaced_lock(path: os.PathLike[str], held: int) -> int:
    """A new file in place of a locked one, locked too and with its content."""
    beside = f"{os.fspath(path)}.{secrets.token_hex(4)}.new"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        made = os.open(beside, flags, _PRIVATE)
    except OSError:
        return held  # the lock is held all the same
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
    """Open a file to read it, and never wait for anybody: opening a FIFO waits for its writer.

    Returns:
        The descriptor, for the caller to close.

    Raises:
        OSError: It can't be opened, or is a directory, a FIFO or a device.
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
    """Whether anybody holds a lock file's lock, shared or alone (flock(2)); makes none.

    To see it the lock is taken for a moment, so ask only where nobody may mind. A file that
    can't be opened, or is no regular file, counts as held: nobody else can take it.
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
