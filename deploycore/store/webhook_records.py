"""The records of webhooks and deliveries. All of them are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = [
    "DeliveryOutcome",
    "DeliveryRecord",
    "WebhookRecord",
]

DeliveryOutcome = Literal["accepted", "known", "ignored", "refused", "dropped"]
"""The result of a delivery. ``dropped`` ones came faster than they could be recorded."""


@dataclass(frozen=True)
class WebhookRecord:
    """The webhook of an application.

    Attributes:
        application: The name of the application.
        secret: The secret, as :class:`deploycore.secrets.SecretBox` stores it.
        former: The previous secret in the same form, while it is still valid.
        former_until: Until when the previous secret is valid; ``None`` until the host has confirmed
            the current one.
        hosts_id: The git host's identifier; ``None`` if the webhook was set up by hand.
        url: The address that the host sends deliveries to, as far as it is known.
        created_at: The time of its creation, with a time zone.
        delivered_at: The time of the last delivery with a valid signature, to the minute.
        provider: The provider whose host has the webhook; ``None`` if it is unknown.
        repository: The repository that it was registered for, as ``owner/slug``.
    """

    application: str
    secret: str = field(repr=False)
    former: str | None = field(repr=False)
    former_until: datetime | None
    hosts_id: str | None
    url: str | None
    created_at: datetime
    delivered_at: datetime | None
    provider: str | None = None
    repository: str | None = None


@dataclass(frozen=True)
class DeliveryRecord:
    """A delivery to an application's webhook, and its result.

    Deliveries that were refused or dropped share one record for each reason, which describes the
    last of them.

    Attributes:
        application: The name of the application.
        outcome: The result.
        reason: Why it was refused or ignored, as one of a few words; may be empty.
        message: The reason for people, if ``reason`` alone is not enough; may be empty.
        event: The kind of the event: ``push`` or ``pull_request``; empty if it was not read.
        ref: The branch or tag of the event; may be empty.
        commit: The commit that the event is about.
        actor: The name of the account that caused the event; may be empty.
        sender: The network address that it came from.
        delivery: The git host's identifier of the delivery; may be empty.
        trigger: The trigger that was stored for it.
        received_at: When it arrived. If there are several, when the last of them arrived.
        first_at: When the first of them arrived.
        count: The number of deliveries that the record is about.
        id: A number that grows with each record; 0 before it is stored.
        deployment: The deployment that settled the trigger, as long as the trigger is stored.
    """

    application: str
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
    received_at: datetime
    first_at: datetime
    count: int = 1
    id: int = 0
    deployment: int | None = None
