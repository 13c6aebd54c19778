"""A deployment's log as server-sent events, from any position until the deployment has ended.

An event's id is the position after its line in the log. A client that lost the connection can
continue exactly there, and the server stores nothing for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from deploycore.deploy import LogPart
from deploycore.errors import AuthenticationFailed, DeploycoreError
from deploycore.installation import Installation
from deploycore.server.problems import Refusal
from deploycore.server.views import LogLineView
from deploycore.store import DeploymentRecord

__all__ = ["Followers", "position_of"]

_LOOK_SECONDS = 0.3
_ALIVE_SECONDS = 15.0
_DIGITS = 16


def position_of(last_event_id: str | None) -> int:
    """Return the position that a client sent; the beginning if it sent none or an invalid one."""
    text = (last_event_id or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if is_number else 0


class Followers:
    """The clients that follow logs.

    Args:
        most: The maximum number of clients.
    """

    def __init__(self, installation: Installation, *, most: int) -> None:
        self._installation = installation
        self._most = most
        self._count = 0
        self._is_stopping = False

    def stop(self) -> None:
        """Disconnect all clients soon. They can connect again and continue at their position."""
        self._is_stopping = True

    def answer(
        self, record: DeploymentRecord, position: int, *, may_stay: Callable[[], bool]
    ) -> Response:
        """Return the response for one more client.

        Args:
            position: The position in the log to start at.
            may_stay: Returns whether the client may still see the log. It is called in a thread.

        Raises:
            Refusal: There are too many clients.
        """
        if self._count >= self._most:
            raise Refusal(
                503,
                "too_many_followers",
                f"{self._most} clients are already following logs.",
                hint="Try again later, or request the log as JSON.",
                headers={"Retry-After": "10"},
            )
        self._count += 1
        return _Events(self.events(record, position, may_stay), self._leave)

    async def events(
        self, record: DeploymentRecord, position: int, may_stay: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Yield the events: lines, and at the end ``end`` with the state."""
        try:
            yield "retry: 1000\n\n"
            said_at = time.monotonic()
            while not self._is_stopping:
                record, part = await run_in_threadpool(self._look, record.id, position, may_stay)
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

    def _leave(self) -> None:
        self._count -= 1

    def _look(
        self, deployment: int, position: int, may_stay: Callable[[], bool]
    ) -> tuple[DeploymentRecord, LogPart]:
        if not may_stay():
            raise AuthenticationFailed("The token has expired or was removed.")
        # The state first: what is there when it has ended is all there is going to be.
        record = self._installation.store.deployments.get(deployment)
        logs = self._installation.engine.logs
        return record, logs.part(record.application, record.id, position, lines=200)


class _Events(StreamingResponse):
    """An answer that tells when it has ended, however that came, even before it began."""

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        headers = {"X-Accel-Buffering": "no"}  # nginx would keep lines back
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _event(kind: str, data: str, place: int) -> str:
    return f"event: {kind}\nid: {place}\ndata: {data}\n\n"
