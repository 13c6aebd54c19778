"""One export or clone in progress: its deadline, its counts against the limits, its listener.

Everything that loops asks it, so that time, size, number and cancellation are looked after in
one place, and are the same for a repository and its submodules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from deploycore.errors import LimitExceeded
from deploycore.git.progress import Cancellation, Progress, ProgressListener
from deploycore.git.settings import GitSettings
from deploycore.git.wording import raising

__all__ = ["Counts", "Operation", "letting_listeners_fail"]

Result = TypeVar("Result")

_REPORT_EVERY = 0.05
_CANCELLATION_STEP = 0.1
_LARGE = 1024 * 1024
_HELD_OVERHEAD = 256
# What is read again: so many bytes, and in proportion to what was unpacked. Packs of git's with
# chains of 250 deltas came to a twentieth of that at the most.
_REREAD_LEAST = 8 * 1024**3
_REREAD_SHARE = 16
# What matching .gitattributes may take: about microseconds, and in proportion to the pack. A
# repository with 200 wildcard rules and 100,000 files, of 60 bytes each in the pack, comes to a
# fifth of that.
_MATCH_LEAST = 4_000_000
_MATCH_SHARE = 50
_OBJECT_WORK = 16 * 1024  # bytes that could be copied in the time that a small object takes


@dataclass
class Counts:
    """What was counted so far.

    Attributes:
        files: Written.
        bytes: Written.
        files_total: To be written, as far as is known.
        entries: Files and directories that were planned.
        unpacked: Bytes of objects.
        objects: Unpacked.
        reread: Bytes of objects that were made to read others, and what each takes besides.
        held: Bytes in memory until the end.
        lfs_objects: To be downloaded from Git LFS.
        lfs_bytes: Of those.
        packed: Bytes of the packs whose attributes are obeyed.
        matched: What matching attributes took, in steps of about a microsecond.
    """

    files: int = 0
    bytes: int = 0
    files_total: int | None = None
    entries: int = 0
    unpacked: int = 0
    objects: int = 0
    reread: int = 0
    held: int = 0
    lfs_objects: int = 0
    lfs_bytes: int = 0
    packed: int = 0
    matched: int = 0


class Operation:
    """What is known and allowed while an export or a clone runs.

    Args:
        home: The address of the outermost repository, if it is known.
        clock: Seconds that never go back.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        settings: GitSettings,
        listener: ProgressListener,
        cancellation: Cancellation,
        *,
        home: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.cancellation = cancellation
        self.home = home
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + settings.total_timeout
        self._phase = ""
        self._received = 0
        self._reported = 0.0
        self._counts = Counts()
        self._turns = 0

    @property
    def counts(self) -> Counts:
        """What was counted so far; a copy."""
        return replace(self._counts)

    def count_again(self, counts: Counts) -> None:
        """Begin again where a try began that failed: what it did is undone, and done anew."""
        self._counts = replace(counts)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._deadline - self._clock())

    @property
    def entries_left(self) -> int:
        """How many files and directories more may be planned."""
        return self.settings.max_files - self._counts.entries

    def check(self) -> None:
        """Go on only while that is wanted and there is time.

        Raises:
            Cancelled: The operation was asked to stop.
            LimitExceeded: The total time is over.
        """
        self.cancellation.raise_if_cancelled()
        if not self.remaining:
            seconds = self.settings.total_timeout
            raise LimitExceeded(
                f"The git operation took more than {seconds:g} seconds.",
                hint="Try again. If it happens again, raise timeouts: {fetch: SECONDS} of the"
                " application, or total_timeout of GitSettings.",
                limit="total_timeout",
            )

    def check_sometimes(self) -> None:
        """``check``, for loops whose turns cost less than a look at the clock."""
        self._turns += 1
        if not self._turns & 63:
            self.check()

    def enter(self, phase: str) -> None:
        """Begin a phase; see ``Progress``. Submodules are one phase, whatever is done for them."""
        self.check()
        if phase == self._phase or self._phase == "submodules":
            return
        self._phase = phase
        self._report()

    def receive(self, size: int) -> None:
        """Count bytes from a server."""
        self.check()
        self._received += size
        self._report_sometimes()

    def plan(self, entries: int) -> None:
        """Count files and directories that are going to be written.

        Raises:
            LimitExceeded: Those are too many.
        """
        self.check()
        self._counts.entries += entries
        if self._counts.entries > self.settings.max_files:
            raise LimitExceeded(
                f"The repository has more than {self.settings.max_files:,} files and directories.",
                hint=raising("max_files"),
                limit="max_files",
            )

    def hold(self, size: int) -> None:
        """Count what is held in memory until the end: links, submodules, attributes, pointers.

        Args:
            size: Of its paths and contents.

        Raises:
            LimitExceeded: Those are too many, or too long.
        """
        self._counts.held += size + _HELD_OVERHEAD
        if self._counts.held > self.settings.max_held_bytes:
            raise LimitExceeded(
                "The repository has too many symbolic links, submodules, .gitattributes or files"
                " in LFS, or too long ones.",
                hint=raising("max_held_bytes"),
                limit="max_held_bytes",
            )

    def expect_lfs(self, size: int) -> None:
        """Count an object that is going to be downloaded from Git LFS.

        Raises:
            LimitExceeded: Those of all repositories are too many, or too large together.
        """
        settings = self.settings
        self._counts.lfs_objects += 1
        self._counts.lfs_bytes += size
        if self._counts.lfs_objects > settings.max_lfs_objects:
            raise _too_much_in_lfs("max_lfs_objects", f"{settings.max_lfs_objects:,} files")
        if self._counts.lfs_bytes > settings.max_lfs_bytes:
            raise _too_much_in_lfs("max_lfs_bytes", f"{settings.max_lfs_bytes:,} bytes")

    def expect(self, files: int) -> None:
        """So many files more are going to be written."""
        self._counts.files_total = (self._counts.files_total or 0) + files
        self._report_sometimes()

    def unpack(self, size: int, *, together: int = 0, objects: int = 1) -> None:
        """Count what an object of a pack unpacks to, before it is unpacked.

        Args:
            together: What small objects have unpacked to, counted together.
            objects: How many there are.

        Raises:
            LimitExceeded: It is too large, or all objects together would be.
        """
        settings = self.settings
        self._counts.unpacked += size + together
        self._counts.objects += objects
        if size > settings.max_object_bytes:
            raise _too_large("a file", settings.max_object_bytes, "max_object_bytes")
        if self._counts.unpacked > settings.max_checkout_bytes:
            raise _too_large("files", settings.max_checkout_bytes, "max_checkout_bytes")

    def reread(self, size: int) -> None:
        """Count an object that was made from a pack at rest, be it to make another one of it.

        A small pack can have thousands of deltas each of which takes gigabytes to follow.

        Raises:
            Cancelled: The operation was asked to stop.
            LimitExceeded: That is out of proportion to what the packs hold, or takes too long.
        """
        self.check_sometimes()
        counts = self._counts
        counts.reread += size + _OBJECT_WORK
        if counts.reread < _REREAD_LEAST:
            return
        # What was in the cache already was not unpacked now, but is planned and written.
        held = counts.unpacked + counts.bytes + (counts.objects + counts.entries) * _OBJECT_WORK
        if counts.reread > _REREAD_LEAST + _REREAD_SHARE * held:
            raise LimitExceeded(
                "The repository's deltas take more work than what they hold is worth.",
                hint="Have the server's repository repacked, with git repack -a -d -f.",
                limit="work",
            )

    def allow_matching(self, packed: int) -> None:
        """Allow for the attributes of one more repository, in proportion to its packs' bytes."""
        self._counts.packed += packed

    def match(self, steps: int) -> None:
        """Count what reading and matching ``.gitattributes`` is about to take.

        A small pack can describe many paths, and many rules that are tried on each of them.

        Args:
            steps: Of about a microsecond each.

        Raises:
            Cancelled: The operation was asked to stop.
            LimitExceeded: That is out of proportion to what the packs hold, or takes too long.
        """
        self.check_sometimes()
        counts = self._counts
        counts.matched += steps
        if counts.matched > _MATCH_LEAST + _MATCH_SHARE * counts.packed:
            raise LimitExceeded(
                "The repository's .gitattributes take more work than its size is worth: too many"
                " rules apply to too many paths.",
                hint="Use fewer rules with wildcards, or deploy without obeying attributes.",
                limit="work",
            )

    def write(self, size: int, files: int = 1) -> None:
        """Count files just before they are written.

        Args:
            size: Of all of them.

        Raises:
            LimitExceeded: All files together would become too large.
        """
        before = self._counts.files
        self._counts.files += files
        self._counts.bytes += size
        if self._counts.bytes > self.settings.max_checkout_bytes:
            raise _too_large("files", self.settings.max_checkout_bytes, "max_checkout_bytes")
        # A look at the clock costs as much as a small file's share of all else.
        if before >> 6 != self._counts.files >> 6 or size >= _LARGE:
            self.check()
            self._report_sometimes()

    def take_back(self, size: int) -> None:
        """A file that was counted as written was not, and will be."""
        self._counts.files -= 1
        self._counts.bytes -= size

    def finish(self) -> None:
        """Report the final figures."""
        self.check()
        self._report()

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the operation is wanted and has time."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self.check()
            self._sleep(min(left, _CANCELLATION_STEP))

    def _report_sometimes(self) -> None:
        """Report, but no more often than a person could see."""
        if self._clock() - self._reported >= _REPORT_EVERY:
            self._report()

    def _report(self) -> None:
        self._reported = self._clock()
        counts = self._counts
        try:
            self._listener(Progress(self._phase, self._received, counts.files, counts.files_total))
        except BaseException as error:
            raise _ListenerFailed(error) from None


class _ListenerFailed(BaseException):
    """What a listener raised, in what nobody takes for a failure of a network or a disk."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def letting_listeners_fail(perform: Callable[[], Result]) -> Result:
    """Raise what a listener raised as it was, whatever was going on then."""
    try:
        return perform()
    except _ListenerFailed as failed:
        error = failed.error
    raise error


def _too_large(what: str, most: int, limit: str) -> LimitExceeded:
    return LimitExceeded(
        f"The repository holds {what} of more than {most:,} bytes.",
        hint=raising(limit),
        limit=limit,
    )


def _too_much_in_lfs(limit: str, most: str) -> LimitExceeded:
    return LimitExceeded(
        f"The repository has more than {most} in Git LFS.",
        hint=raising(limit),
        limit=limit,
    )
