"""Keep standard output for the command's own result, so that programs can parse it.

With ``--json``, output of plugins and of the programs that they start goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from deploycore.cli.standard_streams import reliable_output

__all__ = ["command_output", "foreign_output_to_stderr"]

_STDOUT, _STDERR = 1, 2
_output: TextIO | None = None


def command_output() -> TextIO:
    """Return the stream for a command's result."""
    return sys.stdout if _output is None else _output


@contextmanager
def foreign_output_to_stderr() -> Iterator[None]:
    """Redirect to standard error all output that is not printed to ``command_output``.

    This covers the output of plugins, from any thread, and of child processes.
    """
    global _output
    if sys.stdout is None or sys.stderr is None or _output is not None:
        yield
        return
    before, own = sys.stdout, _own_stdout()
    _output, sys.stdout = own or before, sys.stderr
    try:
        yield
    finally:
        sys.stdout, _output = before, None
        if own is not None:
            _give_back(own)


def _own_stdout() -> TextIO | None:
    """Duplicate standard output, and let descriptor 1 lead to standard error.

    Returns:
        The duplicate; ``None`` if standard output is closed or was replaced.
    """
    try:
        if sys.stdout.fileno() != _STDOUT or sys.stderr.fileno() != _STDERR:
            return None
        sys.stdout.flush()
        number = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
    except (OSError, ValueError, AttributeError):
        return None
    return reliable_output(number, like=sys.stdout)


def _give_back(own: TextIO) -> None:
    try:
        own.flush()
    finally:
        # The duplicate stays open: write errors are looked up when the command has ended.
        os.dup2(own.fileno(), _STDOUT)
