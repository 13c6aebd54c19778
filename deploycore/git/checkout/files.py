"""The files of a tree that comes into being, whoever writes them: this process or a second one.

What is given out here is done in any order, but never before its directory is there, and links
are the caller's to make when all else is done.
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
# Where an interpreter may find its libraries, and a script around it its programs; no more, since
# other variables may hold secrets.
_PASSED_ON = ("DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "PATH")
# Bytes of jobs that the second process has not begun with, to have it work while this one does.
_ENOUGH_BYTES = 16 * 1024
# Of a number of files.
_COUNT_BITS = 31
_COUNT_MASK = (1 << _COUNT_BITS) - 1


class Files:
    """Writes below one directory, which is new and private.

    Args:
        root: The directory.
        held: Descriptors that the second process keeps open too, such as that of a lock.
        former: A directory from which files may be reused.
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
        # What was given to whom, in which order: here, and to the second process.
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
        """Give everything back; a second process that still runs is ended."""
        if self._process is not None:
            self._process.running.kill()
            self._end_process()
        for descriptor in {self.root, self._former} - {-1}:
            os.close(descriptor)

    def start_process(self) -> None:
        """Have a second process write, where there is a processor for it."""
        # Only who has imported this may have set another one; it takes long to import.
        spawn = sys.modules.get("multiprocessing.spawn")
        executable = sys.executable if spawn is None else spawn.get_executable()
        if self._process or self._stand_in or _processors() < 2:
            return
        if getattr(sys, "frozen", False) or not executable:
            return
        numbers = [str(self.root), str(self._former), self._reuse]
        with suppress(OSError):  # then this process writes
            # Nothing of this comes from elsewhere: this program, its own file, three words.
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
            if running.stdin and running.stdout:  # as they were asked for
                self._process = _Process(running, running.stdin, running.stdout)

    def make_directories(self, paths: Iterable[bytes]) -> None:
        """Make directories, each before what is in it.

        Raises:
            UnsafeRepository: This file system takes two of the names for one.
            OSError: That failed.
        """
        for path in paths:
            try:
                os.mkdir(path, DIRECTORY_MODE, dir_fd=self.root)
            except FileExistsError:
                raise _same_name(path) from None
            self._operation.check_sometimes()

    def write(self, path: bytes, content: bytes, *, executable: bool) -> None:
        """Write a new file, now or soon.

        Raises:
            UnsafeRepository: This file system takes two names for one.
            LimitExceeded: All files together would become too large.
            OSError: That failed.
        """
        self._operation.write(len(content))
        if self._process is None:
            self._perform(("write", path, executable, content))
        else:
            self._give(self._process, ("write", path, executable, content), len(content))

    def write_large(self, path: bytes, content: BinaryIO, *, executable: bool) -> None:
        """Write a new file from an open one, whose position is its beginning.

        Raises:
            DeploycoreError: As ``write`` does.
            OSError: That failed.
        """
        self._operation.write(os.fstat(content.fileno()).st_size)
        with self.new(path, executable=executable) as file:
            while piece := content.read(_STEP):
                self._operation.check()
                file.write(piece)

    def adopt(self, file: bytes, path: bytes, *, executable: bool) -> None:
        """Make a complete file, which is elsewhere on the same file system, a new one here.

        Raises:
            DeploycoreError: As ``write`` does.
            OSError: That failed.
        """
        found = os.stat(file)
        if executable == bool(found.st_mode & 0o100) and found.st_nlink == 1:
            with suppress(OSError):  # a file system without links, for one
                os.link(file, path, dst_dir_fd=self.root)
                self._operation.write(found.st_size)
                return
        with open(file, "rb") as content:
            self.write_large(path, content, executable=executable)

    def new(self, path: bytes, *, executable: bool = False) -> BinaryIO:
        """Open a new file.

        Raises:
            UnsafeRepository: This file system takes two names for one.
            OSError: That failed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = DIRECTORY_MODE if executable else FILE_MODE
        try:
            descriptor = os.open(path, flags, mode, dir_fd=self.root)
        except FileExistsError:
            raise _same_name(path) from None
        return os.fdopen(descriptor, "wb", buffering=0)

    def reuse(self, directory: bytes, names: list[bytes], states: bytes) -> None:
        """Take files over from the former directory.

        Args:
            directory: Its path; once only.
            states: Of each file, as it was when it was written; see ``FileWriter.reuse``.
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
        """Whether the second process has too little to do; else this one goes on itself."""
        waiting = process.unread_bytes()
        return self._counts[0] > self._counts[1] if waiting is None else waiting < _ENOUGH_BYTES

    def taken(self, directory: bytes) -> bytes:
        """The states of the files that were to be reused, when all is finished.

        Returns:
            As ``FileWriter`` has them, in the order in which they were given.
        """
        place = self._given.get(path_hash(directory))
        if place is None:
            return b""
        whose, number = place >> 2 * _COUNT_BITS, place >> _COUNT_BITS & _COUNT_MASK
        first, size = place & _COUNT_MASK, writer.STATE.size
        return bytes(self._states[whose][first * size : (first + number) * size])

    def link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link. Nothing may be written afterwards.

        Raises:
            UnsafeRepository: This file system takes two names for one.
            OSError: That failed.
        """
        self._operation.write(len(target))
        try:
            os.symlink(target, path, dir_fd=self.root)
        except FileExistsError:
            raise _same_name(path) from None

    def write_text_of_link(self, path: bytes, target: bytes) -> None:
        """Write a file that says where a link would lead, instead of the link.

        What git does where there are no links (git-config, core.symlinks).

        Raises:
            DeploycoreError: As ``link`` does.
            OSError: That failed.
        """
        self._operation.write(len(target))
        with self.new(path) as file:
            file.write(target)

    def finish(self) -> None:
        """Wait until all is written, and what could be taken over is.

        Raises:
            UnsafeRepository: This file system takes two names for one.
            OSError: Something could not be written.
            GitError: The second process ended without a word.
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
                "The process that writes files ended before it was done.",
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
        """Do what was given to a second process that could not be started."""
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
    """The second process, and both ends of its pipes that are here.

    Nothing waits for its start, which takes as long as many files do.

    Attributes:
        unconfirmed: What was sent before it said that it runs: if it never does, nobody has it.
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
        """Give it jobs, an empty batch as the last; returns whether it may have come to run."""
        if not self.has_started():
            self.unconfirmed.append(batch)
        try:
            writer.write_batch(self.jobs, batch)
            self.jobs.flush()
        except BrokenPipeError:  # what ended it when it ran is told in the end
            return self.has_started(wait=True)
        return True

    def has_started(self, *, wait: bool = False) -> bool:
        """Whether it said that it runs.

        Args:
            wait: For that, or for its end.
        """
        if not self._has_started and (wait or self._has_said_something()):
            self._has_started = self.answers.read(1) == writer.STARTED
            if self._has_started:
                self.unconfirmed.clear()
        return self._has_started

    def unread_bytes(self) -> int | None:
        """How much of what was sent it has not taken yet; ``None`` where nobody can tell."""
        if sys.platform != "linux":  # elsewhere it is the reader's end alone that tells
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
