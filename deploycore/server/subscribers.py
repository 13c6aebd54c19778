"""Clients that receive server-sent events: their queues, and the response that carries them.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from deploycore.server.problems import Refusal

__all__ = ["ALIVE", "RETRY", "Batch", "Stream", "Subscriber", "Subscribers", "event"]

RETRY = "retry: 1000\n\n"
"""The number of milliseconds that browsers wait before they connect again."""

_WAITING_MOST = 256
_SHARE_LEAST = 16


def event(kind: str, data: str, place: int | str) -> str:
    """Return an event.

    Args:
        data: One line.
        place: The event's id. With ``0``, the client's position stays.
    """
    identifier = f"id: {place}\n" if place else ""
    return f"event: {kind}\n{identifier}data: {data}\n\n"


@dataclass(frozen=True)
class Batch:
    """Events that belong together; all clients share it.

    Attributes:
        texts: The events, each with its place.
        text: All of them.
    """

    texts: Sequence[tuple[int, str]]
    text: str

    @classmethod
    def of(cls, texts: Sequence[tuple[int, str]]) -> Batch | None:
        """Return the batch of some events; ``None`` if there are none."""
        return cls(texts, "".join(text for _, text in texts)) if texts else None

    @property
    def last(self) -> int:
        """The place of the last event."""
        return self.texts[-1][0]

    def behind(self, place: int) -> str:
        """Return the events after a place, and those without a place of their own."""
        if self.texts[0][0] > place:
            return self.text
        return "".join(text for at, text in self.texts if at > place or not at)


ALIVE = Batch(((0, ": still here\n\n"),), ": still here\n\n")
"""A comment, so that proxies keep a quiet connection open."""


class Subscriber:
    """A client's queue. Iterate it for the batches.

    Args:
        may_stay: Returns whether the client may still read. It is called in a thread.

    Attributes:
        is_behind: Whether the client was so slow that batches were left out; the iteration has
            ended then.
    """

    def __init__(self, may_stay: Callable[[], bool]) -> None:
        self.may_stay = may_stay
        self.is_behind = False
        self._batches: deque[Batch] = deque()
        self._changed = asyncio.Event()
        self._has_ended = False

    def put(self, batch: Batch) -> None:
        """Add a batch. If too many batches wait, the iteration ends after them instead."""
        if self._has_ended:
            return
        if len(self._batches) >= _WAITING_MOST:
            self.is_behind = self._has_ended = True
        else:
            self._batches.append(batch)
        self._changed.set()

    def end(self, text: str = "") -> None:
        """End the iteration after the batches that wait, and after a last text."""
        if text:
            self.put(Batch(((0, text),), text))
        self._has_ended = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield batches, until the end."""
        while True:
            while self._batches:
                yield self._batches.popleft()
            if self._has_ended:
                return
            self._changed.clear()
            await self._changed.wait()


class Subscribers:
    """The clients of one source of events."""

    def __init__(self) -> None:
        self._all: set[Subscriber] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(tuple(self._all))

    @contextmanager
    def added(self, may_stay: Callable[[], bool]) -> Iterator[Subscriber]:
        """Add a client for the duration of the block."""
        made = Subscriber(may_stay)
        self._all.add(made)
        try:
            yield made
        finally:
            self._all.discard(made)

    def refused(self) -> list[Subscriber]:
        """Return the clients that may not continue. Call it in a thread."""
        return [each for each in self if not each.may_stay()]

    def put(self, batch: Batch) -> None:
        """Add a batch for all clients."""
        for each in self:
            each.put(batch)

    def end(self, text: str = "") -> None:
        """End the iteration of all clients."""
        for each in self:
            each.end(text)


class Stream:
    """Responses with events, in a limited number. One user or token may have half of them, so that
    others can follow too.

    Args:
        most: Their maximum number.
        full: The message for clients if the maximum is reached.
        hint: The next step for these clients.
    """

    def __init__(self, most: int, full: str, *, hint: str) -> None:
        self._most = most
        self._full = full
        self._hint = hint
        self._count = 0
        self._by_owner: dict[str, int] = {}

    def answer(self, events: AsyncIterator[str], owner: str) -> Response:
        """Return the response for one more client.

        Args:
            owner: The user or token that the client belongs to.

        Raises:
            Refusal: There are too many clients, in total or of the owner.
        """
        own = self._by_owner.get(owner, 0)
        if self._count >= self._most or own >= max(self._most // 2, _SHARE_LEAST):
            raise Refusal(
                503,
                "too_many_followers",
                self._full,
                hint=self._hint,
                headers={"Retry-After": "10"},
            )
        self._count += 1
        self._by_owner[owner] = own + 1
        return _Events(events, partial(self._leave, owner))

    def _leave(self, owner: str) -> None:
        self._count -= 1
        self._by_owner[owner] -= 1
        if not self._by_owner[owner]:
            del self._by_owner[owner]


class _Events(StreamingResponse):
    """A response that reports its end in every case, even if it never began."""

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        headers = {"X-Accel-Buffering": "no"}  # otherwise nginx would hold lines back
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()
