"""Processes that a command forks at its start, to do a part of its work at the same time.

Most of the time of a short command goes into imports, which two processes can share. A process is
forked before secrets are read, and while there is one thread. Both have a piece of memory in
common, so a secret never passes through a system call. The process ends when its parent ends.

Processes are forked on Linux only: on macOS, system libraries may not be used after a fork.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from typing import NoReturn, Self

__all__ = ["Forked", "can_fork", "detach"]


class Forked:
    """A process, as its parent sees it.

    Attributes:
        pid: The number of the process.
        is_ended: Whether it was ended, or waited for.
        control: A connection to the process. It ends when the process ends.
        shared: The memory that both have.
    """

    def __init__(self, pid: int, control: socket.socket, shared: mmap.mmap) -> None:
        self.pid = pid
        self.control = control
        self.shared = shared
        self.is_ended = False
        self._lock = threading.Lock()

    @classmethod
    def start(cls, serve: Callable[[socket.socket, mmap.mmap], None], size: int) -> Self | None:
        """Fork a process, and return at once; ``None`` if that is not possible here.

        Args:
            serve: What the process does, with its end of the connection and the shared memory. It
                calls ``detach`` first. Its errors end the process.
            size: The size of the shared memory, in bytes.
        """
        import mmap

        if not can_fork():
            return None
        _flush()  # else both processes would write what is in the buffers
        with ExitStack() as open_unless_forked:
            try:
                shared = open_unless_forked.enter_context(mmap.mmap(-1, size))
                ours, theirs = map(open_unless_forked.enter_context, socket.socketpair())
                pid = os.fork()
            except OSError:
                return None  # the number of processes or descriptors is limited
            if pid == 0:
                _run(serve, theirs, shared)
            open_unless_forked.pop_all()
        theirs.close()
        return cls(pid, ours, shared)

    def end(self) -> None:
        """End the process."""
        self._release(must_end=True)

    def join(self) -> None:
        """Wait until the process ends."""
        self._release(must_end=False)

    def _release(self, *, must_end: bool) -> None:
        with self._lock:
            if self.is_ended:
                return
            self.is_ended = True
        if must_end:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        try:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        finally:
            self.control.close()
            self.shared.close()


def can_fork() -> bool:
    """Whether a forked process can work here, and can be waited for."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    )


def detach(control: socket.socket, *, output: int | None = None) -> None:
    """Give up everything of the parent but one socket, and end when the parent ends.

    Args:
        output: A descriptor that becomes standard output and standard error (default: the null
            device).
    """
    import gc

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The parent decides, and then ends this process. Programs that this one starts would
        # inherit SIG_IGN.
        signal.signal(number, lambda number, frame: None)
    gc.freeze()  # a finalizer of the parent's objects could close a descriptor of this process
    if control.fileno() <= 2:  # the parent was started without a standard stream
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    for standard in (1, 2):
        os.dup2(nothing if output is None else output, standard)
    kept = {0, 1, 2, control.fileno()}
    # Otherwise locks and pipes would stay open until this process ends.
    for each in {int(name) for name in os.listdir("/proc/self/fd")} - kept:
        with suppress(OSError):  # one was that of the list itself
            os.close(each)
    threading.Thread(target=_end_with_parent, args=(control,), daemon=True).start()


def _end_with_parent(control: socket.socket) -> None:
    """Wait until the parent closes its end, which the system does when the parent is killed."""
    import select

    poll = select.poll()
    poll.register(control, 0)  # no data, only the end
    poll.poll()
    os._exit(0)


def _run(
    serve: Callable[[socket.socket, mmap.mmap], None], control: socket.socket, shared: mmap.mmap
) -> NoReturn:
    """Run the process, and end it without anything that its parent has planned for its own end."""
    try:
        serve(control, shared)
        _flush()
        os._exit(0)
    finally:
        os._exit(1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
