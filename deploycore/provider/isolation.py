"""Run code in a child process, because it may block the interpreter or end the process.

Python cannot end a thread, and a thread that holds the interpreter's lock (a catastrophic regular
expression, an endless loop in C) stops every other thread. So such code runs in a new child
process, which reports its progress as lines of JSON. A thread in the child sends a heartbeat. If
the heartbeat stops, the interpreter is blocked, and the child is killed.

``faulthandler``, which needs no lock, reports where the child was when it was killed or crashed. If
the parent is killed, the child ends too.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal

__all__ = ["Ending", "Frame", "IsolatedProcess", "Reporter", "serve"]

SILENT_SECONDS = 30.0
"""Seconds without a heartbeat after which the interpreter is considered blocked, also on a slow
machine."""
_HEARTBEAT_SECONDS = 1.0
_POLL_SECONDS = 0.5
_DUMP_SECONDS = 10.0
_ORPHAN_SECONDS = 60.0

# The parent's search path comes first, because a plugin may be found only there.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from deploycore.provider.isolation import serve; serve(*sys.argv[2:])"
)
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<function>.*)$')
_OWN = Path(__file__).parents[1]

Cause = Literal["ended", "held", "idle", "late"]


@dataclass(frozen=True)
class Frame:
    """A place in the code of a thread.

    Attributes:
        file: The file.
        line: The line number as ``faulthandler`` prints it, or ``???``.
        function: The function.
    """

    file: str
    line: str
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({self.file}, line {self.line})"


@dataclass(frozen=True)
class Ending:
    """How a child process ended.

    Attributes:
        cause: ``ended`` by itself, or killed: ``held`` if the interpreter was blocked, ``idle`` if
            it reported nothing new, ``late`` if its total time was over.
        status: The exit code; the negative number of a signal.
        threads: The frames of each thread, innermost first; empty if they are unknown.
    """

    cause: Cause
    status: int
    threads: tuple[tuple[Frame, ...], ...] = ()

    def __str__(self) -> str:
        if self.cause != "ended":
            return "it was killed"
        if self.status >= 0:
            return f"the process ended with exit code {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        return f"the process was ended by {name}"

    def frame(self, functions: Collection[str], *, within: Path | None = None) -> Frame | None:
        """Return the innermost frame in one of these functions, without those of deploycore.

        Args:
            within: A directory. If no thread is in such a function, the innermost frame in this
                directory is returned.
        """
        frames = [frame for thread in self.threads for frame in thread]
        foreign = [frame for frame in frames if not Path(frame.file).is_relative_to(_OWN)]
        for frame in foreign:
            if frame.function in functions:
                return frame
        inside = (each for each in foreign if within and Path(each.file).is_relative_to(within))
        return next(inside, None)


class IsolatedProcess:
    """A child process that runs one function. It is ended with all its children when the block
    ends.

    Args:
        target: The function as ``module:function``. It is called with ``order`` and a
            :class:`Reporter`.
        order: The argument for the function; JSON.
        seconds: The maximum time of the child.
        idle_seconds: The maximum time without a report.
        is_silent: Whether to discard what it prints to standard error.

    Attributes:
        ending: How it ended. It is known after ``events`` has been read.
    """

    def __init__(
        self,
        target: str,
        order: Mapping[str, Any],
        *,
        seconds: float,
        idle_seconds: float,
        is_silent: bool = False,
    ) -> None:
        self.ending: Ending | None = None
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._dump: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._events, theirs = os.pipe()
        limits = {**order, "seconds": seconds + _ORPHAN_SECONDS}
        command = [sys.executable, "-c", _START, json.dumps(sys.path), target]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [*command, str(theirs), str(self._dump.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if is_silent else None,
                pass_fds=(theirs, self._dump.fileno()),
                process_group=0,  # so that only the parent gets Ctrl-C
            )
        except BaseException:
            os.close(self._events)
            self._dump.close()
            raise
        finally:
            os.close(theirs)
        self._send(json.dumps(limits).encode())

    def __enter__(self) -> IsolatedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        os.close(self._events)
        self._dump.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the child, until it ends or is killed."""
        pending = b""
        silent = idle = spent = 0.0
        while not (cause := self._overdue(silent, idle, spent)):
            began = time.monotonic()
            chunk = self._read()
            # The time is capped: if the machine or the job is suspended, the child stands still
            # too.
            passed = min(time.monotonic() - began, 2 * _POLL_SECONDS)
            silent, idle, spent = silent + passed, idle + passed, spent + passed
            if chunk == b"" or (chunk is None and self._has_ended()):
                cause = "ended"
                break
            if chunk:
                silent = 0.0
                *lines, pending = (pending + chunk).split(b"\n")
                for line in filter(None, lines):
                    idle = 0.0
                    yield json.loads(line)
        self._end(cause)

    def _send(self, order: bytes) -> None:
        try:
            if self._process.stdin is not None:
                with self._process.stdin as stream:
                    stream.write(order)
        except BrokenPipeError:
            pass  # it has already ended; events() reports that

    def _overdue(self, silent: float, idle: float, spent: float) -> Cause | None:
        if silent >= SILENT_SECONDS:
            return "held"
        if spent >= self._seconds:
            return "late"
        return "idle" if idle >= self._idle_seconds else None

    def _read(self) -> bytes | None:
        """Return the data that can be read; ``None`` if there is none yet, nothing at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            return os.read(self._events, 65536) if selector.select(_POLL_SECONDS) else None

    def _has_ended(self) -> bool:
        """Whether the child has ended. It is not reaped, so that its number is not used again."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _end(self, cause: Cause) -> None:
        if cause == "ended":
            self._wait(_DUMP_SECONDS)  # its end of the pipe may be closed a moment earlier
        else:
            self._signal(signal.SIGABRT)  # the signal that makes faulthandler print
            self._wait(_DUMP_SECONDS)
        self._kill()
        self.ending = Ending(cause, self._process.returncode, self._threads())

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < until:
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        if not self._has_ended():
            os.kill(self._process.pid, number)

    def _kill(self) -> None:
        """Kill the child, and everything that it has started and that is still in its process
        group."""
        if self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()
            self._process.wait()

    def _threads(self) -> tuple[tuple[Frame, ...], ...]:
        self._dump.seek(0)
        threads: list[list[Frame]] = [[]]
        for line in self._dump.read().decode(errors="replace").splitlines():
            if found := _FRAME.match(line):
                threads[-1].append(Frame(**found.groupdict()))
            else:
                threads.append([])
        return tuple(tuple(thread) for thread in threads if thread)


