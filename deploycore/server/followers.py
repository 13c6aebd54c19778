"""Logs as server-sent events, while deployments run.

All clients share one reader: a task that reads the logs that are followed, and the states of their
deployments with one statement. A client that connects, or is slow, reads for itself until it has
caught up. An event's id is the position in the log behind its line; clients that reconnect send it
as ``Last-Event-ID``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from deploycore.deploy import LogLine, LogPart
from deploycore.errors import AuthenticationFailed, ConfigurationError, DeploycoreError
from deploycore.installation import Installation
from deploycore.server.subscribers import (
    ALIVE,
    RETRY,
    Batch,
    Stream,
    Subscriber,
    Subscribers,
    event,
)
from deploycore.store import DeploymentRecord
from deploycore.times import for_machines

__all__ = ["Followers", "position_of"]

_LOOK_SECONDS = 0.3
_ALIVE_SECONDS = 15.0
_CHECK_SECONDS = 1.0
_AHEAD_SECONDS = 0.1
_LINES = 200
_THREADS = 4
"""The maximum number of clients that read for themselves at once. More would take more memory, with
a part of a log for each, and would not be faster."""
_LINES_AT_ONCE = 2000
_DIGITS = 16
_LAST_LINES = timedelta(seconds=0.5)


def position_of(last_event_id: str | None) -> int:
    """Return the position that a client sent; the beginning if it sent none or an invalid one."""
    text = (last_event_id or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if is_number else 0


@dataclass(frozen=True)
class _Found:
    """What the reader found in a log: lines after the position, and perhaps the end."""

    batch: Batch | None
    position: int
    end: str


@dataclass
class _Channel:
    """A log that is followed.

    Attributes:
        position: The position up to which every subscriber has the log.
    """

    application: str
    position: int
    subscribers: Subscribers = field(default_factory=Subscribers)
    told_at: float = field(default_factory=time.monotonic)

    def tell(self, found: _Found) -> None:
        """Send the subscribers what was found."""
        self.position = found.position
        batch = found.batch
        if batch is None and time.monotonic() - self.told_at > _ALIVE_SECONDS:
            batch = ALIVE
        if batch is not None:
            self.told_at = time.monotonic()
            self.subscribers.put(batch)
        if found.end:
            self.subscribers.end(found.end)

    def end(self, code: str, *, only: Collection[Subscriber] | None = None) -> None:
        """End all subscribers, or some of them, with an error."""
        for each in self.subscribers:
            if only is None or each in only:
                each.end(_error(code, self.position))


class Followers:
    """The clients that follow logs.

    Args:
        most: The maximum number of clients.
    """

    def __init__(self, installation: Installation, *, most: int) -> None:
        self._installation = installation
        self._stream = Stream(
            most,
            f"{most} clients are already following logs.",
            hint="Try again later, or request the log as JSON.",
        )
        self._threads = CapacityLimiter(_THREADS)
        self._channels: dict[int, _Channel] = {}
        self._reader: asyncio.Task[None] | None = None
        self._is_stopping = False

    def stop(self) -> None:
        """Disconnect all clients soon. They can connect again and continue at their position."""
        self._is_stopping = True

    def answer(
        self, record: DeploymentRecord, position: int, *, may_stay: Callable[[], bool], owner: str
    ) -> Response:
        """Return the response for one more client.

        Args:
            position: The position in the log to start at.
            may_stay: Returns whether the client may still see the log. It is called in a thread.
            owner: The user or token that the client belongs to.

        Raises:
            Refusal: There are too many clients.
        """
        return self._stream.answer(self.events(record, position, may_stay), owner)

    async def events(
        self, record: DeploymentRecord, position: int, may_stay: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Yield the events: lines, and at the end ``end`` with the state."""
        yield RETRY
        try:
            while not self._is_stopping:
                record, part = await to_thread.run_sync(
                    self._look, record.id, position, may_stay, limiter=self._threads
                )
                if part.position != position:
                    position = part.position
                    if part.lines:
                        yield "".join(text for _, text in _lines(part))
                    continue
                if record.is_finished:
                    if _has_just_ended(record):
                        await asyncio.sleep(_LOOK_SECONDS)
                        continue
                    yield _end(record, position)
                    return
                channel = self._channel_at(record, position)
                if channel is None:  # there is more to read
                    await asyncio.sleep(_AHEAD_SECONDS)
                    continue
                with channel.subscribers.added(may_stay) as subscriber:
                    async for batch in subscriber:
                        text = batch.behind(position)
                        if text:
                            position = max(position, batch.last)
                            yield text
                if not subscriber.is_behind:
                    return
        except DeploycoreError as error:
            yield _error(error.code, position)

    def _channel_at(self, record: DeploymentRecord, position: int) -> _Channel | None:
        """Return the channel of a log, unless it is ahead of a position."""
        channel = self._channels.setdefault(record.id, _Channel(record.application, position))
        if channel.position > position:
            return None
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        return channel

    async def _read(self) -> None:
        """Read the logs that are followed, until nobody follows one."""
        checked_at = time.monotonic()
        try:
            while not self._is_stopping:
                await asyncio.sleep(_LOOK_SECONDS)
                self._channels = {
                    number: each for number, each in self._channels.items() if each.subscribers
                }
                if not self._channels:
                    return
                if time.monotonic() - checked_at > _CHECK_SECONDS:
                    checked_at = time.monotonic()
                    await self._dismiss()
                for number, news in (await run_in_threadpool(self._look_at_all)).items():
                    if number in self._channels:
                        self._channels[number].tell(news)
        except DeploycoreError as error:
            for each in self._channels.values():
                each.end(error.code)
        finally:
            for each in self._channels.values():
                each.subscribers.end()  # the clients connect again
            self._channels = {}

    async def _dismiss(self) -> None:
        """End the clients that may not continue."""
        for channel in tuple(self._channels.values()):
            refused = await run_in_threadpool(channel.subscribers.refused)
            channel.end(AuthenticationFailed.code, only=refused)

    def _look_at_all(self) -> dict[int, _Found]:
        followed = dict(self._channels)
        # Read the states first: if a deployment has ended, the log is complete when it is read
        # afterwards.
        records = self._installation.store.deployments.find(sorted(followed))
        logs, found = self._installation.engine.logs, dict[int, _Found]()
        for number, channel in followed.items():
            part = logs.part(channel.application, number, channel.position, lines=_LINES_AT_ONCE)
            record, end = records.get(number), ""
            if record is None:
                end = _error(ConfigurationError.code, part.position)
            elif (
                record.is_finished
                and not _has_just_ended(record)
                and len(part.lines) < _LINES_AT_ONCE
            ):
                end = _end(record, part.position)
            found[number] = _Found(Batch.of(_lines(part)), part.position, end)
        return found

    def _look(
        self, deployment: int, position: int, may_stay: Callable[[], bool]
    ) -> tuple[DeploymentRecord, LogPart]:
        """Read for one client."""
        if not may_stay():
            raise AuthenticationFailed("The token has expired or was removed.")
        record = self._installation.store.deployments.get(deployment)
        logs = self._installation.engine.logs
        # A position cannot be after the end of the log; otherwise, all other clients would have to
        # read for themselves.
        position = min(position, logs.size(record.application, record.id))
        return record, logs.part(record.application, record.id, position, lines=_LINES)


def _has_just_ended(record: DeploymentRecord) -> bool:
    """Whether the last lines may still be written: the end is recorded before it is logged."""
    ended = record.finished_at
    return ended is not None and abs(datetime.now(UTC) - ended) < _LAST_LINES


def _error(code: str, position: int) -> str:
    return event("error", json.dumps({"code": code}), position)


def _lines(part: LogPart) -> list[tuple[int, str]]:
    return [(place, event("line", _json(line), place)) for place, line in part.lines]


def _json(line: LogLine) -> str:
    """Format a line as ``LogLineView`` does. There are many lines, and this is much faster."""
    at = for_machines(line.at)
    fields = {"at": at, "kind": line.kind, "phase": line.phase, "text": line.text}
    return json.dumps(fields, ensure_ascii=False)


def _end(record: DeploymentRecord, position: int) -> str:
    return event("end", json.dumps({"deployment": record.id, "state": record.state}), position)
