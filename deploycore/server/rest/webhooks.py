"""Operations on an application's webhook, and on the deliveries that it received."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from pydantic import Field
from starlette.responses import Response

from deploycore.errors import ConfigurationError
from deploycore.installation.webhooks import describe_remaining
from deploycore.server.api import PREFIX, Api, Call, answer, missing
from deploycore.server.checking import checked
from deploycore.server.delivery_views import DeliveryView, RefusedView
from deploycore.server.rest.operation import Operation
from deploycore.server.views import Given, Identifier, View
from deploycore.store import ApplicationRecord, WebhookRecord
from deploycore.store.deliveries import DELIVERIES_MOST

__all__ = ["OPERATIONS"]

_WEBHOOK = f"{PREFIX}/applications/{{application}}/webhook"
_HOST_FAILS = (502, 504)
_GRACE_MOST = 30 * 86_400

T = TypeVar("T")


class WebhookView(View):
    """The webhook of an application, without its secrets.

    Attributes:
        exists: Whether the application has a webhook. If not, deliveries are refused.
        url: Where the host sends deliveries; ``None`` if the server's address is not known.
        hosts_id: The identifier at the host; ``None`` if the webhook was set up by hand.
        provider: The provider that it was registered with; ``None`` if there is no webhook.
        repository: The repository that it was registered for.
        former_until: When the previous secret expires.
        is_former_valid: Whether the previous secret is still valid.
        delivered_at: When the last delivery with a valid signature arrived, to the minute.
        deploys_pushes: Whether the application deploys on pushes at all.
        at_host: What you would have to remove at the git host yourself; ``None`` if there is no
            webhook.
    """

    exists: bool
    url: str | None
    hosts_id: str | None
    provider: str | None
    repository: str | None
    former_until: datetime | None
    is_former_valid: bool
    created_at: datetime | None
    delivered_at: datetime | None
    deploys_pushes: bool
    at_host: str | None


class WebhookGiven(Given):
    """How to set up a webhook.

    Attributes:
        server_url: The address at which git hosts reach this server (default: the public address in
            the server's settings).
        by_hand: Whether to create only the secret, because you set up the webhook at the git host
            yourself.
    """

    server_url: Annotated[str, Field(max_length=2048)] | None = None
    by_hand: bool = False


class RotationGiven(Given):
    """How to replace the secret of a webhook.

    Attributes:
        grace_seconds: Seconds until the previous secret expires.
        server_url: The address at which git hosts reach this server, if it has changed.
    """

    grace_seconds: Annotated[int, Field(ge=0, le=_GRACE_MOST)] = 86_400
    server_url: Annotated[str, Field(max_length=2048)] | None = None


class WebhookRemovalQuery(Given):
    """How to remove a webhook.

    Attributes:
        keep_at_host: Whether to keep the webhook at the git host.
    """

    keep_at_host: bool = False


class WebhookRemoved(View):
    """The result of removing a webhook.

    Attributes:
        removed_at_host: Whether the git host removed it.
        remains: What you have to remove at the git host yourself.
    """

    removed_at_host: bool
    remains: str | None


class WebhookSecret(View):
    """The secret of a webhook.

    Attributes:
        secret: The secret with which the git host signs deliveries.
    """

    secret: str


class DeliveryPage(View):
    """A page of deliveries, newest first.

    Attributes:
        items: The deliveries.
        refused: The deliveries that were refused, by reason.
    """

    items: Sequence[DeliveryView]
    refused: Sequence[RefusedView]
    next: str | None


class DeliveryQuery(Given):
    """The deliveries to return.

    Attributes:
        before: Return deliveries that are older than the delivery with this id.
    """

    before: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=DELIVERIES_MOST)] = DELIVERIES_MOST


def get_webhook(api: Api, call: Call) -> Response:
    """Get the state of an application's webhook."""
    return answer(_view(api, api.application(call.path["application"])))


def register_webhook(api: Api, call: Call) -> Response:
    """Register an application's webhook at the git host, or update it there.

    With "by_hand", this only creates the secret, and you set up the webhook at the git host.
    """
    record = api.application(call.path["application"])
    given = checked(WebhookGiven, call.body)
    webhooks = api.installation.webhooks
    address = webhooks.url(record.name, given.server_url or None)
    if given.by_hand:
        webhooks.prepare(record.name)
    else:
        api.hosts.ask(lambda: webhooks.register(record.name, address))
    api.directory.invalidate()
    return answer(_view(api, record, address))


def rotate_webhook(api: Api, call: Call) -> Response:
    """Replace the secret of a webhook, here and at the git host if it is registered there.

    The previous secret stays valid for "grace_seconds". If the request fails, send it again.
    """
    record = api.application(call.path["application"])
    given = checked(RotationGiven, call.body)
    grace, webhooks = timedelta(seconds=given.grace_seconds), api.installation.webhooks
    url = webhooks.url(record.name, given.server_url) if given.server_url else None
    _existing(lambda: api.installation.store.webhooks.get(record.name))
    api.hosts.ask(lambda: webhooks.rotate(record.name, grace=grace, url=url))
    api.directory.invalidate()
    return answer(_view(api, record))


def reveal_webhook_secret(api: Api, call: Call) -> Response:
    """Get the secret of a webhook, to set it up at the git host by hand."""
    record = api.application(call.path["application"])
    webhook = _existing(lambda: api.installation.store.webhooks.get(record.name))
    secret = api.installation.secrets.reveal(webhook.secret).get_secret_value()
    return answer(WebhookSecret(secret=secret))


def remove_webhook(api: Api, call: Call) -> Response:
    """Remove a webhook and its secrets, here and at the git host.

    If the git host cannot remove it, nothing is removed. Without a webhook, pushes are found only
    by polling.
    """
    record, query = api.application(call.path["application"]), call.query
    webhook = _existing(lambda: api.installation.store.webhooks.get(record.name))
    remove = api.installation.webhooks.remove
    removed = api.hosts.ask(lambda: remove(record.name, at_host=not query.keep_at_host))
    api.directory.invalidate()
    is_gone = removed or (webhook.hosts_id is not None and not query.keep_at_host)
    remains = None if is_gone else describe_remaining(webhook, record.definition)
    return answer(WebhookRemoved(removed_at_host=removed, remains=remains))


def list_deliveries(api: Api, call: Call) -> Response:
    """List the last deliveries to an application's webhook, with the result of each.

    "refused" counts the deliveries that were refused, by reason.
    """
    record, query = api.application(call.path["application"]), call.query
    api.recorder.flush()
    store = api.installation.store.deliveries
    found = store.list(record.name, before=query.before, limit=query.limit + 1)
    items = found[: query.limit]
    following = None
    if len(found) > len(items):
        given = {"before": items[-1].id, "limit": query.limit}
        path = f"{PREFIX}/applications/{record.name}/deliveries"
        following = f"{path}?{urlencode(given)}"
    return answer(
        DeliveryPage(
            items=[DeliveryView.of(each) for each in items],
            refused=[RefusedView.of(each) for each in store.list_refused(record.name)],
            next=following,
        )
    )


def _view(api: Api, record: ApplicationRecord, address: str | None = None) -> WebhookView:
    found = api.installation.store.webhooks.find(record.name)
    url = (found.url if found else None) or address
    if url is None and api.installation.settings.public_url is not None:
        url = api.installation.webhooks.url(record.name)
    auto = record.definition.auto_deploy
    return WebhookView(
        exists=found is not None,
        url=url,
        hosts_id=found.hosts_id if found else None,
        provider=found.provider if found else None,
        repository=found.repository if found else None,
        former_until=found.former_until if found else None,
        is_former_valid=found is not None and _is_former_valid(found),
        created_at=found.created_at if found else None,
        delivered_at=found.delivered_at if found else None,
        deploys_pushes=auto is not None and auto.push,
        at_host=describe_remaining(found, record.definition) if found else None,
    )


def _is_former_valid(webhook: WebhookRecord) -> bool:
    until = webhook.former_until
    return webhook.former is not None and (until is None or until > datetime.now(UTC))


def _existing(read: Callable[[], T]) -> T:
    """Return the webhook of an application that exists.

    Raises:
        Refusal: The application has no webhook (404).
    """
    try:
        return read()
    except ConfigurationError as error:
        raise missing(error) from None


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", _WEBHOOK, "read", get_webhook, {200: WebhookView}),
    Operation(
        "POST",
        _WEBHOOK,
        "admin",
        register_webhook,
        {200: WebhookView},
        body=WebhookGiven,
        refusals=_HOST_FAILS,
    ),
    Operation(
        "DELETE",
        _WEBHOOK,
        "admin",
        remove_webhook,
        {200: WebhookRemoved},
        query=WebhookRemovalQuery,
        refusals=_HOST_FAILS,
    ),
    Operation(
        "POST",
        f"{_WEBHOOK}/rotate",
        "admin",
        rotate_webhook,
        {200: WebhookView},
        body=RotationGiven,
        refusals=_HOST_FAILS,
    ),
    Operation("POST", f"{_WEBHOOK}/reveal", "admin", reveal_webhook_secret, {200: WebhookSecret}),
    Operation(
        "GET",
        f"{PREFIX}/applications/{{application}}/deliveries",
        "read",
        list_deliveries,
        {200: DeliveryPage},
        query=DeliveryQuery,
    ),
)
