"""Import every installed plugin in a child process first, before this process imports it.

An import that blocks the interpreter or ends the process would also end the command. Such a plugin
is not imported here. All other problems are left to the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

from deploycore.errors import PluginError
from deploycore.provider.background import BackgroundCall, under_way
from deploycore.provider.entry_points import (
    OBSERVER_GROUP,
    PROVIDER_GROUP,
    SANDBOX_GROUP,
    entry_points_by_name,
)
from deploycore.provider.isolation import IsolatedProcess, Reporter
from deploycore.provider.registry import (
    LISTED_SECONDS,
    endless_import,
    imported,
    label_of,
    refuse_import,
    stopped_import,
)

__all__ = ["import_all", "probe_imports"]

_IDLE_SECONDS = 60.0
_TOTAL_SECONDS = 600.0


def probe_imports() -> None:
    """Find the plugins whose import does not return, and prevent their import in this process."""
    points = [
        point
        for group in (PROVIDER_GROUP, OBSERVER_GROUP, SANDBOX_GROUP)
        for several in entry_points_by_name(group).values()
        for point in several
    ]
    while points:
        points = points[_probe(points) :]


def import_all(order: Mapping[str, Any], reporter: Reporter) -> None:
    """Import plugins one after another, in the child process, and report each.

    An import that takes too long is abandoned.
    """
    for index, (name, value, group) in enumerate(order["points"]):
        reporter.tell("begin", index=index)
        point = EntryPoint(name, value, group)
        if not BackgroundCall(partial(_import, point, index, reporter)).wait(LISTED_SECONDS):
            reporter.tell("late", index=index)
    reporter.tell("end")


def _import(point: EntryPoint, index: int, reporter: Reporter) -> None:
    with suppress(PluginError):  # the registry reports it
        imported(point)
    reporter.tell("done", index=index)


def _probe(points: list[EntryPoint]) -> int:
    """Import plugins in a child process.

    Returns:
        The number of plugins whose result is known: all, or those up to the one that ended the
            child.
    """
    begun: list[int] = []
    last = len(points)
    order = {"points": [(point.name, point.value, point.group) for point in points]}
    with (
        ExitStack() as noted,
        IsolatedProcess(
            "deploycore.provider.probing:import_all",
            order,
            seconds=_TOTAL_SECONDS,
            idle_seconds=_IDLE_SECONDS,
            is_silent=True,
        ) as process,
    ):
        for event in process.events():
            noted.close()
            if event["event"] == "end":
                return len(points)
            if event["event"] == "done":
                begun.remove(event["index"])
                continue
            if event["event"] == "late":  # this process would wait without success too
                late = points[event["index"]]
                refuse_import(late, endless_import(late, LISTED_SECONDS))
                continue
            begun.append(event["index"])
            last = event["index"] + 1
            point = points[begun[-1]]
            noted.enter_context(under_way(f"plugin {point.name}", "import", label_of(point)))
    if not begun or process.ending is None:
        return len(points)  # the child cannot run here
    for index in begun:  # an import that was abandoned may have ended the child
        refuse_import(points[index], stopped_import(points[index], process.ending))
    return last
