"""One export or clone in progress: its deadline, its limits, its cancellation and its listener.

Every loop reports to it, so that time, sizes, numbers and cancellation are checked in one place,
for a repository and its submodules together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from typing import TypeVar

from deploycore.errors import LimitExceeded
from deploycore.git.credentials import Credentials, RenewCredential
from deploycore.git.granted import GrantedSource
from deploycore.git.progress import Cancellation, Progress, ProgressListener
from deploycore.git.settings import GitSettings
from deploycore.git.wording import limit_hint
from deploycore.http.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.models import CloneUrl

__all__ = ["Counts", "Operation", "raise_listener_errors"]

Result = TypeVar("Result")

_REPORT_EVERY = 0.05
_CANCELLATION_STEP = 0.1
_LARGE = 1024 * 1024
_HELD_OVERHEAD = 256
# Limit of what is read again: a fixed number of bytes, and a share of what was unpacked. Packs made
# by git with chains of 250 deltas reached at most a twentieth of it.
_REREAD_LEAST = 8 * 1024**3
_REREAD_SHARE = 16
# Limit of the work to match .gitattributes, in steps of about a microsecond: a fixed number, and a
# share of the pack's size. A repository with 200 wildcard rules and 100,000 files, of 60 bytes each
# in the pack, reaches a fifth of it.
_MATCH_LEAST = 4_000_000
_MATCH_SHARE = 50
_OBJECT_WORK = 16 * 1024  # bytes that could be copied in the time that a small object takes


class Counts:
    """What an operation has counted so far.

    Attributes:
        files: Files written.
        bytes: Bytes written.
        files_total: Files to write, as far as that is known.
        entries: Files and directories to write.
        unpacked: Bytes of unpacked objects.
        objects: Number of unpacked objects.
        reread: Bytes of objects that were unpacked again to read others, with an overhead for each.
        held: Bytes in memory until the end.
        lfs_objects: Objects to download from Git LFS.
        lfs_bytes: Bytes of those objects.
        packed: Bytes of the packs whose attributes are applied.
        matched: Work to match attributes, in steps of about a microsecond.
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.files_total: int | None = None
        self.entries = 0
        self.unpacked = 0
        self.objects = 0
        self.reread = 0
        self.held = 0
        self.lfs_objects = 0
        self.lfs_bytes = 0
        self.packed = 0
        self.matched = 0


