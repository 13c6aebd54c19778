"""``deploycore worker``: a process that deploys what triggers ask for, until it is told to stop."""

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
        int, typer.Option("--threads", min=1, max=64, help="How many applications at once.")
    ] = 2,
    once: Annotated[
        bool, typer.Option("--once", help="Do what there is to do now, then end.")
    ] = False,
    drain: Annotated[
        float,
        typer.Option(
            "--drain", min=0, metavar="SECONDS", help="What running deployments get when it stops."
        ),
    ] = 60.0,
    lease: Lease = None,
    per_provider: PerProvider = None,
    as_json: AsJson = False,
) -> None:
    """Deploy what pushes and other triggers ask for, until Ctrl-C or SIGTERM.

    It then takes up nothing more and lets running deployments come to their end; a second signal
    cancels them at once. As many of these as you like may run, on one machine or on several with
    one PostgreSQL database. The log is on standard error, with times in UTC. With --json each event
    is one JSON object on a line of standard output.
    """
    import logging  # takes longer than to print help

    from deploycore.cli.process_log import log_to_standard_error
    from deploycore.worker import Worker, no_listener

    # With --json, the events on standard output tell of the deployments.
    log_to_standard_error(level=logging.WARNING if as_json else logging.INFO)
    with deploycore.Installation() as installation, _signals() as signals:
        running = Worker(
            installation,
            threads=threads,
            drain=drain,
            lease=lease,
            per_provider=per_provider,
            listener=_print_event if as_json else no_listener,
        )
        if not as_json:  # before the first line of its threads
            hands = "1 thread" if threads == 1 else f"{threads} threads"
            say(f"Worker {running.id} works with {hands}. Stop it with Ctrl-C.")
            sys.stdout.flush()
        running.start()
        try:
            while not signals.count and not (once and running.wait_until_idle(0)):
                signals.wait()
        finally:
            _stop(running, signals)


class _Signals:
    """How often somebody asked this process to stop."""

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
        former = {number: signal.signal(number, signals.hear) for number in signals_to_end()}
        try:
            yield signals
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _stop(running: Worker, signals: _Signals) -> None:
    """Drain the worker in another thread: this one hears of signals."""
    stopping = threading.Thread(target=running.stop, name="deploycore-worker-stop")
    stopping.start()
    while stopping.is_alive():
        if signals.count > 1:
            running.interrupt()
        signals.wait()
    stopping.join()


def _print_event(event: WorkerEvent) -> None:
    show_json_line(event.as_dict())
