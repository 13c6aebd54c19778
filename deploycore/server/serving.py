"""Run the server in one process until a signal stops it, and shut it down in order.

Shutdown has this order: no new connections are accepted; running requests are answered, and
connections that follow logs are ended; rollbacks and deployments of this process finish, or are
cancelled at a safe point if they take too long; the database is closed last.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from ipaddress import ip_address
from types import FrameType

import uvicorn
from pydantic import SecretStr

from deploycore.errors import ConfigurationError
from deploycore.installation import Installation
from deploycore.server.app import Application, create_application
from deploycore.server.connections import Connection, Connections
from deploycore.server.options import ServerOptions
from deploycore.server.reception import Reception
from deploycore.worker import Worker, announcing
from deploycore.worker.expiry import ExpiryWatch

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_ACCEPTED_AT_ONCE = 64
"""The backlog for asyncio, which accepts as many waiting connections as this before it handles any
of them."""

_ANSWER_SECONDS = 10
_WARM_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    installation: Installation,
    options: ServerOptions,
    *,
    host: str,
    port: int,
    worker: Worker | None,
    drain: float,
    on_started: Callable[[str, SecretStr | None], None],
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP. Call it in the main thread.

    Args:
        host: The address to listen on.
        port: The port; 0 for any free one.
        worker: The worker. It is started before the first request, and stopped after the last.
        drain: Seconds that running deployments have to finish at shutdown.
        on_started: Called with the address, and the secret of a one-time link that creates the
            first administrator; ``None`` if there is an administrator.

    Raises:
        ConfigurationError: The address or port cannot be used.
        StoreError: The database cannot be used.
    """
    with _listening(host, port) as listener:
        application = create_application(installation, options, worker=worker)
        server = _Server(_config(application, options), application)
        url = _url(listener)
        reception = Reception(installation, application.acceptor.take_missed)

        def started() -> None:
            reception.start()
            application.recorder.start()
            on_started(url, application.accounts.new_link())

        server.on_started = started
        if not options.behind_proxy:
            _warn_of_plain_text(listener)
        with _signals_to(server):
            try:
                # opens the database, and upgrades it if necessary
                installation.store.holds_sealed_secrets()
                # The objects that exist now stay, so the garbage collector need not examine them
                # again and again.
                gc.collect()
                gc.freeze()
                if worker is not None:
                    worker.start()
                _warm_up(application)
                aside = nullcontext() if worker else _without_worker(installation)
                with reception, application.recorder, aside:
                    server.run(sockets=[listener])
            finally:
                logger.info("stopping: running deployments have %d s to finish", drain)
                ends_at = time.monotonic() + drain
                if worker is not None:
                    worker.stop(drain)
                application.close(max(0.0, ends_at - time.monotonic()))
                gc.unfreeze()


@contextmanager
def _without_worker(installation: Installation) -> Iterator[None]:
    """Run the other tasks of a worker, if this process has no worker."""
    watch = ExpiryWatch(installation.store)
    watch.start()
    try:
        with announcing(installation):
            yield
    finally:
        watch.stop()


def _warm_up(application: Application) -> None:
    """Open plugins before the first delivery has to wait for them.

    A plugin that hangs, or takes long, does so in its thread. Requests that do not need it are
    answered.
    """
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
        """Call ``on_started`` when the server responds."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)
        if self.started:
            self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Disconnect clients that follow logs too, because their requests would never end."""
        self._application.begin_to_stop()
        super().handle_exit(sig, frame)


def _config(application: Application, options: ServerOptions) -> uvicorn.Config:
    connections = Connections(are_shared=not options.behind_proxy)
    protocol = partial(Connection, admitted=connections, options=options)
    return uvicorn.Config(
        application.asgi,
        loop="asyncio",
        http=protocol,  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,  # the edge reads them
        timeout_graceful_shutdown=_ANSWER_SECONDS,
        backlog=_ACCEPTED_AT_ONCE,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        # Accepted connections inherit this option. asyncio sets it only for sockets whose protocol
        # number is given; without it, a response waits 40 ms until the client confirms its first
        # half.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with listener:
            yield listener
        return
    raise ConfigurationError(
        f"The server cannot listen on {host}, port {port}: {reason}.",
        hint="Choose another --host or --port, or stop the program that uses it.",
    )


@contextmanager
def _signals_to(server: _Server) -> Iterator[None]:
    """Let signals stop the server, from before its start until everything is drained.

    uvicorn handles them only while it runs, and raises them again at its end.
    """
    numbers = list(_SIGNALS)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup makes a process ignore it
        numbers.append(signal.SIGHUP)
    former = {number: signal.signal(number, server.handle_exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _warn_of_plain_text(listener: socket.socket) -> None:
    address = listener.getsockname()[0]
    if not ip_address(address).is_loopback:
        logger.warning(
            "the server listens on %s without TLS, so tokens can be read on the network. Put a "
            "reverse proxy with TLS in front of it, and add --behind-proxy",
            address,
        )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
