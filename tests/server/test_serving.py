"""The order of the server's start and shutdown."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager

import pytest

from deploycore.server import serving as module
from deploycore.server.options import ServerOptions


@pytest.fixture
def serve(installation):
    """Serves in this thread, the main one, with a worker; gives what was told meanwhile."""

    def run(worker=None, on_started=lambda url, link: None):
        module.serve(
            installation,
            ServerOptions(),
            host="127.0.0.1",
            port=0,
            worker=worker,
            drain=0,
            on_started=on_started,
        )

    return run


class FakeWorker:
    threads, is_well, stopped = 2, True, False

    def start(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(self, drain: float | None = None) -> None:
        self.stopped = True


def test_a_signal_before_the_server_runs_stops_it(serve):
    worker = FakeWorker()
    last_resort = threading.Timer(20, os.kill, (os.getpid(), signal.SIGTERM))
    last_resort.start()
    serve(worker)
    assert last_resort.is_alive()
    last_resort.cancel()
    assert worker.stopped


def test_a_server_without_a_worker_notifies_the_fleet(serve, monkeypatch):
    told = []

    @contextmanager
    def announcing(installation):
        told.append("announcing")
        yield
        told.append("no longer")

    def started(url, link):
        told.append("started")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(module, "announcing", announcing)
    serve(on_started=started)
    assert told == ["announcing", "started", "no longer"]
