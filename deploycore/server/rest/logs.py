"""The operation that sends a whole log as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from starlette.responses import Response, StreamingResponse

from deploycore.deploy import LogLine
from deploycore.server.api import PREFIX, Api, Call
from deploycore.server.rest.operation import Operation
from deploycore.text.ansi import plain_text
from deploycore.times import for_machines

__all__ = ["OPERATIONS"]

_MEDIA_TYPE = "text/plain; charset=utf-8"
_AT_ONCE = 500


def download_log(api: Api, call: Call) -> Response:
    """Get a deployment's whole log as text, without colors and control characters."""
    record = api.deployment(call.path["deployment"])
    lines = api.installation.engine.logs.read(record.application, record.id)
    name = re.sub(r"[^0-9A-Za-z._-]", "-", record.application)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{record.id}.log"'}
    return StreamingResponse(_pieces(lines), headers=headers, media_type=_MEDIA_TYPE)


def _pieces(lines: Iterable[LogLine]) -> Iterator[str]:
    waiting: list[str] = []
    for line in lines:
        waiting.append(_text(line))
        if len(waiting) == _AT_ONCE:
            yield "".join(waiting)
            waiting.clear()
    yield "".join(waiting)


def _text(line: LogLine) -> str:
    text = plain_text(line.text)
    if line.kind == "state":
        text = f"→ {line.phase}: {text}" if text else f"→ {line.phase}"
    elif line.kind == "hint":
        text = f"Next: {text}"
    at = for_machines(line.at, timespec="milliseconds")
    return f"{at}  {line.phase:<14}  {text}\n"


OPERATIONS = (
    Operation(
        "GET",
        f"{PREFIX}/deployments/{{deployment}}/log/text",
        "read",
        download_log,
        {200: None},
        media_type=_MEDIA_TYPE,
    ),
)
