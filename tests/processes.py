"""Programs that run during a test."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from typing import Any

__all__ = ["Process", "pass_on_no_ignored_signals"]


def pass_on_no_ignored_signals() -> None:
    """Have programs get the signals that this process was told to ignore, and ignore them still.

    A shell has its background jobs ignore Ctrl-C, and ``nohup`` has a program ignore the end of its
    terminal. Programs inherit that, unless their parent has a handler in its place.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread
                signal.signal(number, _ignore)


def _ignore(number: int, frame: object) -> None:
    pass


class Process(subprocess.Popen[Any]):
    """A ``subprocess.Popen`` whose ``with`` block kills the program if the block fails.

    ``Popen`` itself waits for the program to end, so that a failed assertion would wait for the
    test's timeout instead of failing at once.
    """

    def __exit__(self, kind: Any, error: Any, place: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, place)

    def line(self) -> Any:
        """Return the next line of its standard output.

        Raises:
            AssertionError: It has ended, or closed its output.
        """
        assert self.stdout is not None
        found = self.stdout.readline()
        assert found, f"the program printed nothing more; exit code {self.poll()}"
        return found
