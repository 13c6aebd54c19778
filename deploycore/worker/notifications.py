"""Notifications between machines that an application has triggers, sent with procrastinate.

If the database is PostgreSQL and the extra ``fleet`` is installed, a new trigger notifies a worker
with a free thread at once, by LISTEN and NOTIFY. A job of procrastinate contains only the name of
the application. The triggers are in the store, so a job that is lost, repeated or late does no
harm. https://procrastinate.readthedocs.io
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from sqlalchemy import make_url

from deploycore.errors import DeploycoreError
from deploycore.installation import Installation
from deploycore.store.waiting import CONNECT_SECONDS, NETWORK, limit_server

if TYPE_CHECKING:
    from procrastinate import App

__all__ = ["Notifications", "announcing", "open_notifications"]

logger = logging.getLogger(__name__)

_TASK = "look_at"
_ANY_HOST = "deploycore"
_STALLED_SECONDS = 30.0
_POLL_SECONDS = 15.0  # notifications arrive at once; this finds those that are lost
_RETRY_SECONDS = 5.0
_CONNECT_SECONDS = float(CONNECT_SECONDS)
_OTHER_THREADS = 2
_GOODBYE_SECONDS = 15.0
_THE_SCHEMA = 7023648102  # the advisory lock for the creation of procrastinate's tables
_OF_PROCRASTINATE = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there"


class Notifications:
    """Sends and receives notifications; see the module. Call ``close`` at the end.

    Args:
        address: The address of the PostgreSQL database, as libpq reads it.
        host_of: Returns the machine that an application names, if it does.
    """

    def __init__(self, address: SecretStr, host_of: Callable[[str], str | None]) -> None:
        self._address = address
        self._host_of = host_of
        self._lock = threading.Lock()
        self._sender: App | None = None
        self._is_ready = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._looking = 0
        self._is_deaf = False
        self._closed = False

    def send(self, application: str) -> None:
        """Notify a worker about an application. A failure is logged: workers also query the store
        regularly."""
        from procrastinate.exceptions import AlreadyEnqueued

        try:
            host = self._host_of(application)
            with self._lock:
                if self._closed:
                    return
                sender = self._opened_sender()
            with suppress(AlreadyEnqueued):
                sender.configure_task(
                    _TASK, queue=_queue(host), lock=application, queueing_lock=application
                ).defer(application=application)
        except Exception as error:
            _warn("other workers could not be notified", error)

    def listen(self, check: Callable[[str], None], *, host: str, threads: int) -> None:
        """Call a function for each notification, in threads, until this is closed.

        Args:
            host: The name of this machine. Notifications for other machines are left out.
            threads: The maximum number of calls at once.
        """
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._listen(check, host, threads)),
            name="deploycore-worker-notifications",
            daemon=True,
        )
        self._thread.start()

    def end_listening(self) -> None:
        """Stop receiving notifications, so that other workers get them. Does not wait."""
        with self._lock:
            self._is_deaf = True
            loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)

    def close(self) -> None:
        """Stop sending and receiving, and wait for running calls."""
        self.end_listening()
        with self._lock:
            self._closed = True
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)
            if self._thread.is_alive():
                logger.warning(
                    "receiving notifications of other workers could not be stopped in time"
                )
        if self._sender is not None:
            self._sender.close()

    async def _listen(self, check: Callable[[str], None], host: str, threads: int) -> None:
        stop = asyncio.Event()
        with self._lock:
            if self._is_deaf:
                return
            self._loop, self._stop = asyncio.get_running_loop(), stop
        self._loop.set_exception_handler(_tell_of_task)
        # Each notification holds one of these threads for as long as a deployment takes.
        self._loop.set_default_executor(ThreadPoolExecutor(threads + _OTHER_THREADS))
        while not stop.is_set():
            try:
                await self._work(check, host, threads, stop)
            except Exception as error:
                _warn("notifications of other workers are not received; trying again", error)
            await _wait_for_any(_RETRY_SECONDS, asyncio.create_task(stop.wait()))

    async def _work(
        self, check: Callable[[str], None], host: str, threads: int, stop: asyncio.Event
    ) -> None:
        """Run procrastinate's worker until it fails or is asked to stop.

        It is not cancelled while it connects: a connection pool that is interrupted then never
        ends.
        """
        from procrastinate import App, PsycopgConnector

        await asyncio.to_thread(self._make_tables)
        connector = PsycopgConnector(
            conninfo=self._address.get_secret_value(),
            timeout=_CONNECT_SECONDS,
            kwargs=dict(NETWORK),
            configure=_limit_async,
        )
        app = App(connector=connector)

        @app.task(name=_TASK)
        def look(application: str) -> None:
            with self._lock:
                self._looking += 1
            try:
                check(application)
            finally:
                with self._lock:
                    self._looking -= 1

        async with app.open_async():
            reviving = asyncio.create_task(self._revive(app))
            working = asyncio.create_task(
                app.run_worker_async(
                    queues=[_queue(None), _queue(host)],
                    concurrency=threads,
                    fetch_job_polling_interval=_POLL_SECONDS,
                    abort_job_polling_interval=_POLL_SECONDS,
                    stalled_worker_timeout=_STALLED_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            )
            await _wait_for_any(None, working, asyncio.create_task(stop.wait()))
            reviving.cancel()
            await self._end(working)
        if not working.cancelled():
            working.result()  # raises the error with which it failed

    async def _end(self, working: asyncio.Task[None]) -> None:
        """Stop procrastinate's worker when its running jobs have ended.

        It is cancelled repeatedly: before Python 3.12, ``asyncio.wait_for``, which psycopg uses,
        may swallow a cancellation (https://github.com/python/cpython/issues/86296).
        """
        working.cancel()
        while not working.done():
            await asyncio.wait({working}, timeout=1.0)
            if not self._looking:
                working.cancel()

    async def _revive(self, app: App) -> None:
        """Give the jobs of dead workers to other workers. The claims decide who may deploy the
        applications."""
        while True:
            await asyncio.sleep(_STALLED_SECONDS / 3)
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    seconds_since_heartbeat=_STALLED_SECONDS
                )
                for job in stalled:
                    await _revive_one(app, job)
            except Exception as error:
                _warn("stalled notifications could not be revived; trying again", error)

    def _opened_sender(self) -> App:
        if self._sender is None:
            from procrastinate import App, SyncPsycopgConnector

            self._make_tables()
            connector = SyncPsycopgConnector(
                conninfo=self._address.get_secret_value(),
                min_size=1,
                max_size=2,
                timeout=_CONNECT_SECONDS,
                kwargs=dict(NETWORK),
                configure=_limit,
            )
            self._sender = App(connector=connector).open()
        return self._sender

    def _make_tables(self) -> None:
        """Create procrastinate's tables if they do not exist. If several processes do so, one of
        them succeeds."""
        if self._is_ready:
            return
        import psycopg
        from procrastinate.schema import SchemaManager

        with psycopg.connect(self._address.get_secret_value(), **NETWORK) as connection:
            _limit(connection)
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_THE_SCHEMA,))
            row = connection.execute(_OF_PROCRASTINATE).fetchone()
            if row is None or not row[0]:
                connection.execute(SchemaManager.get_schema())
        self._is_ready = True


def open_notifications(installation: Installation) -> Notifications | None:
    """Return the notifications of an installation.

    Returns:
        ``None`` if the database is not PostgreSQL, or the extra ``fleet`` is not installed. Then
        workers query the store more often.
    """
    url = make_url(installation.settings.database_url)
    if url.get_backend_name() != "postgresql":
        return None
    if not all(map(importlib.util.find_spec, ("procrastinate", "psycopg", "psycopg_pool"))):
        logger.info(
            "other workers are not notified, because the extra deploycore[fleet] is not installed"
        )
        return None
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def host_of(application: str) -> str | None:
        return installation.store.get_application(application).definition.host

    return Notifications(SecretStr(address), host_of)


@contextmanager
def announcing(installation: Installation) -> Iterator[None]:
    """A context in which each trigger that this process adds notifies the workers on all machines.

    Use it in a process without a worker, such as a server with ``--workers 0``. A worker does this
    itself.
    """
    notifications = open_notifications(installation)
    if notifications is None:
        yield
        return
    end = installation.store.triggers.subscribe(notifications.send)
    try:
        yield
    finally:
        end()
        notifications.close()


def _limit(connection: Any) -> None:
    """Limit how long the server lets a connection wait."""
    connection.execute(limit_server())
    connection.commit()


async def _limit_async(connection: Any) -> None:
    await connection.execute(limit_server())
    await connection.commit()


async def _wait_for_any(seconds: float | None, *tasks: asyncio.Task[Any]) -> None:
    """Wait until one of several events occurs."""
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    tasks[-1].cancel()


async def _revive_one(app: App, job: Any) -> None:
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import Status

    try:
        await app.job_manager.retry_job(job, retry_at=datetime.now(UTC))
    except ConnectorException:
        # Another job for the same application exists already, which is enough.
        with suppress(ConnectorException):
            await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)


def _queue(host: str | None) -> str:
    return _ANY_HOST if host is None else f"{_ANY_HOST}@{host}"


def _tell_of_task(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log errors of procrastinate's own tasks, for example if the database becomes unavailable."""
    error = context.get("exception")
    if isinstance(error, Exception):
        _warn("a notification of another worker failed", error)


def _warn(what: str, error: Exception) -> None:
    """Log an error without the driver's own message, which may contain an address."""
    said = error.message if isinstance(error, DeploycoreError) else type(error).__name__
    logger.warning("%s: %s", what, said)
