"""A deployment: its phases, its error with the next step first, and its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import escape
from starlette.responses import Response

from deploycore.deployment_records import FINAL_STATES
from deploycore.server.dashboard.page import Page
from deploycore.server.dashboard.visit import Visit
from deploycore.text.ansi import Segment, parse_colors

__all__ = ["PAGES", "phases_of"]

_ONE = "/deployments/{deployment}"
_PHASES = ("authenticating", "resolving", "fetching", "building", "activating")
_LINES = 300
_LINE_MOST = 2000
_BYTES_MOST = 100_000
"""Maximum number of bytes of a log on a page."""
_LINE_BYTES, _SEGMENT_BYTES = 100, 50  # of the HTML around the text of a line and of a segment


@dataclass(frozen=True)
class Phase:
    """A phase as it is shown.

    Attributes:
        look: ``done``, ``now``, ``failed`` or ``coming``.
        seconds: How long it took, once it is over.
    """

    name: str
    look: str
    seconds: float | None


@dataclass(frozen=True)
class Line:
    """A line of the log as it is shown."""

    at: str
    kind: str
    segments: Sequence[Segment]


async def deployment(visit: Visit) -> Response:
    """Show a deployment."""
    number = visit.path["deployment"]
    record = await visit.ask("GET", _ONE, deployment=number)
    search = visit.query.get("search", "").strip()[:200]
    wanted: dict[str, Any] = {"search": search} if search else {"last": _LINES}
    log = await visit.ask("GET", f"{_ONE}/log", query=wanted, deployment=number)
    lines, is_all = _shown(log["items"], is_end=not search)
    return visit.render(
        "deployment.html",
        each=record,
        is_running=record["state"] not in FINAL_STATES,
        phases=phases_of(record),
        search=search,
        lines=lines,
        is_all=is_all and (log["start"] == 0 or bool(search)),
        position=log["position"],
    )


async def cancel(visit: Visit) -> Response:
    """Cancel a deployment."""
    number = visit.path["deployment"]
    done = await visit.ask("POST", f"{_ONE}/cancel", deployment=number)
    return visit.go(f"/deployments/{done['id']}", done="cancel")


def phases_of(record: Mapping[str, Any]) -> list[Phase]:
    """Return the phases of a deployment, with the state of each."""
    names = ("activating",) if record["kind"] == "rollback" else _PHASES
    seconds, state = record["seconds"], record["state"]
    is_running = state not in FINAL_STATES
    begun = [name for name in names if name in seconds]
    last = begun[-1] if begun else None
    found = []
    for name in names:
        look = "done" if name in seconds else "coming"
        if is_running and name == state:
            look = "now"
        elif name == last and state in ("failed", "rolled_back", "cancelled"):
            look = "failed"
        found.append(Phase(name, look, seconds.get(name)))
    return found


def _shown(items: Sequence[Mapping[str, str]], *, is_end: bool) -> tuple[list[Line], bool]:
    """Return as many lines as fit on a page, from the end or the beginning, and whether these are
    all."""
    found: list[Line] = []
    room = _BYTES_MOST
    for each in reversed(items) if is_end else items:
        line = Line(each["at"][11:19], each["kind"], list(_cut(_segments(each))))
        room -= _LINE_BYTES + sum(
            len(escape(part.text).encode()) + _SEGMENT_BYTES for part in line.segments
        )
        if room < 0:
            return (found[::-1] if is_end else found), False
        found.append(line)
    return (found[::-1] if is_end else found), True


def _segments(line: Mapping[str, str]) -> Sequence[Segment]:
    segments = parse_colors(line["text"])
    if line["kind"] == "state":
        name = line["phase"].replace("_", " ").capitalize()
        return [Segment(f"{name}: " if segments else name, ()), *segments]
    if line["kind"] == "hint":
        return [Segment("Next: ", ()), *segments]
    return segments


def _cut(segments: Sequence[Segment]) -> Iterator[Segment]:
    room = _LINE_MOST
    for each in segments:
        if len(each.text) > room:
            yield Segment(f"{each.text[:room]} …", each.classes)
            return
        room -= len(each.text)
        yield each


PAGES = (
    Page("GET", _ONE, "read", deployment),
    Page("POST", f"{_ONE}/cancel", "deploy", cancel),
)
