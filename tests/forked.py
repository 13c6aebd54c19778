"""Python programs in separate processes, in which deploycore is already imported.

They are forked from a process that has all of deploycore loaded; see ``tests.fork_server``. Tests
of the start or end of a process, of imports, and of Python's own variables use a real process:
``tests.processes``.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.fork_server import NUMBER
from tests.processes import Process

__all__ = ["ForkedProcess", "run"]

_ROOT = Path(__file__).parents[1]


class ForkedProcess(Process):
    """Like ``Process([sys.executable, "-m", …])``, but all modules are loaded when it starts.

    It is forked from another process, so ``os.waitpid`` cannot wait for it, but its methods can. It
    accepts the options of ``Popen`` except those that change a child before it starts.

    Args:
        args: ``[sys.executable, "-m", MODULE, …]`` or ``[sys.executable, "-c", PROGRAM, …]``.
    """

    def __init__(self, args: Sequence[str | os.PathLike[str]], **options: Any) -> None:
        unknown = options.keys() & {
            *("executable", "extra_groups", "group", "pass_fds", "preexec_fn", "shell"),
            *("umask", "user"),
        }
        if unknown or args[0] != sys.executable or args[1] not in ("-c", "-m"):
            raise TypeError(f"no forked process can be {args[:2]} with {sorted(unknown)}")
        self._status = -1
        super().__init__(args, **options)

    def _execute_child(self, args: Sequence[Any], *given: Any) -> None:  # type: ignore[override]
        # Popen's own, which is not typed; Python 3.11 to 3.14 give it the same.
        directory, environment = given[4:6]
        streams = given[9:15]
        request = {
            "arguments": [os.fspath(each) for each in args[1:]],
            "directory": os.path.abspath(directory or "."),
            "environment": dict(os.environ if environment is None else environment),
            "start_new_session": given[-2],
            "process_group": given[-1],
        }
        theirs = [
            number if own == -1 else own
            for number, own in enumerate((streams[0], streams[3], streams[5]))
        ]
        self._status, status = os.pipe()
        try:
            socket.send_fds(self._server(), [json.dumps(request).encode()], [status, *theirs])
        finally:
            os.close(status)
            self._close_pipe_fds(*streams)
        self.pid = self._told()
        self._child_created = True

    def _server(self) -> socket.socket:
        """Return the socket of the process that forks this one."""
        return _server()

    def _internal_poll(self, _deadstate: object = None, **_: object) -> int | None:
        if self.returncode is None and self._has_ended(0):
            self._end()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        while self.returncode is None:
            if not self._has_ended(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._status, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else max(0, timeout) * 1000))

    def _end(self) -> None:
        with self._waitpid_lock:
            if self.returncode is None:
                self.returncode = self._told()
                os.close(self._status)

    def _told(self) -> int:
        told = os.read(self._status, NUMBER.size)
        assert told, "the server of forks has ended"
        number: int = NUMBER.unpack(told)[0]
        return number


def run(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    given: str = "",
    timeout: float = 500,
    kind: type[ForkedProcess] = ForkedProcess,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGUMENTS``; return its output and exit code.

    Args:
        environment: All of its variables.
        given: Its standard input.
        timeout: Seconds.
        kind: The class of the process.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    # Files, since what it leaves behind may keep a pipe open.
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        streams[0].write(given)
        streams[0].seek(0)
        process = kind(
            [sys.executable, "-m", module, *arguments],
            **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True)),
            env=environment,
            cwd=directory,
        )
        with process:
            code = process.wait(timeout)
        for each in streams[1:]:
            each.seek(0)
        printed, told = (each.read() for each in streams[1:])
    return subprocess.CompletedProcess([module, *arguments], code, printed, told)


_starting = threading.Lock()


def _server() -> socket.socket:
    """Return the socket of the server, which is started if necessary and ends with this process."""
    with _starting:
        return _started_server()


@functools.cache
def _started_server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
            cwd=_ROOT,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(_stop, ours, server)
    return ours


def _stop(requests: socket.socket, server: subprocess.Popen[bytes]) -> None:
    requests.close()  # by which it ends, and its children
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:  # a fork of this process may have the socket, too
        server.kill()
        server.wait()
