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
from deploycore.server.edge import note_application
from deploycore.server.feed import Position, position_text
from deploycore.server.rest.operation import Operation
from deploycore.server.views import DeploymentView, Given, TriggerView, View
from deploycore.store import DeploymentRecord, TriggerRecord

__all__ = ["OPERATIONS", "EventQuery"]

_BEFORE = re.compile(r"(\d{1,10})\.(\d{1,10})", re.ASCII)
_LARGEST = 2**31 - 1


class EventView(View):
    """A deployment, or a request for one, with its current state.

    Attributes:
        kind: What happened.
        at: When it happened.
        deployment: The deployment, if ``kind`` is ``deployment``.
        request: The stored request, if ``kind`` is ``request``.
    """

    kind: Literal["deployment", "request"]
    at: datetime
    application: str
    deployment: DeploymentView | None
    request: TriggerView | None


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
        before: Return events before this position. Use the path in ``next``.
        after: Follow events after this ``position``, in a stream.
    """

    application: Annotated[str, Field(max_length=63)] | None = None
    before: Annotated[str, Field(max_length=30)] | None = None
    after: Annotated[str, Field(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50

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
    event "request" for each request to deploy and for its outcome, and an event "provider" for
    each change of a provider. To continue after a lost connection, send the id of the last event as
    Last-Event-ID. The event "ready" says that everything missed was sent; "reset" says that it was
    too much, so load again what you show.
    """
    query: EventQuery = call.query
    note_application(query.application)
    store = api.installation.store
    position = position_text(store.changes.mark())
    found = _BEFORE.fullmatch(query.before or "")
    ran, asked = (min(int(each), _LARGEST) for each in found.groups()) if found else (None, None)
    try:
        deployments = store.deployments.history(
            query.application, before=ran, limit=query.limit + 1
        )
    except ConfigurationError as error:
        raise missing(error) from None
    triggers = store.triggers.list(query.application, before=asked, limit=query.limit + 1)
    lists = (map(_of_deployment, deployments), map(_of_trigger, triggers))
    # Each kind stays in the order of its ids, whatever the clocks of machines said.
    both = list(heapq.merge(*lists, key=lambda each: each.at, reverse=True))
    items = both[: query.limit]
    following = None
    if len(both) > len(items):
        last = _last_ids(items, ran or _LARGEST, asked or _LARGEST)
        given = query.model_dump(exclude_none=True, exclude_defaults=True)
        following = f"{PREFIX}/events?{urlencode(given | {'before': last})}"
    return answer(EventPage(items=items, position=position, next=following))


def _last_ids(items: Sequence[EventView], ran: int, asked: int) -> str:
    """Behind which ids the rest of both lists is."""
    ids = [each.deployment.id for each in items if each.deployment]
    others = [each.request.id for each in items if each.request]
    return f"{min([ran, *ids])}.{min([asked, *others])}"


def _of_deployment(record: DeploymentRecord) -> EventView:
    return EventView(
        kind="deployment",
        at=record.requested_at,
        application=record.application,
        deployment=DeploymentView.of(record),
        request=None,
    )


def _of_trigger(record: TriggerRecord) -> EventView:
    return EventView(
        kind="request",
        at=record.received_at,
        application=record.application,
        deployment=None,
        request=TriggerView.of(record),
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
