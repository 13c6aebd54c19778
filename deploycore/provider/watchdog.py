"""End this process, with a plain error, where the import of a plugin holds the interpreter.

A thread cannot tell of that: code in C that holds the interpreter's lock, such as a catastrophic
regular expression, stops every thread, and Python's signal handlers, too. So a shell beside this
process waits for the end of the import. It costs a millisecond. It ends at once when the import
does, or when this process ends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["ending_process"]

# Standard input ends when the import does, or when the parent dies; then the sleep is ended. What
# shells say of jobs that were killed is dropped.
_SCRIPT = """
exec 3<&0 4>&2 2>/dev/null
sleep "$1" & asleep=$!
(read -r line <&3; kill "$asleep") &
wait "$asleep" && { printf '%s\\n' "$2" >&4; kill -9 "$PPID"; }
wait
"""


@contextmanager
def ending_process(seconds: float, message: str) -> Iterator[None]:
    """Have this process be killed if the block takes longer; where there is no shell, do nothing.

    For blocks that end by themselves in time as long as the interpreter runs other threads.

    Args:
        message: What is written to standard error then.
    """
    try:
        shell = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SCRIPT, "sh", f"{seconds:g}", message],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            process_group=0,  # Ctrl-C is for this process to hear
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            if shell.stdin is not None:
                shell.stdin.close()
        shell.wait()
