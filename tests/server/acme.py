"""A host that signs its deliveries with HMAC, for tests: its plugin, and its deliveries."""

from __future__ import annotations

import hashlib
import hmac
import json
from itertools import count
from typing import Any

from tests.provider.conftest import GOOD_PROVIDER

PLUGIN = (
    GOOD_PROVIDER
    + """
    @hookimpl
    def verify_webhook(self, delivery, secrets):
        kind, _, signature = delivery.headers.get("x-acme-signature", "").partition("=")
        return kind == "sha256" and hmac_sha256_matches(delivery.body, signature, secrets)

    @hookimpl
    def parse_webhook(self, delivery):
        try:
            found = json.loads(delivery.body)
            return Delivered(
                delivery=delivery.headers.get("x-acme-delivery", ""),
                sent_at=found.get("sent_at"),
                events=[parse_event(each) for each in found["events"]],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UnexpectedAnswer("This is nothing that Acme sends.") from None

    @hookimpl
    def register_webhook(self, repository, url, secret):
        note("register", str(repository), url, secret.get_secret_value())
        is_first = str(repository) == "acme/shop" or os.environ.get("ACME_RENAMED")
        return Webhook(id="hook-1" if is_first else "hook-2", url=url)

    @hookimpl
    def list_webhooks(self, repository):
        yield Webhook(id="hook-1", url="https://deploy.example.com/webhooks/shop")

    @hookimpl
    def remove_webhook(self, repository, webhook):
        note("remove", str(repository), webhook)
        return True

def parse_event(found):
    owner, _, slug = found.pop("repository").rpartition("/")
    repository = RepositoryId(owner=owner, slug=slug)
    if "changes" in found:
        return PushEvent(repository=repository, **found)
    return PullRequestEvent(repository=repository, source=repository, **found)

def note(*what):
    place = os.environ.get("ACME_NOTES")
    if os.environ.get("ACME_FAILS"):
        raise ProviderUnavailable("Acme is down.")
    if place:
        with open(place, "a") as file:
            file.write(json.dumps(what) + "\\n")

import json
import os
from deploycore.errors import ProviderUnavailable, UnexpectedAnswer
from deploycore.events import (
    Delivered, PullRequestEvent, PushEvent, Webhook, hmac_sha256_matches
)
from deploycore.models import RepositoryId
"""
)

_deliveries = count(1)


def push(
    ref: str = "main",
    *,
    before: str | None = "a" * 40,
    after: str | None = "b" * 40,
    repository: str = "acme/shop",
    kind: str = "branch",
    **more: Any,
) -> dict[str, Any]:
    """One event: a push to one ref."""
    change = {"kind": kind, "name": ref, "before": before, "after": after}
    return {"repository": repository, "changes": [change], "actor": "ada", **more}


def pull_request(**more: Any) -> dict[str, Any]:
    """One event: a pull request is opened."""
    return {
        "repository": "acme/shop",
        "number": 7,
        "action": "opened",
        "source_branch": "feature",
        "target_branch": "main",
        "commit": "c" * 40,
        **more,
    }


def body_of(*events: dict[str, Any], **more: Any) -> bytes:
    """A body with some events."""
    return json.dumps({"events": events, **more}).encode()


def signed(body: bytes, secret: str, *, delivery: str | None = None) -> dict[str, str]:
    """The headers that the host sends along."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-Acme-Signature": f"sha256={signature}",
        "X-Acme-Delivery": f"delivery-{next(_deliveries)}" if delivery is None else delivery,
    }
