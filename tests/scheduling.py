"""The order in which the processes of a run take up the tests.

pytest-xdist gives each process a part of the tests, and who is done takes over half of what the
slowest still has. A test is taken over unless it is running or is the next one, so a run whose long
tests come last ends with one process at work and the others idle. Here each process begins with its
share of the tests that ``tests/long.txt`` lists, and short tests are left for the end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from xdist.scheduler import WorkStealingScheduling

__all__ = ["LongTestsFirst", "in_order", "long_tests"]


class LongTestsFirst(WorkStealingScheduling):
    """Has each process begin with long tests, and take over from others when it is done."""

    _is_ordered = False

    def check_schedule(self) -> None:
        """Give tests to processes that have none; the first time to all of them."""
        if self.collection and not self._is_ordered:
            self._is_ordered = True
            processes = sum(not node.shutting_down for node in self.nodes)
            self.pending[:] = in_order(self.collection, max(processes, 1))
        super().check_schedule()


def in_order(names: Sequence[str], processes: int) -> list[int]:
    """The numbers of all tests, such that each equal part begins with its share of the long ones.

    Args:
        names: Of the tests, as pytest collected them.
        processes: How many parts there are; the scheduler makes them as equal as possible, the last
            ones larger by one test.
    """
    rank = {name: number for number, name in enumerate(long_tests())}
    listed = [number for number, name in enumerate(names) if name.partition("[")[0] in rank]
    listed.sort(key=lambda number: rank[names[number].partition("[")[0]])
    others = iter(sorted(set(range(len(names))) - set(listed)))
    ordered: list[int] = []
    for part in range(processes):
        size = (len(names) + part) // processes
        share = listed[processes - 1 - part :: processes]
        ordered += share
        ordered += (next(others) for _ in range(size - len(share)))
    return ordered


@functools.cache
def long_tests() -> tuple[str, ...]:
    """The test functions that tests/long.txt lists, the longest first."""
    lines = Path(__file__).with_name("long.txt").read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
