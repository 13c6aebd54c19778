"""What the process of ``ssh.process`` does: it runs one command on a server for its parent."""

from __future__ import annotations

import logging
import marshal
import math
import mmap
import signal
import socket
from typing import Any, NamedTuple

from deploycore.errors import DeploycoreError
from deploycore.forking import detach
from deploycore.plain_secret import PlainSecret
from deploycore.ssh.library import require_extra
from deploycore.ssh.process import FAILED, FINISHED, HEADER, LENGTH, OUTPUT, STARTED
from deploycore.ssh.server import SshServer

__all__ = ["serve"]

# Then the command is busy with something else, such as waiting for a lock.
_IDLE_SECONDS = 60.0


class _Credential(NamedTuple):
    private_key: PlainSecret | None
    passphrase: PlainSecret | None
    agent: bool
    host_keys: tuple[str, ...]


def serve(control: socket.socket, shared: mmap.mmap) -> None:
    """Import AsyncSSH, wait for a job, and do it."""
    detach(control)
    logging.disable()  # the files of the handlers are closed
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
        None if key is None else PlainSecret(key),
        None if passphrase is None else PlainSecret(passphrase),
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
