"""``deploycore worker``: a process that deploys on triggers until it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

import deploycore
from deploycore.cli.options import AsJson, Lease, PerProvider
from deploycore.cli.output import say, show_json_line
from deploycore.cli.standard_streams import signals_to_end

if TYPE_CHECKING:
    from deploycore.deploy.wakeup import Wakeup
    from deploycore.worker import Worker, WorkerEvent

__all__ = ["register"]

_LOOK_SECONDS = 0.2


def register(application: typer.Typer) -> None:
    """Add this command."""
    application.command()(worker)


def worker(
    threads: Annotated[
        int,
        typer.Option("--threads", min=1, max=64, help="Maximum number of deployments at once."),
    ] = 2,
    once: Annotated[
        bool, typer.Option("--once", help="Deploy what is queued now, then exit.")
    ] = False,
    drain: Annotated[
        float,
        typer.Option(
            "--drain",
            min=0,
            metavar="SECONDS",
            help="Seconds to let running deployments finish at shutdown.",
        ),
    ] = 60.0,
    lease: Lease = None,
    per_provider: PerProvider = None,
    as_json: AsJson = False,
) -> None:
    """Deploy on pushes, polls and API requests, until Ctrl-C or SIGTERM.

    At the first signal the worker starts no more deployments and lets running ones finish. A second
    signal cancels them. You can run any number of workers, on one machine, or on several machines
    with one PostgreSQL database. Logs to standard error, with times in UTC. With --json, prints
    one JSON object per line for each event.
    """
    import logging  # takes longer than to print help

    from deploycore.cli.process_log import log_to_standard_error
    from deploycore.cli.service_watchdog import telling_watchdog
    from deploycore.worker import Worker, no_listener

    # With --json, the events on standard output report the deployments.
    log_to_standard_error(level=logging.WARNING if as_json else logging.INFO)
    with deploycore.Installation() as installation, _signals() as signals, telling_watchdog():
        running = Worker(
            installation,
            threads=threads,
            drain=drain,
            lease=lease,
            per_provider=per_provider,
            listener=_print_event if as_json else no_listener,
        )
        if not as_json:  # before its threads log their first line
            shown = "1 thread" if threads == 1 else f"{threads} threads"
            say(f"Worker {running.id} runs with {shown}. Stop it with Ctrl-C.")
            sys.stdout.flush()
        running.start()
        try:
            while not signals.count and not (once and running.wait_until_idle(0)):
                signals.wait()
        finally:
            _stop(running, signals)


class _Signals:
    """The number of signals to stop that this process has received."""

    def __init__(self, wakeup: Wakeup) -> None:
        self.count = 0
        self._wakeup = wakeup

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._wakeup.wake()

    def wait(self) -> None:
        self._wakeup.wait(_LOOK_SECONDS)


@contextmanager
def _signals() -> Iterator[_Signals]:
    from deploycore.deploy.wakeup import Wakeup

    with Wakeup() as wakeup:
        signals = _Signals(wakeup)
        previous = {number: signal.signal(number, signals.hear) for number in signals_to_end()}
        try:
            yield signals
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _stop(running: Worker, signals: _Signals) -> None:
    """Stop the worker in another thread, so that this one can receive signals."""
    stopping = threading.Thread(target=running.stop, name="deploycore-worker-stop")
    stopping.start()
    while stopping.is_alive():
        if signals.count > 1:
            running.interrupt()
        signals.wait()
    stopping.join()


def _print_event(event: WorkerEvent) -> None:
    show_json_line(event.as_dict())
