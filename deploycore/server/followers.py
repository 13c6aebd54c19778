"""A deployment's log as server-sent events: from any place on, until the deployment has ended.

An event's id is the place behind its line in the log, so who lost the connection goes on exactly
there, without anything being kept for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from deploycore.deploy import LogPart
from deploycore.errors import DeploycoreError
from deploycore.installation import Installation
from deploycore.server.problems import Refusal
from deploycore.server.views import LogLineView
from deploycore.store import DeploymentRecord

__all__ = ["Followers", "position_of"]

_LOOK_SECONDS = 0.3
_ALIVE_SECONDS = 15.0
_DIGITS = 16


def position_of(last_event_id: str | None) -> int:
    """The place that a client has come to; the beginning, where it says nothing sensible."""
    text = (last_event_id or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if is_number else 0


class Followers:
    """Those who follow logs.

    Args:
        most: How many there may be.
    """

    def __init__(self, installation: Installation, *, most: int) -> None:
        self._installation = installation
        self._most = most
        self._count = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Let all go soon; they may come again, to where they were."""
        self._is_stopping = True

    def refuse_too_many(self) -> None:
        """See whether there is room for one more.

        Raises:
            Refusal: There are too many.
        """
        if self._count >= self._most:
            raise Refusal(
                503,
                "too_many_followers",
                f"{self._most} logs are being followed already.",
                hint="Try again later, or ask for the log as JSON.",
                headers={"Retry-After": "10"},
            )

    async def events(self, record: DeploymentRecord, position: int) -> AsyncIterator[str]:
        """The events for one more: lines, and in the end ``end`` with the state."""
        self._count += 1
        try:
            yield "retry: 1000\n\n"
            said_at = time.monotonic()
            while not self._is_stopping:
                record, part = await run_in_threadpool(self._look, record.id, position)
                for place, line in part.lines:
                    yield _event("line", LogLineView.of(line).model_dump_json(), place)
                    said_at = time.monotonic()
                moved, position = part.position != position, part.position
                if moved:
                    continue
                if record.is_finished:
                    end = {"deployment": record.id, "state": record.state}
                    yield _event("end", json.dumps(end), position)
                    return
                if time.monotonic() - said_at > _ALIVE_SECONDS:
                    yield ": still here\n\n"
                    said_at = time.monotonic()
                await asyncio.sleep(_LOOK_SECONDS)
        except DeploycoreError as error:
            yield _event("error", json.dumps({"code": error.code}), position)
        finally:
            self._count -= 1

    def _look(self, deployment: int, position: int) -> tuple[DeploymentRecord, LogPart]:
        # The state first: what is there when it has ended is all there is going to be.
        record = self._installation.store.deployments.get(deployment)
        logs = self._installation.engine.logs
        return record, logs.part(record.application, record.id, position, lines=200)


def _event(kind: str, data: str, place: int) -> str:
    return f"event: {kind}\nid: {place}\ndata: {data}\n\n"
