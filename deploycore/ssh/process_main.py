"""What the process of ``ssh.process`` does: it runs one command on a server for its parent."""

from __future__ import annotations

import gc
import logging
import marshal
import math
import mmap
import os
import select
import signal
import socket
import threading
from contextlib import suppress
from typing import Any, NamedTuple

from deploycore.errors import DeploycoreError
from deploycore.ssh.library import require_extra
from deploycore.ssh.process import FAILED, FINISHED, HEADER, LENGTH, OUTPUT, STARTED
from deploycore.ssh.server import SshServer

__all__ = ["detach", "serve"]

# Then the command is busy with something else, such as waiting for a lock.
_IDLE_SECONDS = 60.0


class _Secret:
    """A secret, like pydantic's ``SecretStr``, whose import would take as long as AsyncSSH's."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the secret."""
        return self._value


class _Credential(NamedTuple):
    private_key: _Secret | None
    passphrase: _Secret | None
    agent: bool
    host_keys: tuple[str, ...]


def detach(control: socket.socket) -> None:
    """Give up everything of the parent but one socket, and end when the parent ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the parent decides, and then ends this process
    gc.freeze()  # a finalizer of the parent's objects could close a descriptor of this process
    logging.disable()  # the files of the handlers are closed below
    kept = {0, 1, 2, control.fileno()}
    if len(kept) < 4:  # the parent was started without a standard stream
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # Otherwise locks and pipes would stay open until this process ends.
    for each in {int(name) for name in os.listdir("/proc/self/fd")} - kept:
        with suppress(OSError):  # one was that of the list itself
            os.close(each)
    threading.Thread(target=_end_with_parent, args=(control,), daemon=True).start()


def _end_with_parent(control: socket.socket) -> None:
    """Wait until the parent closes its end, which the system does when the parent is killed."""
    poll = select.poll()
    poll.register(control, 0)  # no data, only the end
    poll.poll()
    os._exit(0)


def serve(control: socket.socket, shared: mmap.mmap) -> None:
    """Import AsyncSSH, wait for a job, and do it."""
    require_extra()
    from deploycore.ssh.session import running

    control.settimeout(_IDLE_SECONDS)
    length, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, 1)
    control.settimeout(None)
    if not descriptors:
        return
    server, credential, command, environment, silence = _read_job(shared, LENGTH.unpack(length)[0])
    connected = socket.socket(fileno=descriptors[0])
    try:
        with running(
            server,
            credential,
            command,
            connected,
            environment=environment,
            silence=silence,
        ) as run:
            _send(control, STARTED)
            run.silence = math.inf  # the parent has the limit, and may ask later
            run.take_input(control)
            while data := run.read():
                _send(control, OUTPUT, data)
            _send(control, FINISHED, marshal.dumps((run.stderr, run.exit_status)))
            _wait_for_end()
    except (DeploycoreError, ConnectionError, TimeoutError) as error:
        _send(control, FAILED, marshal.dumps(described(error)))
        _wait_for_end()


def _wait_for_end() -> None:
    """Let the parent end this process, so that it never looks like a failure."""
    while True:
        signal.pause()


def _read_job(shared: mmap.mmap, length: int) -> tuple[SshServer, Any, str, dict[str, str], float]:
    # The parent has written it.
    server, credential, command, environment, silence = marshal.loads(shared[:length])  # noqa: S302
    shared[:length] = bytes(length)
    shared.close()
    key, passphrase, agent, host_keys = credential
    given = _Credential(
        None if key is None else _Secret(key),
        None if passphrase is None else _Secret(passphrase),
        agent,
        host_keys,
    )
    return SshServer(*server), given, command, environment, silence


def _send(control: socket.socket, kind: bytes, data: bytes = b"") -> None:
    control.sendall(HEADER.pack(kind, len(data)) + data)


def described(error: Exception) -> tuple[str, str, str, dict[str, Any]]:
    """Return an error's class, message, hint and details, for ``process``."""
    if isinstance(error, DeploycoreError):
        return type(error).__name__, error.message, error.hint, error.details
    name = "TimeoutError" if isinstance(error, TimeoutError) else ""
    return name, str(error), "", {}
