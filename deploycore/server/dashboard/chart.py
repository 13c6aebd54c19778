"""The chart of an application's deployments: how long each took, by phase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploycore.server.dashboard.words import duration

__all__ = ["PHASES", "Chart", "chart_of"]

PHASES = ("authenticating", "resolving", "fetching", "building", "activating")

WIDTH, HEIGHT = 720, 180
_LEFT, _TOP, _BOTTOM = 56, 8, 18
_BAR_MOST = 22.0
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_GRID_LINES = 4


@dataclass(frozen=True)
class Part:
    """A part of a bar; ``series`` is the number of its phase, from 1 on."""

    y: float
    height: float
    series: int


@dataclass(frozen=True)
class Bar:
    """A deployment, as a bar."""

    x: float
    width: float
    title: str
    parts: Sequence[Part]
    has_failed: bool


@dataclass(frozen=True)
class Chart:
    """The data that the template draws.

    Attributes:
        lines: The height of each grid line, with its text.
        base: The height of the axis.
    """

    width: int
    height: int
    left: int
    base: int
    lines: Sequence[tuple[float, str]]
    bars: Sequence[Bar]
    phases: Sequence[str]


def chart_of(items: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return the chart of deployments, the oldest first; ``None`` if there are fewer than two."""
    if len(items) < 2:
        return None
    base = HEIGHT - _BOTTOM
    room = base - _TOP
    longest = max(sum(_phases(each)) for each in items)
    steps = (float(each) for each in _STEPS if each * _GRID_LINES >= longest)
    step = next(steps, longest / _GRID_LINES)
    count = max(1, math.ceil(longest / step)) if step else 1
    top = max(step * count, 0.001)
    slot = (WIDTH - _LEFT) / len(items)
    width = min(slot * 0.7, _BAR_MOST)
    return Chart(
        WIDTH,
        HEIGHT,
        _LEFT,
        base,
        [
            (round(base - room * number / count, 1), duration(step * number))
            for number in range(1, count + 1)
        ],
        [
            _bar(each, _LEFT + slot * place + (slot - width) / 2, width, room / top, base)
            for place, each in enumerate(items)
        ],
        PHASES,
    )


def _bar(each: Mapping[str, Any], x: float, width: float, scale: float, base: int) -> Bar:
    parts, y = [], float(base)
    for series, seconds in enumerate(_phases(each), start=1):
        height = seconds * scale
        if height >= 0.1:
            y -= height
            parts.append(Part(round(y, 1), round(height, 1), series))
    state = str(each["state"]).replace("_", " ")
    title = f"Deployment {each['id']}: {state}, {duration(sum(_phases(each)))}"
    has_failed = each["state"] in ("failed", "rolled_back")
    return Bar(round(x, 1), round(width, 1), title, parts, has_failed)


def _phases(each: Mapping[str, Any]) -> list[float]:
    return [max(0.0, float(each["seconds"].get(name, 0.0))) for name in PHASES]
