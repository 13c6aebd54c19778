"""Models of responses about webhook deliveries."""

from __future__ import annotations

from datetime import datetime

from deploycore.server.verdicts import MESSAGES
from deploycore.server.views import View
from deploycore.store import DeliveryOutcome, DeliveryRecord

__all__ = ["DeliveryView", "RefusedView"]


class DeliveryView(View):
    """A delivery, and its result.

    Attributes:
        id: The id of the delivery. Newer deliveries have higher ids.
        received_at: When it arrived.
        outcome: ``accepted`` (a trigger is stored), ``known`` (it was received before), or
            ``ignored``.
        reason: Why it was ignored, as a code.
        message: Why it was ignored, as a sentence.
        event: The name of the event at the git host.
        ref: The branch or tag of the event.
        commit: The commit of the event.
        actor: The account that caused the event; may be empty.
        sender: The network address that it came from.
        delivery: The git host's identifier of the delivery.
        trigger: The id of the stored trigger; ``None`` if there is none.
        deployment: The id of the deployment that settled the trigger.
        count: Number of deliveries that this record counts. It is 1, except for refused and dropped
            ones.
    """

    id: int
    application: str
    received_at: datetime
    outcome: DeliveryOutcome
    reason: str
    message: str
    event: str
    ref: str
    commit: str | None
    actor: str
    sender: str
    delivery: str
    trigger: int | None
    deployment: int | None
    count: int

    @classmethod
    def of(cls, record: DeliveryRecord) -> DeliveryView:
        """The view of a record."""
        view = cls.model_validate(record)
        return view.model_copy(update={"message": _message(record)})


class RefusedView(View):
    """Deliveries that were refused for the same reason, or that came too fast to be recorded one by
    one.

    Attributes:
        outcome: ``refused``, or ``dropped`` if they came too fast.
        reason: Why they were refused, as a code.
        message: Why they were refused, as a sentence.
        count: Number of these deliveries.
        first_at: When the first of them arrived.
        received_at: When the last of them arrived.
        sender: The network address that the last of them came from.
    """

    outcome: DeliveryOutcome
    reason: str
    message: str
    count: int
    first_at: datetime
    received_at: datetime
    sender: str

    @classmethod
    def of(cls, record: DeliveryRecord) -> RefusedView:
        """The view of a record."""
        view = cls.model_validate(record)
        return view.model_copy(update={"message": _message(record)})


def _message(record: DeliveryRecord) -> str:
    return record.message or MESSAGES.get(record.reason, "")
