"""One export or clone in progress: its deadline, its counts against the limits, its listener.

Everything that loops asks it, so that time, size, number and cancellation are looked after in
one place, and are the same for a repository and its submodules.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from deploycore.errors import LimitExceeded
from deploycore.git.progress import Cancellation, Progress, ProgressListener
from deploycore.git.settings import GitSettings

__all__ = ["Operation"]

_REPORT_EVERY = 0.05
_CANCELLATION_STEP = 0.1


class Operation:
    """What is known and allowed while an export or a clone runs.

    Args:
        clock: Seconds that never go back.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        settings: GitSettings,
        listener: ProgressListener,
        cancellation: Cancellation,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.cancellation = cancellation
        self.files = 0
        self.bytes = 0
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + settings.total_timeout
        self._phase = ""
        self._received = 0
        self._reported = 0.0
        self._entries = 0
        self._files_total: int | None = None

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._deadline - self._clock())

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
                hint="Try again when the network is better, or raise total_timeout.",
                limit="total_timeout",
            )

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

    def plan(self) -> None:
        """Count a file or directory that is going to be written.

        Raises:
            LimitExceeded: That is one too many.
        """
        self.check()
        self._entries += 1
        if self._entries > self.settings.files_most:
            raise LimitExceeded(
                f"The repository has more than {self.settings.files_most:,} files and directories.",
                hint="Raise files_most if this repository is to be trusted.",
                limit="files_most",
            )

    def expect(self, files: int) -> None:
        """So many files more are going to be written."""
        self._files_total = (self._files_total or 0) + files
        self._report()

    def write(self, size: int) -> None:
        """Count a file just before it is written.

        Raises:
            LimitExceeded: All files together would become too large.
        """
        self.check()
        self.files += 1
        self.bytes += size
        if self.bytes > self.settings.checkout_bytes_most:
            raise LimitExceeded(
                f"The files take more than {self.settings.checkout_bytes_most:,} bytes.",
                hint="Raise checkout_bytes_most if this repository is to be trusted.",
                limit="checkout_bytes_most",
            )
        self._report_sometimes()

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
        self._listener(Progress(self._phase, self._received, self.files, self._files_total))
