"""Programs that run during a test."""

from __future__ import annotations

import subprocess
from typing import Any

__all__ = ["Process"]


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
