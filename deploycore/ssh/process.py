"""A second process that holds the SSH connection of a command that has just started.

Importing AsyncSSH takes a tenth of the time of a clone, and signing in takes half as long again.
Decrypting and unpacking take turns in one interpreter. So a command that will use SSH forks a
process at its start, and continues with its own imports. When it knows the repository, it connects,
and passes the socket and the job to the process.

The process is forked before secrets are read. Both processes have a piece of memory in common, so
the private key never passes through a system call. The process ends when its parent ends or no
longer needs it. If it cannot be started, or has ended, AsyncSSH runs in the parent, as in a worker.

It is started on Linux only: on macOS, system libraries may not be used after a fork.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from deploycore import errors
from deploycore.http.wire import Wire
from deploycore.ssh.reaching import reach
from deploycore.ssh.server import SshServer

if TYPE_CHECKING:
    from deploycore.models import SshCredential

__all__ = [
    "FAILED",
    "FINISHED",
    "HEADER",
    "LENGTH",
    "OUTPUT",
    "STARTED",
    "Job",
    "ProcessCommand",
    "SshProcess",
    "find_prepared",
    "prepared",
    "take_prepared",
]

#: The kind and the length of each frame from the process.
HEADER = struct.Struct("=cI")
#: The length of the job, which accompanies the connected socket.
LENGTH = struct.Struct("=I")
STARTED, OUTPUT, FINISHED, FAILED = b"S", b"O", b"F", b"E"

_JOB_BYTES = 256 * 1024
_AT_ONCE = 256 * 1024
# Besides the time limits for signing in and for starting the command, which the process observes.
_GRACE_SECONDS = 10.0

_prepared: list[SshProcess] = []


class Job(NamedTuple):
    """A command to run on a server; see ``session.running``."""

    server: SshServer
    credential: SshCredential
    command: str
    environment: Mapping[str, str]
    silence: float

    def packed(self) -> bytes:
        """Return the job as bytes, which contain the key."""
        sent = self.credential
        secrets = (sent.private_key, sent.passphrase)
        credential = (
            *(None if each is None else each.get_secret_value() for each in secrets),
            sent.agent,
            tuple(sent.host_keys),
        )
        server, environment = tuple(self.server), dict(self.environment)
        values: Any = (server, credential, self.command, environment, self.silence)
        return marshal.dumps(values)


@contextmanager
def prepared() -> Iterator[None]:
    """Start the process if possible. It waits for a job until the end of the block."""
    process = SshProcess.start()
    if process is not None:
        _prepared.append(process)
    try:
        yield
    finally:
        if process is not None:
            with suppress(ValueError):
                _prepared.remove(process)
            process.end()


def find_prepared() -> SshProcess | None:
    """Return the process that waits for a job, and leave it there."""
    process = _prepared[-1] if _prepared else None
    return process if process is not None and process.is_idle else None


def take_prepared(job: Job) -> SshProcess | None:
    """Return the process if it waits for a job, or has this one. The caller ends it."""
    try:
        process = _prepared.pop()
    except IndexError:
        return None
    if process.is_idle or process.job == job:
        return process
    process.end()
    return None


class SshProcess:
    """A process that can run one command; end it by leaving its context.

    Attributes:
        job: The job that it has; ``None`` if it has none yet.
    """

    def __init__(self, pid: int, control: socket.socket, shared: mmap.mmap) -> None:
        self.job: Job | None = None
        self._connected: socket.socket | None = None
        self._failure: Exception | None = None
        self._pid = pid
        self._control = control
        self._shared = shared
        self._lock = threading.Lock()
        self._is_ended = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a job."""
        return self.job is None

    @classmethod
    def start(cls) -> Self | None:
        """Fork a process, and return at once; ``None`` if that is not possible here."""
        if not _can_fork() or find_spec("asyncssh") is None:
            return None
        with ExitStack() as open_unless_forked:
            try:
                shared = open_unless_forked.enter_context(mmap.mmap(-1, _JOB_BYTES))
                ours, theirs = map(open_unless_forked.enter_context, socket.socketpair())
                pid = os.fork()
            except OSError:
                return None  # the number of processes or descriptors is limited
            if pid == 0:
                _run_child(theirs, shared)
            open_unless_forked.pop_all()
        theirs.close()
        return cls(pid, ours, shared)

    def begin(self, job: Job, wire: Wire) -> None:
        """Connect to the server, and pass the connection and the job to the process.

        If the server cannot be reached, ``run`` raises the error.
        """
        try:
            connected = reach(job.server, wire)
        except Exception as error:
            self.job, self._failure = job, error.with_traceback(None)
        else:
            self._hand_over(job, connected)

    def run(self, job: Job, wire: Wire) -> ProcessCommand | None:
        """Wait until the command runs on the server.

        Args:
            job: The job that it has, if it has one.
            wire: Watches the connection; and the process, so that a wait for it can be ended.

        Returns:
            The command; ``None`` if the process cannot take the job.

        Raises:
            Exception: As for ``reach`` and ``session.running``.
        """
        if self.is_idle:
            self.begin(job, wire)
        if self._failure is not None:
            raise self._failure
        if self._connected is None:
            return None
        wire.watch(self._connected)
        wire.watch(self._control)
        command = ProcessCommand(self._control)
        command.wait_until_started(2 * job.silence + _GRACE_SECONDS)
        self._control.settimeout(job.silence)
        return command

    def _hand_over(self, job: Job, connected: socket.socket) -> None:
        packed = job.packed()
        if len(packed) > _JOB_BYTES:
            connected.close()
            return
        self._shared[: len(packed)] = packed
        try:
            socket.send_fds(self._control, [LENGTH.pack(len(packed))], [connected.fileno()])
        except OSError:  # the process has died
            connected.close()
        else:
            self.job, self._connected = job, connected

    def end(self) -> None:
        """End the process, and close the connection."""
        with self._lock:
            if self._is_ended:
                return
            self._is_ended = True
        self._control.close()
        self._shared.close()
        if self._connected is not None:
            self._connected.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()