class Operation:
    """The state of an export or a clone while it runs.

    Args:
        home: The URL of the outermost repository, if it is known.
        renew: Returns another credential when the server rejects one.
        clock: A monotonic clock, in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        settings: GitSettings,
        listener: ProgressListener,
        cancellation: Cancellation,
        *,
        home: str = "",
        renew: RenewCredential | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.cancellation = cancellation
        self.home = home
        self._credentials = Credentials(renew)
        self._granted: dict[Origin, Credentials] = {}
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + settings.total_timeout
        self._phase = ""
        self._received = 0
        self._reported = 0.0
        self._counts = Counts()
        self._turns = 0

    def grant(self, granted: GrantedSource) -> None:
        """Keep the credentials of an origin apart from those of the outermost repository."""
        origin = Origin.of(granted.source.url)
        if not self.home or origin != Origin.of(self.home):
            self._granted.setdefault(origin, Credentials(granted.renew))

    def credentials_for(self, source: CloneUrl) -> Credentials:
        """The credentials in use at a repository's origin. None is used at another origin."""
        return self._granted.get(Origin.of(source.url), self._credentials)

    @property
    def counts(self) -> Counts:
        """A copy of the counts."""
        return copy(self._counts)

    def count_again(self, counts: Counts) -> None:
        """Reset the counts to those before a failed attempt, whose work will be done again."""
        self._counts = copy(counts)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._deadline - self._clock())

    @property
    def entries_left(self) -> int:
        """How many more files and directories are allowed."""
        return self.settings.max_files - self._counts.entries

    def check(self) -> None:
        """Raise if the operation must stop.

        Raises:
            Cancelled: The operation was cancelled.
            LimitExceeded: The time limit was reached.
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
        """Check every 64th time, for loops whose steps take less time than reading the clock."""
        self._turns += 1
        if not self._turns & 63:
            self.check()

    def enter(self, phase: str) -> None:
        """Enter a phase; see ``Progress``. Everything for submodules is one phase."""
        self.check()
        if phase == self._phase or self._phase == "submodules":
            return
        self._phase = phase
        self._report()

    def receive(self, size: int) -> None:
        """Count received bytes."""
        self.check()
        self._received += size
        self._report_sometimes()

    def plan(self, entries: int) -> None:
        """Count files and directories that will be written.

        Raises:
            LimitExceeded: There are too many.
        """
        self.check()
        self._counts.entries += entries
        if self._counts.entries > self.settings.max_files:
            raise LimitExceeded(
                f"The repository has more than {self.settings.max_files:,} files and directories.",
                hint=limit_hint("max_files"),
                limit="max_files",
            )

    def hold(self, size: int) -> None:
        """Count what stays in memory until the end: links, submodules, attributes, pointers.

        Args:
            size: Bytes of its paths and contents.

        Raises:
            LimitExceeded: There is too much.
        """
        self._counts.held += size + _HELD_OVERHEAD
        if self._counts.held > self.settings.max_held_bytes:
            raise LimitExceeded(
                "The repository has too many symbolic links, submodules, .gitattributes or files"
                " in LFS, or their paths and contents are too long.",
                hint=limit_hint("max_held_bytes"),
                limit="max_held_bytes",
            )

    def expect_lfs(self, size: int) -> None:
        """Count an object that will be downloaded from Git LFS.

        Raises:
            LimitExceeded: The objects of all repositories are too many or too large.
        """
        settings = self.settings
        self._counts.lfs_objects += 1
        self._counts.lfs_bytes += size
        if self._counts.lfs_objects > settings.max_lfs_objects:
            raise _too_much_in_lfs("max_lfs_objects", f"{settings.max_lfs_objects:,} files")
        if self._counts.lfs_bytes > settings.max_lfs_bytes:
            raise _too_much_in_lfs("max_lfs_bytes", f"{settings.max_lfs_bytes:,} bytes")

    def expect(self, files: int) -> None:
        """Count files that will be written, for the progress."""
        self._counts.files_total = (self._counts.files_total or 0) + files
        self._report_sometimes()

    def unpack(self, size: int, *, together: int = 0, objects: int = 1) -> None:
        """Count an object of a pack before it is unpacked.

        Args:
            size: Its uncompressed size.
            together: The uncompressed size of small objects that are counted together.
            objects: How many objects are counted.

        Raises:
            LimitExceeded: The object, or all objects together, are too large.
        """
        settings = self.settings
        self._counts.unpacked += size + together
        self._counts.objects += objects
        if size > settings.max_object_bytes:
            raise _too_large("a file", settings.max_object_bytes, "max_object_bytes")
        if self._counts.unpacked > settings.max_checkout_bytes:
            raise _too_large("files", settings.max_checkout_bytes, "max_checkout_bytes")

    def reread(self, size: int) -> None:
        """Count an object that is read from a complete pack, also to apply a delta to it.

        A small pack can have thousands of deltas that each take gigabytes of work to apply.

        Raises:
            Cancelled: The operation was cancelled.
            LimitExceeded: The work is too much for the size of the packs, or takes too long.
        """
        self.check_sometimes()
        counts = self._counts
        counts.reread += size + _OBJECT_WORK
        if counts.reread < _REREAD_LEAST:
            return
        # Objects in the cache were not unpacked now, but they are planned and written.
        held = counts.unpacked + counts.bytes + (counts.objects + counts.entries) * _OBJECT_WORK
        if counts.reread > _REREAD_LEAST + _REREAD_SHARE * held:
            raise LimitExceeded(
                "The repository's deltas exceed the limit for unpacking: objects have to be read"
                " again too often.",
                hint="Have the server's repository repacked, with git repack -a -d -f.",
                limit="work",
            )

    def allow_matching(self, packed: int) -> None:
        """Allow more matching work for one more repository, in proportion to its packs' size."""
        self._counts.packed += packed

    def match(self, steps: int) -> None:
        """Count the work of reading and matching ``.gitattributes`` before it is done.

        A small pack can describe many paths, and many rules that are tried on each of them.

        Args:
            steps: Steps of about a microsecond each.

        Raises:
            Cancelled: The operation was cancelled.
            LimitExceeded: The work is too much for the size of the packs, or takes too long.
        """
        self.check_sometimes()
        counts = self._counts
        counts.matched += steps
        if counts.matched > _MATCH_LEAST + _MATCH_SHARE * counts.packed:
            raise LimitExceeded(
                "The repository's .gitattributes exceed the limit for matching: there are too many"
                " rules for this number of paths.",
                hint="Use fewer rules with wildcards, or deploy with attributes: false.",
                limit="work",
            )

    def write(self, size: int, files: int = 1) -> None:
        """Count files just before they are written.

        Args:
            size: Bytes of all of them.

        Raises:
            LimitExceeded: All files together are too large.
        """
        before = self._counts.files
        self._counts.files += files
        self._counts.bytes += size
        if self._counts.bytes > self.settings.max_checkout_bytes:
            raise _too_large("files", self.settings.max_checkout_bytes, "max_checkout_bytes")
        # Reading the clock takes as long as everything else that is done for a small file.
        if before >> 6 != self._counts.files >> 6 or size >= _LARGE:
            self.check()
            self._report_sometimes()

    def take_back(self, size: int) -> None:
        """Uncount a file that was counted as written, but has to be written again."""
        self._counts.files -= 1
        self._counts.bytes -= size

    def finish(self) -> None:
        """Report the final figures."""
        self.check()
        self._report()

    def wait(self, seconds: float) -> None:
        """Wait, but stop when the operation is cancelled or its time is over."""
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self.check()
            self._sleep(min(left, _CANCELLATION_STEP))

    def _report_sometimes(self) -> None:
        """Report, but at most 20 times a second."""
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
    """Carries what a listener raised, so that no handler takes it for a network or disk failure."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def raise_listener_errors(perform: Callable[[], Result]) -> Result:
    """Raise an exception of a listener unchanged, no matter where it was raised."""
    try:
        return perform()
    except _ListenerFailed as failed:
        error = failed.error
    raise error


def _too_large(what: str, most: int, limit: str) -> LimitExceeded:
    return LimitExceeded(
        f"The repository holds {what} of more than {most:,} bytes.",
        hint=limit_hint(limit),
        limit=limit,
    )


def _too_much_in_lfs(limit: str, most: str) -> LimitExceeded:
    return LimitExceeded(
        f"The repository has more than {most} in Git LFS.",
        hint=limit_hint(limit),
        limit=limit,
    )
