"""A program in a session of its own, which is ended whole: nothing that it began is left.

Where the program fails, or is ended, that includes what left the session; see ``containment``.
Where it succeeds, what has made a session of its own runs on: such are services.

A process that has ended keeps its number, which is also that of its group and its session,
until it is waited for. So it is waited for last: until then no signal can reach a stranger.
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
"""From SIGTERM to SIGKILL."""
_KILLED_WITHIN = 2.0
_LOOK_EVERY = 0.01
_PIPE_BYTES = 1024 * 1024
_PROC = Path("/proc")
_STAT_MOST = 4096
"""No less than the bytes that proc_pid_stat(5) has: some fifty numbers and a short name."""


class Process:
    """A program that runs, with one pipe for all that it prints. To be ended by ``end``.

    Attributes:
        contained: All that it began, wherever that went.
        left: How many processes ran on after ``end``: those of other users, or that wait for a
            disk that does not answer.

    Args:
        arguments: The program and what it is given; without a slash it is looked for in the
            PATH of ``environment``.
        directory: Where it runs.
        environment: All of its variables.

    Raises:
        OSError: It can't be started.
        ValueError: An argument or a variable holds what none can hold.
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
                    preexec_fn=enter,  # which takes no lock
                )
        except BaseException:
            # A signal handler may raise when the program runs already, and nobody knows it yet.
            self.contained.kill()
            self.contained.close()
            raise
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._output = self._process.stdout
        self._kill_at: float | None = None
        self._has_failed = False
        self.left = 0
        os.set_blocking(self.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # fewer, larger reads
            with suppress(OSError):
                fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def session(self) -> int:
        """The number of its session, which is that of the program too."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor to read from."""
        return self._output.fileno()

    def read(self, most: int) -> bytes | None:
        """What was printed and not read yet: nothing at the end, ``None`` if there is none now."""
        try:
            return os.read(self.fileno(), most)
        except BlockingIOError:
            return None

    @property
    def ended(self) -> bool:
        """Whether the program itself has ended; what it started may run on."""
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
        """Ask all that the program began to end, once: it is not to succeed.

        Returns:
            When what is left is to be killed, in the time of ``time.monotonic``.
        """
        self._has_failed = True
        return self._ask_to_end()

    def kill(self) -> None:
        """End all that is left."""
        if self._has_failed:
            self.contained.kill()
        self._signal(signal.SIGKILL)

    def end(self) -> int | None:
        """End all that is left, and give everything back.

        Of a program that has succeeded that is the session, of another one all that it began.

        Returns:
            The status, or the negative number of the signal, with which the program ended.
            ``None`` where that can't be known: it can't be killed, or somebody else in this
            process has waited for it.
        """
        self._output.close()
        try:
            self._has_failed = self._has_failed or not self._has_succeeded()
            if self._is_alive():
                self._wait_until(self._ask_to_end())
        finally:
            self.kill()
            # Again and again: what forks meanwhile is not among those that were found.
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
        """Whether the program has ended well; it is not waited for, nor forgotten by the system."""
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
                self._process.poll()  # so that it is known to be gone
                return None
            if not ended:
                return None
            self._process.returncode = os.waitstatus_to_exitcode(status)
        # Orphans come to us if we are the first process of a container.
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
        """The processes that are to end, each with its group, or 0 where that does not matter."""
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
    """Processes of a session that have not ended, each with its group; see proc_pid_stat(5).

    ``timeout`` and shells with job control make groups of their own within a session.
    """
    if not _PROC.is_dir():
        return
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        state, _, group, its_session = (_stat(int(name)) or [b"X", b"0", b"0", b"0"])[:4]
        if int(its_session) == session and state not in (b"Z", b"X"):
            yield int(name), int(group)


def started_at(process: int) -> str | None:
    """When a process was started, in ticks since the boot; ``None`` where there is none."""
    fields = _stat(process)
    return fields[19].decode() if fields else None


def _stat(process: int) -> list[bytes] | None:
    """What proc_pid_stat(5) tells, from the state on."""
    # Not by Path, which takes twice as long: this is asked about each process that there is.
    try:
        descriptor = os.open(f"{_PROC}/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _STAT_MOST).rpartition(b") ")[2].split()
        finally:
            os.close(descriptor)
    except OSError:
        return None