class ProcessCommand:
    """A command that the process runs on a server; the same as ``session.Command``.

    Attributes:
        stderr: The beginning of the command's standard error, once it has ended.
        exit_status: The exit status, once the command has ended; ``None`` if there is none.
    """

    def __init__(self, control: socket.socket) -> None:
        self.stderr = b""
        self.exit_status: int | None = None
        self._control = control
        self._unsent = b""
        self._left = 0
        self._is_over = False

    def write(self, data: bytes) -> None:
        """Queue input; what cannot be sent at once is sent while the caller waits for output."""
        if not self._is_over:
            self._unsent += data
            self._send()

    def read(self) -> bytes:
        """Wait for output, and return at least one byte; empty at the end of the output.

        Raises:
            Exception: As for ``session.Command.read``.
        """
        while not self._left and not self._is_over:
            kind, length = self._next_frame()
            if kind == OUTPUT:
                self._left = length
            else:
                self._finish(length)
        if self._is_over:
            return b""
        data = self._receive(min(self._left, _AT_ONCE))
        self._left -= len(data)
        return data

    def wait_until_started(self, seconds: float) -> None:
        """Wait until the server has started the command.

        Raises:
            Exception: As for ``session.running``.
        """
        self._control.settimeout(seconds)
        self._next_frame()

    def _next_frame(self) -> tuple[bytes, int]:
        kind, length = HEADER.unpack(self._exactly(HEADER.size))
        if kind == FAILED:
            self._is_over = True
            raise _error_of(self._value(length))
        return kind, length

    def _finish(self, length: int) -> None:
        self.stderr, self.exit_status = self._value(length)
        self._is_over = True

    def _value(self, length: int) -> Any:
        # The data always comes from the process that this one has forked.
        return marshal.loads(self._exactly(length))  # noqa: S302

    def _exactly(self, size: int) -> bytes:
        data = self._receive(size)
        while len(data) < size:
            data += self._receive(size - len(data))
        return data

    def _receive(self, most: int) -> bytes:
        while self._unsent:
            # The process reads no input while it waits for its output to be read.
            ready = self._poll(select.POLLIN | select.POLLOUT, self._control.gettimeout())
            if not ready:
                raise TimeoutError
            self._send()
            if ready & ~select.POLLOUT:
                break
        data = self._control.recv(most)
        if not data:
            raise ConnectionResetError("the SSH connection was closed")
        return data

    def _poll(self, events: int, seconds: float | None) -> int:
        poll = select.poll()
        poll.register(self._control, events)
        found = poll.poll(None if seconds is None else seconds * 1000)
        return found[0][1] if found else 0

    def _send(self) -> None:
        if not self._poll(select.POLLOUT, 0):
            return
        try:
            sent = self._control.send(self._unsent)
        except OSError:
            sent = len(self._unsent)  # reading tells why the process has ended
        self._unsent = self._unsent[sent:]


def _error_of(described: tuple[str, str, str, dict[str, Any]]) -> Exception:
    """Return an error that ``process_main.described`` describes."""
    name, message, hint, details = described
    if name == "TimeoutError":
        return TimeoutError(message) if message else TimeoutError()
    kind = getattr(errors, name, None)
    if kind is None:
        return ConnectionResetError(message)
    error: Exception = kind(message, hint=hint, **details)
    return error


def _can_fork() -> bool:
    """Whether a forked process can work here, and can be waited for.

    The threads that keep the deadlines of requests are not counted (``http.wire``), so do not ask
    during a request.
    """
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    )


def _run_child(control: socket.socket, shared: mmap.mmap) -> NoReturn:
    """Run the process, and end it without anything that its parent has planned for its own end."""
    try:
        from deploycore.ssh.process_main import detach, serve

        detach(control)
        serve(control, shared)
    finally:
        os._exit(1)
