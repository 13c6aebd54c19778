"""Connect to an SSH server, before the protocol begins. No package is needed."""

from __future__ import annotations

import socket

from deploycore.http.wire import Wire
from deploycore.ssh.server import SshServer, Unreachable

__all__ = ["reach"]


def reach(server: SshServer, wire: Wire) -> socket.socket:
    """Connect to a server.

    The server starts a process for the connection at once, so connect before other work is done.

    Args:
        wire: Connects; another thread can shut the connection down.

    Raises:
        OSError: The server cannot be reached.
        TimeoutError: It does not answer.
    """
    try:
        return wire.connect(server.host, server.port)
    except (socket.gaierror, TimeoutError):
        raise
    except OSError as error:
        raise Unreachable(str(error)) from None
