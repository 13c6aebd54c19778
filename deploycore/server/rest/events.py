"""Operations about what happens: as a list, and as one stream."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import Field, field_validator
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.delivery_views import DeliveryView
from deploycore.server.edge import note_application
from deploycore.server.feed import Position, position_text
from deploycore.server.rest.operation import Operation
from deploycore.server.views import DeploymentView, Given, TriggerView, View
from deploycore.store import DeliveryRecord, DeploymentRecord, TriggerRecord

__all__ = ["OPERATIONS", "EventQuery"]

_BEFORE = re.compile(r"(\d{1,10})\.(\d{1,10})(?:\.(\d{1,10}))?", re.ASCII)
_LARGEST = 2**31 - 1


Kind = Literal["deployment", "request", "delivery"]
_KINDS = r"^(deployment|request|delivery|provider)(,(deployment|request|delivery|provider)){0,3}$"


class EventView(View):
    """A deployment or a request for one, with its current state, or a webhook delivery.

    Attributes:
        kind: What happened.
        at: When it happened.
        deployment: The deployment, if ``kind`` is ``deployment``.
        request: The stored request, if ``kind`` is ``request``.
        delivery: The delivery, if ``kind`` is ``delivery``.
    """

    kind: Kind
    at: datetime
    application: str
    deployment: DeploymentView | None = None
    request: TriggerView | None = None
    delivery: DeliveryView | None = None


class EventPage(View):
    """A page of events, newest first.

    Attributes:
        position: The position in the stream of events. Send it as ``after`` to follow events from
            here on.
    """

    items: Sequence[EventView]
    position: str
    next: str | None


class EventQuery(Given):
    """The events to return.

    Attributes:
        application: Return only events of this application.
        kind: Return only events of these kinds, separated by commas: ``deployment``, ``request``,
            ``delivery``. A stream also has the kind ``provider``, of no application.
        before: Return events before this position. Use the path in ``next``.
        after: Follow events after this ``position``, in a stream.
    """

    application: Annotated[str, Field(max_length=63)] | None = None
    kind: Annotated[str, Field(pattern=_KINDS)] | None = None
    before: Annotated[str, Field(max_length=40)] | None = None
    after: Annotated[str, Field(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds; empty for all."""
        return frozenset(self.kind.split(",")) if self.kind else frozenset()

    def wants(self, kind: Kind) -> bool:
        """Whether events of a kind are to be returned."""
        return not self.kinds or kind in self.kinds

    @field_validator("before")
    @classmethod
    def _is_a_place(cls, text: str | None) -> str | None:
        if text is not None and not _BEFORE.fullmatch(text):
            raise ValueError("should be the one of the page's next")
        return text

    @field_validator("after")
    @classmethod
    def _is_a_position(cls, text: str | None) -> str | None:
        if text is not None and Position.of(text) is None:
            raise ValueError("should be a position of a list, or the id of an event")
        return text


def list_events(api: Api, call: Call) -> Response:
    """List what happened, newest first. As text/event-stream, follow what happens.

    The stream has an event "deployment" for each new deployment and each change of its state, an
    event "request" for each request to deploy and for its outcome, an event "delivery" for each
    delivery to a webhook, and an event "provider" for each change of a provider. With "application"
    and "kind", it has only some of them, and an event "position" after others. To continue after a
    lost connection, send the id of the last event as Last-Event-ID. The event "ready" says that
    everything missed was sent; "reset" says that it was too much, so load again what you show.
    """
    query: EventQuery = call.query
    note_application(query.application)
    store = api.installation.store
    position = position_text(store.changes.mark())
    found = _BEFORE.fullmatch(query.before or "")
    places = found.groups(default=str(_LARGEST)) if found else (_LARGEST,) * 3
    before = tuple(min(int(each), _LARGEST) for each in places)
    lists = _lists(api, query, before)
    # Each kind stays in the order of its ids, even if the clocks of machines differ.
    merged = list(heapq.merge(*lists, key=lambda each: each.at, reverse=True))
    items = merged[: query.limit]
    following = None
    if len(merged) > len(items):
        given = query.model_dump(exclude_none=True, exclude_defaults=True)
        last = {"before": _last_ids(items, before)}
        following = f"{PREFIX}/events?{urlencode(given | last)}"
    return answer(EventPage(items=items, position=position, next=following))


def _lists(api: Api, query: EventQuery, before: Sequence[int]) -> list[list[EventView]]:
    """Return the events by kind."""
    store, limit, application = api.installation.store, query.limit + 1, query.application
    ran, asked, came = before
    lists: list[list[EventView]] = []
    if query.wants("deployment") or application is not None:
        try:
            history = store.deployments.history(application, before=ran, limit=limit)
        except ConfigurationError as error:  # the application does not exist
            raise missing(error) from None
        if query.wants("deployment"):
            lists.append([_of_deployment(each) for each in history])
    if query.wants("request"):
        triggers = store.triggers.list(application, before=asked, limit=limit)
        lists.append([_of_trigger(each) for each in triggers])
    if query.wants("delivery"):
        api.recorder.flush()
        deliveries = store.deliveries.history(application, before=came, limit=limit)
        lists.append([_of_delivery(each) for each in deliveries])
    return lists


def _last_ids(items: Sequence[EventView], before: Sequence[int]) -> str:
    """Return the ids after which the rest of each list follows."""
    kinds = (
        [each.deployment.id for each in items if each.deployment],
        [each.request.id for each in items if each.request],
        [each.delivery.id for each in items if each.delivery],
    )
    return ".".join(str(min([place, *ids])) for place, ids in zip(before, kinds, strict=True))


def _of_deployment(record: DeploymentRecord) -> EventView:
    return EventView(
        kind="deployment",
        at=record.requested_at,
        application=record.application,
        deployment=DeploymentView.of(record),
    )


def _of_trigger(record: TriggerRecord) -> EventView:
    return EventView(
        kind="request",
        at=record.received_at,
        application=record.application,
        request=TriggerView.of(record),
    )


def _of_delivery(record: DeliveryRecord) -> EventView:
    return EventView(
        kind="delivery",
        at=record.received_at,
        application=record.application,
        delivery=DeliveryView.of(record),
    )


OPERATIONS = (
    Operation(
        "GET",
        f"{PREFIX}/events",
        "read",
        list_events,
        {200: EventPage},
        query=EventQuery,
        refusals=(404,),
        can_follow=True,
    ),
)
