"""Everything that happens, as one stream of server-sent events.

All clients share one task, which reads the store while there are clients. An event's id has the
process, a number, and a mark of the store (``deploycore.store.changes``). A client that reconnects
sends the last id. The same process then sends the events that the client missed. Another process,
or the same one after a restart, sends the current state of everything that may have changed since.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from deploycore.errors import AuthenticationFailed, DeploycoreError
from deploycore.installation import Installation
from deploycore.server.delivery_views import DeliveryView
from deploycore.server.subscribers import ALIVE, RETRY, Batch, Stream, Subscribers, event
from deploycore.server.views import DeploymentView, TriggerView
from deploycore.store import DeliveryRecord, DeploymentRecord, TriggerRecord
from deploycore.store.changes import Looked, Mark

__all__ = ["Feed", "Filter", "Position", "position_text"]

_LOOK_SECONDS = 0.5
_ALIVE_SECONDS = 15.0
_CHECK_SECONDS = 1.0
_REMEMBERED = 1000
_OVERLAP = 64
"""How many ids back to read again: a transaction with a smaller id may be committed later."""

_POSITION = re.compile(
    r"([0-9a-f]{8})\.(\d{1,15})\.(\d{1,10})\.(\d{1,10})(?:\.(\d{1,10}))?", re.ASCII
)
_NOBODY = "0" * 8


@dataclass(frozen=True)
class Position:
    """The content of an event's id.

    Attributes:
        process: A random text of the process that sent it.
        number: Its number in that process.
        mark: The mark of the store.
    """

    process: str
    number: int
    mark: Mark

    @classmethod
    def of(cls, text: str | None) -> Position | None:
        """Return the position that a client sent; ``None`` if it sent none or an invalid one."""
        found = _POSITION.fullmatch((text or "").strip())
        if found is None:
            return None
        largest = 2**31 - 1
        number, *ids = (int(each) for each in found.groups(default=str(largest))[1:])
        return cls(found[1], number, Mark(*(min(each, largest) for each in ids)))

    def __str__(self) -> str:
        ids = f"{self.mark.deployment}.{self.mark.trigger}.{self.mark.delivery}"
        return f"{self.process}.{self.number}.{ids}"


def position_text(mark: Mark) -> str:
    """Return the position from which a client can follow, if it was shown the state at a mark."""
    return str(Position(_NOBODY, 0, mark))


@dataclass(frozen=True)
class News:
    """Something that happened.

    Attributes:
        data: What it is about, as JSON.
        application: The application that it is about; empty if it is about none.
        deployment, trigger, delivery: Its id, if it is about one.
    """

    kind: str
    data: str
    application: str = ""
    deployment: int | None = None
    trigger: int | None = None
    delivery: int | None = None


@dataclass(frozen=True)
class Filter:
    """The events that a client wants.

    Attributes:
        application: Only events of this application; ``None`` for all.
        kinds: Only events of these kinds; empty for all.
    """

    application: str | None = None
    kinds: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Whether the client wants all events."""
        return self.application is None and not self.kinds

    def wants(self, news: News) -> bool:
        """Whether the client wants an event."""
        is_kind = not self.kinds or news.kind in self.kinds
        return is_kind and self.application in (None, news.application)


ALL_EVENTS = Filter()


@dataclass(frozen=True)
class Sent:
    """An event that was sent to those who want it.

    Attributes:
        place: The id of the event.
        text: The event as it is sent.
    """

    number: int
    place: str
    news: News
    text: str


@dataclass(frozen=True)
class NewsBatch(Batch):
    """A batch of events.

    Attributes:
        sent: The same events.
    """

    sent: Sequence[Sent] = ()


