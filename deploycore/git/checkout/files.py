"""Write the files of a new tree, in this process or in a second one.

Files are written in any order, but never before their directory exists. The caller creates links
after all files are written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, BinaryIO

from deploycore.disk.durable import DIRECTORY_MODE, FILE_MODE
from deploycore.errors import GitError, UnsafeRepository
from deploycore.git.checkout import writer
from deploycore.git.operation import Operation
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_hash
from deploycore.git.wording import quoted, shown

__all__ = ["Files"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH_BYTES = 256 * 1024
_COST_OF_A_JOB = 64
_STEP = 64 * 1024
_PIPE_BYTES = 1024 * 1024
_LONG_ENOUGH = 30.0
# Variables that an interpreter, or a script that wraps it, may need. No others are passed, since
# they may hold secrets.
_PASSED_ON = ("DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "PATH")
# Bytes of jobs that the second process has not read yet, which keep it busy while this one works.
_ENOUGH_BYTES = 16 * 1024
# Bits of a file count.
_COUNT_BITS = 31
_COUNT_MASK = (1 << _COUNT_BITS) - 1


class Files:
    """Writes files below one new and private directory.

    Args:
        root: The directory.
        held: Descriptors that the second process also keeps open, such as that of a lock.
        former: The previous directory, from which files may be reused.
        reuse: ``copy`` or ``hard-link``.

    Raises:
        OSError: A directory can't be opened.
    """

    def __init__(
        self,
        root: bytes,
        operation: Operation,
        *,
        held: tuple[int, ...] = (),
        former: bytes | None = None,
        reuse: str = "copy",
    ) -> None:
        self._operation = operation
        self._held = held
        self._reuse = reuse
        self._process: _Process | None = None
        self._batch: list[writer.Job] = []
        self._batch_bytes = 0
        self._former = -1
        # The place of each directory's states: which process has its files, and their position.
        self._given = HashTable(PATH_HASH_BYTES)
        self._counts = [0, 0]
        self._states: list[bytes | bytearray] = [b"", b""]
        self.root = os.open(root, _OPEN_DIRECTORY)
        if former is not None:
            with suppress(OSError):
                self._former = os.open(former, _OPEN_DIRECTORY)
        self._writer = writer.FileWriter(self.root, self._former, reuse)
        self._stand_in: writer.FileWriter | None = None

    def close(self) -> None:
        """Close everything, and end the second process if it still runs."""
        if self._process is not None:
            self._process.running.kill()
            self._end_process()
        for descriptor in {self.root, self._former} - {-1}:
            os.close(descriptor)

    def start_process(self) -> None:
        """Start a second process that writes, if there is a second processor."""
        # multiprocessing may be configured with another executable. It is not imported for this:
        # the import is slow, and only code that has imported it can have configured it.
        spawn = sys.modules.get("multiprocessing.spawn")
        executable = sys.executable if spawn is None else spawn.get_executable()
        if self._process or self._stand_in or _processors() < 2:
            return
        if getattr(sys, "frozen", False) or not executable:
            return
        numbers = [str(self.root), str(self._former), self._reuse]
        with suppress(OSError):  # if it cannot be started, this process writes
            # No part of the command comes from outside.
            running = subprocess.Popen(  # noqa: S603
                [executable, "-I", "-S", writer.__file__, *numbers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self.root, *self._held, *({self._former} - {-1})),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                cwd="/",
                start_new_session=True,
                pipesize=_PIPE_BYTES,
            )
            if running.stdin and running.stdout:  # always true: both are pipes
                self._process = _Process(running, running.stdin, running.stdout)

    def make_directories(self, paths: Iterable[bytes]) -> None:
        """Create directories, each before those in it.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            OSError: It failed.
        """
        for path in paths:
            try:
                os.mkdir(path, DIRECTORY_MODE, dir_fd=self.root)
            except FileExistsError:
                raise _same_name(path) from None
            self._operation.check_sometimes()

    def write(self, path: bytes, content: bytes, *, executable: bool) -> None:
        """Write a new file, at once or later in the second process.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            LimitExceeded: All files together are too large.
            OSError: It failed.
        """
        self._operation.write(len(content))
        if self._process is None:
            self._perform(("write", path, executable, content))
        else:
            self._give(self._process, ("write", path, executable, content), len(content))

    def write_large(self, path: bytes, content: BinaryIO, *, executable: bool) -> None:
        """Write a new file with the content of an open file, from its current position.

        Raises:
            DeploycoreError: As ``write`` does.
            OSError: It failed.
        """
        self._operation.write(os.fstat(content.fileno()).st_size)
        with self.new(path, executable=executable) as file:
            while piece := content.read(_STEP):
                self._operation.check()
                file.write(piece)

    def adopt(self, file: bytes, path: bytes, *, executable: bool) -> None:
        """Link or copy a complete file on the same file system to a new path here.

        Raises:
            DeploycoreError: As ``write`` does.
            OSError: It failed.
        """
        found = os.stat(file)
        if executable == bool(found.st_mode & 0o100) and found.st_nlink == 1:
            with suppress(OSError):  # some file systems have no links
                os.link(file, path, dst_dir_fd=self.root)
                self._operation.write(found.st_size)
                return
        with open(file, "rb") as content:
            self.write_large(path, content, executable=executable)

    def new(self, path: bytes, *, executable: bool = False) -> BinaryIO:
        """Open a new file.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            OSError: It failed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = DIRECTORY_MODE if executable else FILE_MODE
        try:
            descriptor = os.open(path, flags, mode, dir_fd=self.root)
        except FileExistsError:
            raise _same_name(path) from None
        return os.fdopen(descriptor, "wb", buffering=0)

    def reuse(self, directory: bytes, names: list[bytes], states: bytes) -> None:
        """Reuse files of the previous directory.

        Args:
            directory: Their directory's path. Each one is given at most once.
            states: The state of each file when it was written; see ``FileWriter.reuse``.
        """
        numbers = array("q", states)
        sizes = numbers[:: writer.STATE.size // numbers.itemsize]
        self._operation.write(sum(each >> 1 for each in sizes), len(names))
        job = ("reuse", directory and directory + b"/", names, states)
        process = self._process
        whose = int(process is not None and self._is_second_in_want(process))
        place = (whose << _COUNT_BITS | len(names)) << _COUNT_BITS | self._counts[whose]
        self._given.add(path_hash(directory), place)
        self._counts[whose] += len(names)
        if process is None or not whose:
            self._perform(job)
        else:
            self._give(process, job, len(states) + _COST_OF_A_JOB * len(names))
            self._send_batch(process)

    def _is_second_in_want(self, process: _Process) -> bool:
        """Whether the second process has too little to do; else this one does the job itself."""
        waiting = process.unread_bytes()
        return self._counts[0] > self._counts[1] if waiting is None else waiting < _ENOUGH_BYTES

    def taken(self, directory: bytes) -> bytes:
        """Return the states of the reused files of a directory, after ``finish``.

        Returns:
            The states that ``FileWriter`` has, in the order in which the files were given.
        """
        place = self._given.get(path_hash(directory))
        if place is None:
            return b""
        whose, number = place >> 2 * _COUNT_BITS, place >> _COUNT_BITS & _COUNT_MASK
        first, size = place & _COUNT_MASK, writer.STATE.size
        return bytes(self._states[whose][first * size : (first + number) * size])

    def link(self, path: bytes, target: bytes) -> None:
        """Create a symbolic link. No file may be written afterwards.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            OSError: It failed.
        """
        self._operation.write(len(target))
        try:
            os.symlink(target, path, dir_fd=self.root)
        except FileExistsError:
            raise _same_name(path) from None

    def write_text_of_link(self, path: bytes, target: bytes) -> None:
        """Write a file that holds the target of a link, instead of the link.

        Git does the same on systems without links (git-config, core.symlinks).

        Raises:
            DeploycoreError: As ``link`` does.
            OSError: It failed.
        """
        self._operation.write(len(target))
        with self.new(path) as file:
            file.write(target)

    def hand_over(self) -> None:
        """Give the second process, if there is one, all that it has not been given yet.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            OSError: Something could not be written.
        """
        if self._process is not None:
            self._send_batch(self._process)

    def finish(self) -> None:
        """Wait until all files are written or reused.

        Raises:
            UnsafeRepository: This file system treats two names as the same.
            OSError: Something could not be written.
            GitError: The second process ended unexpectedly.
        """
        self._states[0] = self._writer.states
        if self._process is not None:
            self._finish_process(self._process)

    def _perform(self, job: writer.Job, by: writer.FileWriter | None = None) -> None:
        try:
            (by or self._writer).perform(job)
        except FileExistsError as error:
            raise _same_name(error.filename) from None

    def _give(self, process: _Process, job: writer.Job, size: int) -> None:
        self._batch.append(job)
        self._batch_bytes += size + _COST_OF_A_JOB
        if self._batch_bytes >= _BATCH_BYTES:
            self._send_batch(process)

    def _send_batch(self, process: _Process) -> None:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            if not process.send(batch):
                self._stand_in_for(process)

    def _finish_process(self, process: _Process) -> None:
        self._send_batch(process)
        if self._process is None:
            return
        if not process.send([]) or not process.has_started(wait=True):
            self._stand_in_for(process)
            return
        answer = writer.read_batch(process.answers)
        self._end_process()
        if answer is None:
            raise GitError(
                "The process that writes the files ended unexpectedly.",
                hint="Check whether the system ran out of memory, then try again.",
            )
        failure, self._states[1] = answer
        if failure is None:
            return
        number, said, path = failure
        if number == errno.EEXIST:
            raise _same_name(path)
        raise OSError(number, said, os.fsdecode(path) if path else None)

    def _stand_in_for(self, process: _Process) -> None:
        """Do the jobs of a second process that could not be started."""
        process.running.kill()
        self._end_process()
        self._stand_in = writer.FileWriter(self.root, self._former, self._reuse)
        self._states[1] = self._stand_in.states
        for batch in process.unconfirmed:
            for job in batch:
                self._perform(job, self._stand_in)

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.jobs, process.answers):
            with suppress(OSError):
                stream.close()
        try:
            process.running.wait(_LONG_ENOUGH)
        except subprocess.TimeoutExpired:
            process.running.kill()
            process.running.wait()


