"""Progress on standard error: a live bar at a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from deploycore.cli.output import printable
from deploycore.cli.standard_streams import signals_to_end
from deploycore.git import Cancellation, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Reporter", "cancelled_by_signals", "reporting"]

_RATE_SECONDS = 0.2


class Reporter(Protocol):
    """Shows progress."""

    def show(self, phase: str, git: Progress | None = None) -> None:
        """Show the phase, and the bytes and files of git's phases."""

    def say(self, line: str) -> None:
        """Show a line of a step's output, which stays visible."""


class _Silence:
    def show(self, phase: str, git: Progress | None = None) -> None:
        """Show nothing: with ``--json``, programs read the result."""

    def say(self, line: str) -> None:
        """Show nothing: with ``--json``, programs read the events."""


class _Lines:
    def __init__(self) -> None:
        self._last = ""

    def show(self, phase: str, git: Progress | None = None) -> None:
        name = git.phase if git else phase
        if name != self._last:
            self._last = name
            print(f"{name} …", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        print(f"  {printable(line)}", file=sys.stderr, flush=True)


class _Live:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._last: TaskID | None = None
        self._began = 0.0

    def show(self, phase: str, git: Progress | None = None) -> None:
        name = git.phase if git else phase
        if name not in self._tasks:
            if self._last is not None:
                self._bar.update(self._last, total=1, completed=1)
            self._last = self._tasks[name] = self._bar.add_task(name, total=None, amount="")
            self._began = time.monotonic()
        if git:
            seconds = time.monotonic() - self._began
            self._bar.update(
                self._tasks[name],
                total=git.files_total,
                completed=git.files,
                amount=_amount(git, seconds),
            )

    def say(self, line: str) -> None:
        from rich.text import Text

        self._bar.console.print(Text(f"  {printable(line)}"), highlight=False)


def _amount(git: Progress, seconds: float) -> str:
    """Return the amount and the rate; the rate is left out in the first moment."""
    rate = seconds if seconds >= _RATE_SECONDS else 0.0
    if git.files_total:
        speed = f", {git.files / rate:,.0f} a second" if rate else ""
        return f"{git.files:,} of {git.files_total:,} files{speed}"
    speed = f", {git.received_bytes / rate / 1e6:,.1f} MB/s" if rate else ""
    return f"{git.received_bytes / 1e6:,.1f} MB{speed}"


@contextmanager
def reporting(*, silent: bool) -> Iterator[Reporter]:
    """Return the reporter that suits standard error."""
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
    """Return a cancellation that Ctrl-C, SIGTERM and SIGHUP set.

    A second signal interrupts at once, except while the previous release is being restored.
    """
    cancellation = Cancellation()

    def cancel(number: int, frame: FrameType | None) -> None:
        if cancellation.cancelled and not cancellation.is_shielded:
            raise KeyboardInterrupt
        cancellation.cancel()
        with suppress(Exception):  # standard error may be closed, or in the middle of a write
            print("canceling …", file=sys.stderr, flush=True)

    previous = {number: signal.signal(number, cancel) for number in signals_to_end()}
    try:
        yield cancellation
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
