"""Progress of long work on standard error: a live bar at a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from deploycore.git import Cancellation, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Reporter", "cancelled_by_signals", "reporting"]


class Reporter(Protocol):
    """Shows how far something is."""

    def show(self, phase: str, git: Progress | None = None) -> None:
        """Show the phase, and within git's the bytes and files."""


class _Silence:
    def show(self, phase: str, git: Progress | None = None) -> None:
        """Machines read the result."""


class _Lines:
    def __init__(self) -> None:
        self._last = ""

    def show(self, phase: str, git: Progress | None = None) -> None:
        name = git.phase if git else phase
        if name != self._last:
            self._last = name
            print(f"{name} …", file=sys.stderr, flush=True)


class _Live:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._last: TaskID | None = None

    def show(self, phase: str, git: Progress | None = None) -> None:
        name = git.phase if git else phase
        if name not in self._tasks:
            if self._last is not None:
                self._bar.update(self._last, total=1, completed=1)
            self._last = self._tasks[name] = self._bar.add_task(name, total=None, amount="")
        if git:
            self._bar.update(
                self._tasks[name],
                total=git.files_total,
                completed=git.files,
                amount=_amount(git),
            )


def _amount(git: Progress) -> str:
    if git.files_total:
        return f"{git.files:,} of {git.files_total:,} files"
    return f"{git.received_bytes / 1e6:,.1f} MB"


@contextmanager
def reporting(*, silent: bool) -> Iterator[Reporter]:
    """A reporter that fits where standard error goes to."""
    if silent:
        yield _Silence()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            yield _Live(bar)


@contextmanager
def cancelled_by_signals() -> Iterator[Cancellation]:
    """A cancellation that Ctrl-C and SIGTERM set; a second Ctrl-C does not wait for it."""
    cancellation = Cancellation()

    def cancel(number: int, frame: FrameType | None) -> None:
        if cancellation.cancelled:
            raise KeyboardInterrupt
        print("cancelling …", file=sys.stderr, flush=True)
        cancellation.cancel()

    former = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancellation
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
