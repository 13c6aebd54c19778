"""Standard output for a command's own words alone, where a machine reads it.

Plugins, and the programs that they start, may print. With ``--json`` that goes to standard error.
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
    """Where a command prints what it was asked for."""
    return sys.stdout if _output is None else _output


@contextmanager
def foreign_output_to_stderr() -> Iterator[None]:
    """Whatever is not printed to ``command_output`` goes to standard error: what plugins print
    while they are imported and called, from any thread, and what child processes print."""
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
    """Standard output under another number; from then on number 1 is standard error. ``None``
    where there is no such file, or it is replaced."""
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
        # Its number stays open: what could not be written is asked for when the command has ended.
        os.dup2(own.fileno(), _STDOUT)
