"""``python -m tests.testing.forked_checks plugin check …``: deploycore whose children are forks.

``plugin check`` runs the kit in a new Python process, which imports pytest, deploycore and what
they use. Here that process is a fork of the command's own, which has imported them: it runs the
same code with the same arguments and descriptors.

The environment variable ``TEST_SILENT_SECONDS`` replaces ``isolation.SILENT_SECONDS``.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Collection, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from deploycore.provider import isolation
from tests import fork_server

__all__ = ["Fork"]


class Fork(subprocess.Popen[bytes]):
    """A child process that is forked from this one: ``[sys.executable, "-c", PROGRAM, …]``."""

    def _execute_child(self, args: Sequence[Any], *given: Any) -> None:  # type: ignore[override]
        # Popen's own, which is not typed; Python 3.11 to 3.14 give it the same.
        assert args[:2] == [sys.executable, "-c"]
        kept, streams, group = given[3], given[9:15], given[-1]
        theirs = [streams[0], streams[3], streams[5]]
        self.pid = os.fork()
        if self.pid == 0:
            _run(args[1:], theirs, kept, group)
        self._child_created = True
        self._close_pipe_fds(*streams)


def _run(arguments: Sequence[str], streams: list[int], kept: Collection[int], group: int) -> None:
    leave, code = os._exit, 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, group)
        for number, descriptor in enumerate(streams):
            if descriptor != -1:
                os.dup2(descriptor, number)
        for descriptor in sorted({int(name) for name in os.listdir("/dev/fd")}):
            if descriptor > 2 and descriptor not in kept:
                with suppress(OSError):  # the one that listed them is closed already
                    os.close(descriptor)
        fork_server.open_streams(dict(os.environ))
        code = fork_server.run(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        leave(code)


def main() -> None:
    """Run the command."""
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE")}
    isolation.subprocess = SimpleNamespace(Popen=Fork, **names)  # type: ignore[assignment]
    if seconds := os.environ.get("TEST_SILENT_SECONDS"):
        isolation.SILENT_SECONDS = float(seconds)
    runpy.run_module("deploycore", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