class Watch:
    """Compares the store with its state at the last reading."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self._deployments: dict[int, tuple[object, ...]] = {}
        self._triggers: dict[int, tuple[object, ...]] = {}
        self._deliveries: set[int] = set()
        self._first_delivery = mark.delivery
        self._providers: dict[str, object] | None = None

    @property
    def open_deployments(self) -> list[int]:
        """The ids of known deployments that have not ended."""
        return [number for number, (is_over, *_) in self._deployments.items() if not is_over]

    @property
    def open_triggers(self) -> list[int]:
        """The ids of known triggers that have not been settled."""
        return [number for number, (is_over, *_) in self._triggers.items() if not is_over]

    @property
    def overlap(self) -> Mark:
        """The mark from which to read again."""
        newest = max(self._deployments, default=self.mark.deployment)
        last = max(self._triggers, default=self.mark.trigger)
        return Mark(
            max(self.mark.deployment, newest - _OVERLAP),
            max(self.mark.trigger, last - _OVERLAP),
            max(self._first_delivery, self.mark.delivery - _OVERLAP),
        )

    def take(self, looked: Looked) -> list[News]:
        """Return what is new, and remember it."""
        found = [
            *(
                deployment_news(each)
                for each in looked.deployments
                if _differs(self._deployments, each.id, _of_deployment(each))
            ),
            *(
                trigger_news(each)
                for each in looked.triggers
                if _differs(self._triggers, each.id, _of_trigger(each))
            ),
            *(delivery_news(each) for each in looked.deliveries if each.id not in self._deliveries),
        ]
        self._deliveries.update(each.id for each in looked.deliveries)
        now: dict[str, object] = dict(looked.providers)
        if self._providers is not None and now != self._providers:
            names = {
                name
                for name in {*now, *self._providers}
                if now.get(name) != self._providers.get(name)
            }
            found += [_provider_news(name, is_there=name in now) for name in sorted(names)]
        self._providers = now
        self._forget(looked)
        return found

    def _forget(self, looked: Looked) -> None:
        """Remove what has ended and is old, or was removed with its application. Then move the
        mark."""
        if looked.is_all:
            for known, seen in (
                (self._deployments, {each.id for each in looked.deployments}),
                (self._triggers, {each.id for each in looked.triggers}),
            ):
                for number in [each for each in known if each not in seen and not known[each][0]]:
                    del known[number]
        for known in (self._deployments, self._triggers):
            newest = max(known, default=0)
            for number in [each for each in known if each <= newest - 2 * _OVERLAP]:
                if known[number][0]:
                    del known[number]
        self.mark = Mark(
            _floor(self._deployments, self.mark.deployment),
            _floor(self._triggers, self.mark.trigger),
            max(self._deliveries, default=self.mark.delivery),
        )
        oldest = self.mark.delivery - 2 * _OVERLAP
        self._deliveries = {each for each in self._deliveries if each > oldest}


class Feed:
    """The clients that follow everything.

    Args:
        most: The maximum number of clients.
    """

    def __init__(self, installation: Installation, *, most: int) -> None:
        self._installation = installation
        self._stream = Stream(
            most,
            f"{most} clients are already following events.",
            hint="Try again later, or request the events as JSON.",
        )
        self._process = secrets.token_hex(4)
        self._number = 0
        self._sent: deque[Sent] = deque(maxlen=_REMEMBERED)
        self._subscribers = Subscribers()
        self._watch: Watch | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_stopping = False

    def stop(self) -> None:
        """Disconnect all clients soon. They can connect again and continue at their position."""
        self._is_stopping = True

    def answer(
        self,
        position: Position | None,
        *,
        may_stay: Callable[[], bool],
        owner: str,
        wanted: Filter = ALL_EVENTS,
    ) -> Response:
        """Return the response for one more client.

        Args:
            position: What the client has seen; ``None`` to begin now.
            may_stay: Returns whether the client may still read. It is called in a thread.
            owner: The user or token that the client belongs to.
            wanted: The events that the client wants.

        Raises:
            Refusal: There are too many clients.
        """
        return self._stream.answer(self.events(position, may_stay, wanted), owner)

    async def events(
        self,
        position: Position | None,
        may_stay: Callable[[], bool],
        wanted: Filter = ALL_EVENTS,
    ) -> AsyncIterator[str]:
        """Yield the events, and ``ready`` once all that was missed is sent."""
        yield RETRY
        try:
            await self._begin()
            with self._subscribers.added(may_stay) as subscriber:
                start = self._number
                missed = self._missed(position, wanted)
                if missed is None and position is not None:
                    missed = await run_in_threadpool(self._present, position.mark, wanted)
                if missed:
                    yield missed
                place = self._position(start)
                yield event("ready", json.dumps({"position": place}), place)
                async for batch in subscriber:
                    text = _filtered(batch, start, wanted)
                    if text:
                        yield text
        except DeploycoreError as error:
            yield event("error", json.dumps({"code": error.code}), 0)

    async def _begin(self) -> None:
        """Start to read the store."""
        if self._reader is not None and not self._reader.done():
            return
        watch = await run_in_threadpool(self._begun)
        if self._reader is None or self._reader.done():
            self._watch = watch
            self._sent.clear()
            self._number += 1  # earlier events are not kept
            self._reader = asyncio.create_task(self._read(watch))

    def _begun(self) -> Watch:
        watch = Watch(self._installation.store.changes.mark())
        watch.take(self._installation.store.changes.look(watch.mark))
        return watch

    def _missed(self, position: Position | None, wanted: Filter) -> str | None:
        """Return the events after a position that this process has sent; ``None`` if it does not
        have them any more."""
        if position is None or position.process != self._process:
            return None
        first = self._sent[0].number if self._sent else self._number + 1
        if not first - 1 <= position.number <= self._number:
            return None
        return "".join(
            each.text
            for each in self._sent
            if each.number > position.number and wanted.wants(each.news)
        )

    def _present(self, mark: Mark, wanted: Filter) -> str:
        """Return the current state of everything that may have changed since a mark."""
        looked = self._installation.store.changes.look(mark)
        news = [
            *map(deployment_news, looked.deployments),
            *map(trigger_news, looked.triggers),
            *map(delivery_news, looked.deliveries),
        ]
        text = "".join(event(each.kind, each.data, 0) for each in news if wanted.wants(each))
        return text if looked.is_all else event("reset", "{}", 0) + text

    async def _read(self, watch: Watch) -> None:
        """Read the store repeatedly, until no client follows."""
        told_at = checked_at = time.monotonic()
        try:
            while not self._is_stopping:
                await asyncio.sleep(_LOOK_SECONDS)
                if not self._subscribers:
                    return
                if time.monotonic() - checked_at > _CHECK_SECONDS:
                    checked_at = time.monotonic()
                    for each in await run_in_threadpool(self._subscribers.refused):
                        code = json.dumps({"code": AuthenticationFailed.code})
                        each.end(event("error", code, 0))
                news = await run_in_threadpool(self._look, watch)
                if news:
                    self._send(watch, news)
                    told_at = time.monotonic()
                elif time.monotonic() - told_at > _ALIVE_SECONDS:
                    self._subscribers.put(ALIVE)
                    told_at = time.monotonic()
        except DeploycoreError as error:
            self._subscribers.end(event("error", json.dumps({"code": error.code}), 0))
        finally:
            self._subscribers.end()  # the clients connect again

    def _look(self, watch: Watch) -> list[News]:
        looked = self._installation.store.changes.look(
            watch.overlap,
            deployments_too=watch.open_deployments,
            triggers_too=watch.open_triggers,
        )
        return watch.take(looked)

    def _send(self, watch: Watch, news: list[News]) -> None:
        sent = []
        for index, each in enumerate(news, start=1):
            self._number += 1
            place = self._position(self._number, news[index:])
            text = event(each.kind, each.data, place)
            sent.append(Sent(self._number, place, each, text))
        self._sent.extend(sent)
        texts = [(each.number, each.text) for each in sent]
        self._subscribers.put(NewsBatch(texts, "".join(text for _, text in texts), sent))

    def _position(self, number: int, rest: list[News] | None = None) -> str:
        """Return the id of an event, after which the rest of its batch is still to be sent."""
        assert self._watch is not None  # noqa: S101  it is set before anything is sent
        mark, rest = self._watch.mark, rest or []
        behind = Mark(
            _before_rest(mark.deployment, (each.deployment for each in rest)),
            _before_rest(mark.trigger, (each.trigger for each in rest)),
            _before_rest(mark.delivery, (each.delivery for each in rest)),
        )
        return str(Position(self._process, number, behind))


def _filtered(batch: Batch, start: int, wanted: Filter) -> str:
    """Return the events of a batch that a client wants, as text. If it does not want the last one,
    the text ends with the position instead, so that the client can continue there."""
    if wanted.is_all or not isinstance(batch, NewsBatch):
        return batch.behind(start)
    sent = [each for each in batch.sent if each.number > start]
    text = "".join(each.text for each in sent if wanted.wants(each.news))
    if sent and not wanted.wants(sent[-1].news):
        place = sent[-1].place
        text += event("position", json.dumps({"position": place}), place)
    return text


def deployment_news(record: DeploymentRecord) -> News:
    """Return the event about a deployment."""
    data = DeploymentView.of(record).model_dump_json()
    return News("deployment", data, record.application, deployment=record.id)


def trigger_news(record: TriggerRecord) -> News:
    """Return the event about a request."""
    data = TriggerView.of(record).model_dump_json()
    return News("request", data, record.application, trigger=record.id)


def delivery_news(record: DeliveryRecord) -> News:
    """Return the event about a webhook delivery."""
    data = DeliveryView.of(record).model_dump_json()
    return News("delivery", data, record.application, delivery=record.id)


def _before_rest(mark: int, ids: Iterable[int | None]) -> int:
    """Return the id before the rest: all of the rest have larger ids."""
    return min([mark, *(each - 1 for each in ids if each is not None)])


def _provider_news(name: str, *, is_there: bool) -> News:
    return News("provider", json.dumps({"name": name, "removed": not is_there}))


def _of_deployment(each: DeploymentRecord) -> tuple[object, ...]:
    return (each.is_finished, each.state, each.commit, each.release, each.cancel_requested)


def _of_trigger(each: TriggerRecord) -> tuple[object, ...]:
    return (each.settled_at is not None, each.attempts, each.error_code, each.deployment)


def _differs(known: dict[int, Any], number: int, value: tuple[object, ...]) -> bool:
    if known.get(number) == value:
        return False
    known[number] = value
    return True


def _floor(known: dict[int, tuple[object, ...]], before: int) -> int:
    """Return the id up to which everything has ended."""
    unfinished = [number for number, (is_over, *_) in known.items() if not is_over]
    return min(unfinished) - 1 if unfinished else max(known, default=before)
