"""How far a git operation is, how to stop it from elsewhere, and what it gave in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from deploycore.errors import Cancelled

__all__ = ["Cancellation", "CheckedOut", "Progress", "ProgressListener", "no_progress"]


@dataclass(frozen=True)
class Progress:
    """How far a git operation is.

    Attributes:
        phase: ``connecting``, ``receiving``, ``writing`` or ``submodules``.
        received_bytes: From all servers so far.
        files: Written so far, those of submodules included.
        files_total: ``None`` until the tree is known.
    """

    phase: str
    received_bytes: int
    files: int
    files_total: int | None


ProgressListener = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class CheckedOut:
    """What is at the target now.

    Attributes:
        commit: Full hash.
        ref: The name of the branch or tag; the hash where there was none.
        files: Files and links, those of submodules included.
        bytes: Of their contents.
        submodules: How many were fetched.
        author: A name, or an email address if there is no name, fit for a terminal; empty if
            the commit has neither.
        subject: The first line of the commit's message, fit for a terminal; may be empty.
        committed_at: In the committer's time zone; ``None`` if the commit has no date that can
            be read.
        notes: What was done otherwise than the repository says, or left out; each a line.
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
        """The commit in one line, as far as it says anything: ``commit 1a2b3c by Ada: Fix``."""
        author = f" by {self.author}" if self.author else ""
        subject = f": {self.subject}" if self.subject else ""
        return f"commit {self.commit[:12]}{author}{subject}"


class Cancellation:
    """A request to stop, safe to make from any thread and from a signal handler.

    It takes no lock, since a signal handler may run while its own thread holds that lock.
    """

    def __init__(self) -> None:
        self._cancelled = False
        # Each by itself: a dictionary takes and gives one entry in one step, whichever thread.
        self._listeners: dict[object, Callable[[], None]] = {}
        self._shields: dict[object, None] = {}

    @property
    def cancelled(self) -> bool:
        """Whether the operation was asked to stop."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask the operation to stop; what waits for the network is woken."""
        self._cancelled = True
        for listener in list(self._listeners.values()):
            listener()

    @property
    def is_shielded(self) -> bool:
        """Whether what happens now must come to its end, however impatient somebody is."""
        return bool(self._shields)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Ask who hears of signals not to interrupt what happens meanwhile."""
        key = object()
        self._shields[key] = None
        try:
            yield
        finally:
            del self._shields[key]

    def raise_if_cancelled(self) -> None:
        """Stop here, if asked to.

        Raises:
            Cancelled: The operation was asked to stop.
        """
        if self._cancelled:
            raise Cancelled("The operation was cancelled; nothing was left half-written.")

    @contextmanager
    def waking(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have ``listener`` called by ``cancel``, or at once if that has happened.

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