class Reporter:
    """Sends events and a heartbeat from the child to the parent."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._lock = threading.Lock()
        threading.Thread(target=self._beat, name="deploycore-heartbeat", daemon=True).start()

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event.

        Args:
            event: The name of the event.
            fields: Its other fields; JSON.
        """
        self._send(json.dumps({"event": event, **fields}).encode() + b"\n")

    def _beat(self) -> None:
        while True:
            self._send(b"\n")
            time.sleep(_HEARTBEAT_SECONDS)

    def _send(self, line: bytes) -> None:
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._events, line) :]
            except BrokenPipeError:
                os.kill(os.getpid(), signal.SIGKILL)  # the parent no longer reads


def serve(target: str, events: str, dump: str) -> None:
    """Run in the child; see :class:`IsolatedProcess`.

    Args:
        target: ``module:function``.
        events: The descriptor that events are written to.
        dump: The descriptor that tracebacks of a crash are written to.
    """
    for descriptor in (int(events), int(dump)):
        os.set_inheritable(descriptor, False)
    order = json.loads(sys.stdin.buffer.read())
    _dump_crashes(int(dump), order["seconds"])
    module, _, function = target.partition(":")
    reporter = Reporter(int(events))
    getattr(import_module(module), function)(order, reporter)


def _dump_crashes(dump: int, seconds: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    faulthandler.enable(file=dump)
    # The last resort, if the parent was killed while the interpreter was blocked.
    faulthandler.dump_traceback_later(seconds, file=dump, exit=True)
    leave, me = os._exit, os.getpid()

    def leave_a_trace(status: int) -> Any:
        if os.getpid() == me:  # not in a process that multiprocessing has forked
            faulthandler.dump_traceback(file=dump)
        leave(status)

    os._exit = leave_a_trace
