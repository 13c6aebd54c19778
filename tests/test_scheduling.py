"""Each process of a run begins with long tests, and no test is left out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from xdist.scheduler import WorkStealingScheduling

from tests import scheduling
from tests.scheduling import LongTestsFirst, in_order, long_tests
from tests.test_slow_tests import is_there

LONG = ("a.py::test_longest", "a.py::test_long", "b.py::test_long")


class Node:
    """Stands for a process of pytest-xdist: notes what it is sent."""

    shutting_down = False

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="a process")
        self.sent: list[int] = []

    def send_runtest_some(self, numbers) -> None:
        self.sent += numbers


@pytest.fixture(autouse=True)
def few_long_tests(monkeypatch):
    monkeypatch.setattr(scheduling, "long_tests", lambda: LONG)


def test_each_listed_test_exists_and_is_listed_once():
    assert [line for line in long_tests() if not is_there(line)] == []
    assert len(set(long_tests())) == len(long_tests()) > len(LONG)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("short", [0, 1, 2, 3, 4, 7, 20])
def test_each_part_begins_with_its_share_of_long_tests(processes, short):
    names = [
        *(f"a.py::test_short[{number}]" for number in range(short)),
        *("a.py::test_long[x]", "a.py::test_long[y]", "a.py::test_longest", "b.py::test_long[z]"),
    ]
    ordered = in_order(names, processes)
    assert sorted(ordered) == list(range(len(names)))
    ordered_names = [names[number] for number in ordered]
    shares = []
    for part in range(processes):
        size = (len(names) + part) // processes
        own, ordered_names = ordered_names[:size], ordered_names[size:]
        is_long = [not name.startswith("a.py::test_short") for name in own]
        assert is_long == sorted(is_long, reverse=True)
        shares.append(sum(is_long))
    assert max(shares) - min(shares) <= 1


def test_the_longest_tests_begin_in_different_processes():
    names = ["c.py::test_short", "b.py::test_long", "a.py::test_long", "a.py::test_longest"]
    assert in_order(names, 1) == [3, 2, 1, 0]
    assert in_order(names, 2) == [2, 0, 3, 1]


def test_the_scheduler_sends_each_process_its_part_in_this_order():
    names = [*(f"c.py::test_{number}" for number in range(8)), *LONG]
    scheduler = LongTestsFirst(SimpleNamespace(getvalue=lambda name: ["popen", "popen"]))
    nodes = [Node(), Node()]
    for each in nodes:
        scheduler.add_node(each)
        scheduler.add_node_collection(each, names)
    scheduler.schedule()
    assert isinstance(scheduler, WorkStealingScheduling)
    assert [each.sent for each in nodes] == [[9, 0, 1, 2, 3], [8, 10, 4, 5, 6, 7]]
