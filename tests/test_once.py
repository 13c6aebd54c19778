"""Attributes that are made at first use are the same for all threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from deploycore.once import made_once
from deploycore.settings import Settings
from deploycore.store import Store
from deploycore.store.triggers import Triggers

THREADS = 4


class Made:
    """Is made by all threads at the same time."""

    barrier = threading.Barrier(THREADS, timeout=60)

    def __init__(self, *arguments) -> None:
        self.barrier.wait()


class Owner:
    @made_once
    def part(self) -> Made:
        """What is made."""
        return Made()


def distinct(read):
    with ThreadPoolExecutor(THREADS) as threads:
        return set(threads.map(lambda _: read(), range(THREADS)))


def test_threads_that_use_an_attribute_first_get_the_same_object():
    owner = Owner()
    (made,) = distinct(lambda: owner.part)
    assert owner.part is made
    assert Owner.part.__doc__ == "What is made."


def test_the_subscribers_of_the_queue_are_the_same_for_all_threads(tmp_path, monkeypatch):
    """A subscriber of another object would not be told of new triggers."""
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path)})
    monkeypatch.setattr("deploycore.store.triggers.Triggers", Made)
    with Store(settings) as store:
        assert len(distinct(lambda: store.triggers)) == 1
    monkeypatch.undo()
    with Store(settings) as store:
        assert isinstance(store.triggers, Triggers)
