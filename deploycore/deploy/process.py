"""Run a program in its own session, and end everything that it started.

If the program fails or is ended, this includes processes that left the session; see
``containment``. If it succeeds, processes in sessions of their own continue to run: they are
services.

A process that has ended keeps its number, which is also the number of its group and session, until
it is waited for. So the program is waited for last: until then, a signal cannot reach an unrelated
process.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deploycore.deploy.containment import LOOKS, Containment

__all__ = ["GRACE_SECONDS", "Process", "members", "started_at"]

GRACE_SECONDS = 5.0
"""Seconds from SIGTERM to SIGKILL."""
_KILLED_WITHIN = 2.0
_LOOK_EVERY = 0.01
_PIPE_BYTES = 1024 * 1024
_PROC = Path("/proc")
_STAT_MOST = 4096
"""No less than the bytes that proc_pid_stat(5) has: some fifty numbers and a short name."""


class Process:
    """A running program, with one pipe for everything that it prints. Call ``end`` to end it.

    Attributes:
        contained: Everything that it started, in any session.
        left: The number of processes that continued to run after ``end``: those of other users, or
            those that wait for a disk that does not respond.

    Args:
        arguments: The program and its arguments. Without a slash, the program is searched in the
            PATH of ``environment``.
        directory: The working directory.
        environment: All of its variables.

    Raises:
        OSError: It cannot be started.
        ValueError: An argument or a variable has a character that is not allowed.
    """

    def __init__(
        self, arguments: Sequence[str], *, directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.contained = Containment()
        try:
            with self.contained.entry() as enter:
                self._process = subprocess.Popen(  # noqa: S603 - what the user configured
                    arguments,
                    cwd=directory,
                    env={**environment, **self.contained.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    start_new_session=True,
                    preexec_fn=enter,  # the function takes no lock
                )
        except BaseException:
            # A signal handler may raise after the program was started and before it is known here.
            self.contained.kill()
            self.contained.close()
            raise
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._output = self._process.stdout
        self._kill_at: float | None = None
        self._has_failed = False
        self.left = 0
        os.set_blocking(self.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # for fewer, larger reads
            with suppress(OSError):
                fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def session(self) -> int:
        """The number of its session, which is also the number of the program's process."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor to read from."""
        return self._output.fileno()

    def read(self, most: int) -> bytes | None:
        """Return output that was not read yet: nothing at the end, ``None`` if there is none
        now."""
        try:
            return os.read(self.fileno(), most)
        except BlockingIOError:
            return None

    @property
    def ended(self) -> bool:
        """Whether the program itself has ended; processes that it started may continue to run."""
        if self._process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            how = os.WEXITED | os.WNOWAIT | os.WNOHANG
            return os.waitid(os.P_PID, self._process.pid, how) is not None
        except ChildProcessError:
            return True

    def terminate(self) -> float:
        """Ask everything that the program started to end, once. The program then counts as failed.

        Returns:
            When to kill what is left, by ``time.monotonic``.
        """
        self._has_failed = True
        return self._ask_to_end()

    def kill(self) -> None:
        """Kill everything that is left."""
        if self._has_failed:
            self.contained.kill()
        self._signal(signal.SIGKILL)

    def end(self) -> int | None:
        """End everything that is left, and release all resources.

        If the program succeeded, this ends its session. Otherwise, it ends everything that the
        program started.

        Returns:
            The status with which the program ended, or the negative number of the signal. ``None``
                if it is unknown, because the program cannot be killed or other code in this process
                has waited for it.
        """
        self._output.close()
        try:
            self._has_failed = self._has_failed or not self._has_succeeded()
            if self._is_alive():
                self._wait_until(self._ask_to_end())
        finally:
            self.kill()
            # Kill repeatedly: processes that are forked meanwhile were not found before.
            self._wait_until(time.monotonic() + _KILLED_WITHIN, meanwhile=self.kill)
            self.left = max(len(self._left()) for _ in range(self._looks))
            self.contained.close()
        return self._reaped()

    def _ask_to_end(self) -> float:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            self._signal(signal.SIGTERM)
        return self._kill_at

    def _has_succeeded(self) -> bool:
        """Return whether the program has ended with success. This does not wait for it, so its
        number stays reserved."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll() == 0
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return False
        return ended is not None and (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)

    def _reaped(self) -> int | None:
        if self._process.returncode is None:
            try:
                ended, status = os.waitpid(self._process.pid, os.WNOHANG)
            except ChildProcessError:
                self._process.poll()  # so that the Popen object knows that the program has ended
                return None
            if not ended:
                return None
            self._process.returncode = os.waitstatus_to_exitcode(status)
        # If this process is the first one of a container, it becomes the parent of orphans.
        with suppress(ChildProcessError):
            while os.waitpid(-self._process.pid, os.WNOHANG)[0]:
                pass
        return self._process.returncode

    def _wait_until(self, moment: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        pause = 0.001
        while self._is_alive() and time.monotonic() < moment:
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY)
            meanwhile()

    def _is_alive(self) -> bool:
        if not self.ended:
            return True
        if _PROC.joinpath("self", "stat").exists():
            return any(self._left() for _ in range(self._looks))
        return self._process.poll() is None or self._group_is_there()

    @property
    def _looks(self) -> int:
        return LOOKS if self._has_failed else 1

    def _left(self) -> dict[int, int]:
        """Return the processes to end, each with its group, or with 0 if the group does not
        matter."""
        found = dict(members(self._process.pid))
        if self._has_failed:
            strays = self.contained.members() - {self._process.pid}
            found |= {each: 0 for each in strays if each not in found}
        return found

    def _group_is_there(self) -> bool:
        try:
            os.killpg(self._process.pid, 0)
        except OSError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None or self._group_is_there():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
        for member, group in self._left().items():
            if group != self._process.pid:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(member, number)


def members(session: int) -> Iterator[tuple[int, int]]:
    """Return the processes of a session that have not ended, each with its group; see
    proc_pid_stat(5).

    ``timeout`` and shells with job control create further groups within a session.
    """
    if not _PROC.is_dir():
        return
    for name in os.listdir(_PROC):
        if not name.isdigit() or not _may_be_in(session, int(name)):
            continue
        state, _, group, its_session = (_stat(int(name)) or [b"X", b"0", b"0", b"0"])[:4]
        if int(its_session) == session and state not in (b"Z", b"X"):
            yield int(name), int(group)


def _may_be_in(session: int, process: int) -> bool:
    """Whether the file of a process must be read to know whether it is in a session.

    One system call says that it is not, and reading the file takes several, for every process of
    the machine.
    """
    try:
        return os.getsid(process) == session
    except ProcessLookupError:
        return False
    except OSError:  # a security module may refuse it
        return True


def started_at(process: int) -> str | None:
    """Return the start of a process, in ticks since the boot; ``None`` if it does not exist."""
    fields = _stat(process)
    return fields[19].decode() if fields else None


def _stat(process: int) -> list[bytes] | None:
    """Return the fields of proc_pid_stat(5), from the state on."""
    # Not with Path, which takes twice as long: it may be read for every process of the machine.
    try:
        descriptor = os.open(f"{_PROC}/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _STAT_MOST).rpartition(b") ")[2].split()
        finally:
            os.close(descriptor)
    except OSError:
        return None
