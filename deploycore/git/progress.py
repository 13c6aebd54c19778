"""The progress, the cancellation and the result of a git operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from deploycore.errors import Cancelled
from deploycore.records import record

__all__ = ["Cancellation", "CheckedOut", "Progress", "ProgressListener", "no_progress"]


@record
class Progress:
    """The progress of a git operation.

    Attributes:
        phase: ``connecting``, ``receiving``, ``writing`` or ``submodules``.
        received_bytes: Bytes received so far, from all servers.
        files: Files written so far, submodules included.
        files_total: Files to write in all; ``None`` until the tree is known.
    """

    phase: str
    received_bytes: int
    files: int
    files_total: int | None


ProgressListener = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Ignore all progress."""


@record
class CheckedOut:
    """The result of an export or a clone.

    Attributes:
        commit: Full hash.
        ref: The name of the branch or tag; the hash if a commit was requested by its hash.
        files: Number of files and links, submodules included.
        bytes: Size of their contents.
        submodules: Number of submodules that were fetched.
        author: The author's name, or the email address if there is no name; empty if the commit
            has neither. Without control characters.
        subject: The first line of the commit's message, without control characters; may be empty.
        committed_at: In the committer's time zone; ``None`` if the commit has no readable date.
        notes: Lines that say what was left out, or done differently from what the repository says.
    """

    commit: str
    ref: str
    files: int
    bytes: int
    submodules: int
    author: str
    subject: str
    committed_at: datetime | None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The commit in one line: ``commit 1a2b3c by Ada: Fix``."""
        author = f" by {self.author}" if self.author else ""
        subject = f": {self.subject}" if self.subject else ""
        return f"commit {self.commit[:12]}{author}{subject}"


class Cancellation:
    """A request to stop, which any thread and any signal handler can make.

    It uses no lock, since a signal handler may run while its own thread holds that lock.
    """

    def __init__(self) -> None:
        self._cancelled = False
        # No lock: a dictionary adds or removes one entry atomically, in any thread.
        self._listeners: dict[object, Callable[[], None]] = {}
        self._shields: dict[object, None] = {}

    @property
    def cancelled(self) -> bool:
        """Whether the operation was asked to stop."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask the operation to stop, and wake what waits for the network."""
        self._cancelled = True
        for listener in list(self._listeners.values()):
            listener()

    @property
    def is_shielded(self) -> bool:
        """Whether the current work must not be interrupted."""
        return bool(self._shields)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Ask signal handlers not to interrupt the work within this context."""
        key = object()
        self._shields[key] = None
        try:
            yield
        finally:
            del self._shields[key]

    def raise_if_cancelled(self) -> None:
        """Stop if that was requested.

        Raises:
            Cancelled: The operation was asked to stop.
        """
        if self._cancelled:
            raise Cancelled("The operation was canceled; nothing was left half-written.")

    @contextmanager
    def waking(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` on ``cancel``, or now if the operation was already cancelled.

        Args:
            listener: Must be quick, and safe in any thread and in signal handlers.
        """
        key = object()
        self._listeners[key] = listener
        try:
            if self._cancelled:
                listener()
            yield
        finally:
            del self._listeners[key]
