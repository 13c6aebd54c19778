"""Running the server: one process, until it is told to stop, and then gently.

Stopping has an order: nothing new is accepted; requests under way are answered, and followers of
logs let go; rollbacks and deployments of this process come to their end, or are cancelled at a
safe point when that takes too long; the database is closed last.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from deploycore.errors import ConfigurationError
from deploycore.installation import Installation
from deploycore.server.app import Application, create_application
from deploycore.server.options import ServerOptions
from deploycore.server.workers import Workers

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_ANSWER_SECONDS = 10
_WARM_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    installation: Installation,
    options: ServerOptions,
    *,
    host: str,
    port: int,
    workers: Workers | None,
    drain: float,
    on_started: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; for the main thread.

    Args:
        host: The address to listen on.
        port: 0 for any free one.
        workers: Started before anything is accepted, and stopped after.
        drain: Seconds that deployments of this process get in the end.
        on_started: Is told the address.

    Raises:
        ConfigurationError: Nobody can listen there.
        StoreError: The database can't be used.
    """
    with _listening(host, port) as listener:
        application = create_application(installation, options, workers=workers)
        url = _url(listener)
        with _not_killed_by_signals():
            try:
                installation.store.holds_sealed_secrets()  # opened, and brought up to date
                if workers is not None:
                    workers.start()
                _warm_up(application)
                server = _Server(_config(application, options), application)
                server.on_started = lambda: on_started(url)
                server.run(sockets=[listener])
            finally:
                logger.info("stopping: deployments under way get %d s", drain)
                if workers is not None:
                    workers.stop(drain)
                application.close(drain)


def _warm_up(application: Application) -> None:
    """Open plugins before the first delivery has to wait for them. One that hangs, or takes long,
    does so beside: what needs none of it is answered."""
    thread = threading.Thread(
        target=application.directory.warm_up, name="deploycore-server-warm-up", daemon=True
    )
    thread.start()
    thread.join(_WARM_SECONDS)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self.on_started: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell when it answers."""
        await super().startup(sockets)
        if self.started:
            self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let followers go too, whose requests would never end."""
        self._application.begin_to_stop()
        super().handle_exit(sig, frame)


def _config(application: Application, options: ServerOptions) -> uvicorn.Config:
    return uvicorn.Config(
        application.asgi,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=options.behind_proxy,
        forwarded_allow_ips="*" if options.behind_proxy else None,
        timeout_graceful_shutdown=_ANSWER_SECONDS,
        backlog=_BACKLOG,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        # Each connection gets it from here. asyncio sets it for sockets whose protocol is named
        # alone, and without it an answer waits 40 ms for the client's word of its first half.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with listener:
            yield listener
        return
    raise ConfigurationError(
        f"The server can't listen on {host}, port {port}: {reason}.",
        hint="Choose another --host or --port, or end what has it.",
    )


@contextmanager
def _not_killed_by_signals() -> Iterator[None]:
    """Outlive the signals that uvicorn obeys, and raises again when it is done."""
    former = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
