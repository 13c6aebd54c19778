"""End this process with a plain error if the import of a plugin blocks the interpreter.

A thread cannot do this. Code in C that holds the interpreter's lock, such as a catastrophic regular
expression, stops every thread, and also Python's signal handlers. So a shell beside this process
waits for the end of the import. It costs a millisecond. The shell ends when the import or this
process ends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["ending_process"]

# Standard input ends when the import or the parent ends; then the sleep is ended. The shell's
# messages about killed jobs are discarded.
_SCRIPT = """
exec 3<&0 4>&2 2>/dev/null
sleep "$1" & asleep=$!
(read -r line <&3; kill "$asleep") &
wait "$asleep" && { printf '%s\\n' "$2" >&4; kill -9 "$PPID"; }
wait
"""


@contextmanager
def ending_process(seconds: float, message: str) -> Iterator[None]:
    """End this process if the block takes longer than a number of seconds. Without a shell, do
    nothing.

    Use it for a block with a time limit of its own, which works as long as the interpreter can run
    other threads.

    Args:
        seconds: The maximum time.
        message: The message to write to standard error then.
    """
    try:
        shell = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SCRIPT, "sh", f"{seconds:g}", message],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            process_group=0,  # so that only this process gets Ctrl-C
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