class _Process:
    """The second process, and our ends of its pipes.

    This process does not wait for its start, which takes as long as writing many files.

    Attributes:
        unconfirmed: Jobs that were sent before it reported its start. They are done here if it
            never starts.
    """

    def __init__(
        self, running: subprocess.Popen[bytes], jobs: IO[bytes], answers: IO[bytes]
    ) -> None:
        self.running = running
        self.jobs = jobs
        self.answers = answers
        self.unconfirmed: list[list[writer.Job]] = []
        self._has_started = False

    def send(self, batch: list[writer.Job]) -> bool:
        """Send jobs, an empty batch at the end; returns whether the process may have started."""
        if not self.has_started():
            self.unconfirmed.append(batch)
        try:
            writer.write_batch(self.jobs, batch)
            self.jobs.flush()
        except BrokenPipeError:  # if it had started, ``finish`` reports why it ended
            return self.has_started(wait=True)
        return True

    def has_started(self, *, wait: bool = False) -> bool:
        """Whether it has reported its start.

        Args:
            wait: Wait until it reports its start or ends.
        """
        if not self._has_started and (wait or self._has_said_something()):
            self._has_started = self.answers.read(1) == writer.STARTED
            if self._has_started:
                self.unconfirmed.clear()
        return self._has_started

    def unread_bytes(self) -> int | None:
        """How many sent bytes it has not read yet; ``None`` if that is not known."""
        if sys.platform != "linux":  # other systems show the number only to the reader
            return None
        number = array("i", (0,))
        try:
            fcntl.ioctl(self.jobs, termios.FIONREAD, number)
        except OSError:
            return None
        return number[0]

    def _has_said_something(self) -> bool:
        poll = select.poll()
        poll.register(self.answers, select.POLLIN)
        return bool(poll.poll(0))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _same_name(path: bytes) -> UnsafeRepository:
    return UnsafeRepository(
        f"The repository holds {quoted(path)} and another name that this file system treats as"
        " the same.",
        hint="Rename one of the two in the repository.",
        path=shown(path),
    )
