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
        outcome: ``accepted`` (a trigger is stored), ``known`` (it arrived before), or ``ignored``.
            In the list of events also ``refused``, or ``dropped`` if deliveries arrived too fast to
            be recorded.
        reason: Why it was ignored or refused, as a code.
        message: Why it was ignored or refused, as a sentence.
        sender: The network address that it came from.
        delivery: The git host's identifier.
        deployment: The deployment that settled the trigger.
        count: The number of deliveries, of which this is the last one.
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
    """Deliveries that were refused for one reason, or that came too fast to be recorded.

    Attributes:
        sender: The network address that the last one came from.
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
