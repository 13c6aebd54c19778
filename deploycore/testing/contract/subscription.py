"""A repository of the sandbox whose deliveries are sent to the kit's listener."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from deploycore.events import (
    PushEvent,
    Webhook,
    WebhookDelivery,
)
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.registry import Plugin
from deploycore.testing.contract.base import (
    NO_HOOK,
    NO_WEBHOOKS,
    Connect,
    ContractBase,
    asked,
    identity,
)
from deploycore.testing.scenarios import ONE, Arranged, ContractHost, WebhookHost
from deploycore.testing.webhooks import Listener

__all__ = ["SECRET", "Subscribed", "Subscription", "webhook_host"]

SECRET = SecretStr("kit-Q7x-2fVb9nLs")
FILES = {"index.html": b"<h1>Shop</h1>\n"}


def webhook_host(plugin: Plugin, host: ContractHost, *hooks: str) -> WebhookHost:
    """The sandbox with its optional features. Skips the check if the sandbox, or the provider, does
    not support them."""
    for hook in hooks:
        if hook not in plugin.hooks:
            pytest.skip(NO_HOOK.format(hook=hook))
    if not isinstance(host, WebhookHost):
        pytest.skip(NO_WEBHOOKS)
    return host


@dataclass(frozen=True)
class Subscribed:
    """A repository whose deliveries are sent to a listener."""

    host: WebhookHost
    provider: Provider
    listener: Listener
    shop: Arranged
    webhook: Webhook

    @property
    def repository(self) -> RepositoryId:
        return identity(self.shop)

    def push(self, branch: str | None = None, text: bytes = b"1") -> str:
        """Push a commit to the default branch, or to another one."""
        owner, slug = self.shop.owner, self.shop.slug
        files = {**FILES, "text": text}
        return self.host.publish(owner, slug, branch or self.shop.default_branch, files, "Change")

    def received(self) -> Sequence[WebhookDelivery]:
        """Wait until everything is delivered, and return all deliveries."""
        assert self.host.webhooks.wait(), "the sandbox has not delivered after 30 seconds"
        return self.listener.received

    def told(self) -> Sequence[WebhookDelivery]:
        """Return the deliveries that have events; a ping has none."""
        return [found for found in self.received() if self.provider.parse_webhook(found).events]

    def last(self) -> WebhookDelivery:
        """The latest delivery."""
        received = self.received()
        assert received, asked("register_webhook", "the host sends deliveries for later pushes")
        return received[-1]

    def event(self) -> PushEvent:
        """Return the only event of the latest delivery, which must be a push."""
        events = self.provider.parse_webhook(self.last()).events
        assert len(events) == 1, asked("parse_webhook", "a push causes one event")
        assert isinstance(events[0], PushEvent)
        return events[0]


class Subscription(ContractBase):
    """The fixtures of checks that need a subscribed repository."""

    @pytest.fixture
    def listener(self) -> Iterator[Listener]:
        """The listener that receives the deliveries."""
        with Listener() as running:
            yield running

    @pytest.fixture
    def subscribed(
        self, plugin: Plugin, host: ContractHost, connect: Connect, listener: Listener
    ) -> Subscribed:
        """A repository with a webhook that sends to the listener, signed with ``SECRET``."""
        able = webhook_host(plugin, host, "verify_webhook", "parse_webhook", "register_webhook")
        (shop,) = host.arrange(ONE)
        provider = connect()
        webhook = provider.register_webhook(identity(shop), listener.address, SECRET)
        return Subscribed(able, provider, listener, shop, webhook)
