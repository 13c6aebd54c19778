"""Commands that import all plugins in a process of their own do so in a fork.

That process imports deploycore and what it uses, which takes half a second. A command that was
forked itself has all of it. This is about ``deploycore.provider.probing`` only; the process has
everything else that it has otherwise: its own group, streams, crash report and heartbeat.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from deploycore.provider import background, isolation

__all__ = ["probe_in_forks"]

_DESCRIPTORS = 1 << 16
_PROBE = "deploycore.provider.probing:import_all"

Run = Callable[[list[str]], int]


def probe_in_forks(run: Run, open_streams: Callable[[], None]) -> None:
    """Let the children of this process fork where they would start Python to import plugins.

    Args:
        run: Runs a Python command line, without the program's name, and returns the exit code.
        open_streams: Opens the standard streams anew.
    """

    class Fork(subprocess.Popen[bytes]):
        def _execute_child(self, args: Sequence[str], *given: Any) -> None:  # type: ignore[override]
            # As in tests.forked.
            if _PROBE not in args or not _can_fork():
                super()._execute_child(args, *given)  # type: ignore[misc]
                return
            with background._left_lock:
                self.pid = os.fork()
            if self.pid == 0:
                _become(run, open_streams, args, kept=given[3], streams=_theirs(given[9:15]))
            self._child_created = True
            self._close_pipe_fds(*given[9:15])

    replaced = SimpleNamespace(**vars(subprocess) | {"Popen": Fork})
    isolation.subprocess = replaced  # type: ignore[assignment]


def _can_fork() -> bool:
    """Whether no thread can hold a lock that the fork needs.

    The thread that tells of waits for plugins uses a single one, which is held during the fork.
    """
    return {each.name for each in threading.enumerate()} <= {"MainThread", "deploycore-waiting"}


def _theirs(streams: Sequence[int]) -> tuple[int, int, int]:
    return streams[0], streams[3], streams[5]


def _become(
    run: Run,
    open_streams: Callable[[], None],
    args: Sequence[str],
    *,
    kept: Collection[int],
    streams: Sequence[int],
) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit._clear()
        for number, descriptor in enumerate(streams):
            if descriptor != -1:
                os.dup2(descriptor, number)
        beginning = 3
        for descriptor in sorted(kept):
            os.set_inheritable(descriptor, True)
            os.closerange(beginning, descriptor)
            beginning = descriptor + 1
        os.closerange(beginning, _DESCRIPTORS)
        open_streams()
        code = run(list(args[1:]))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
