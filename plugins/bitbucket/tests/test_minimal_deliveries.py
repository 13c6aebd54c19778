"""Deliveries that lack what is not needed, or have null in its place."""

from __future__ import annotations

import json

import pytest
from deploycore_bitbucket.webhooks import delivered

from deploycore.errors import UnexpectedAnswer
from deploycore.events import WebhookDelivery

HASH = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"
BRANCH = {"type": "branch", "name": "main", "target": {"hash": HASH}}


def push(change):
    body = {"repository": {"full_name": "acme/shop"}, "push": {"changes": [change]}}
    return WebhookDelivery({"x-event-key": "repo:push"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({"new": BRANCH}, None, HASH),
        ({"new": BRANCH, "old": None}, None, HASH),
        ({"old": BRANCH}, HASH, None),
        ({"old": BRANCH, "new": None}, HASH, None),
    ],
)
def test_a_change_has_an_old_value_a_new_value_or_both(change, before, after):
    ((found,),) = (event.changes for event in delivered(push(change)).events)
    assert (found.before, found.after) == (before, after)


def test_a_change_without_both_values_is_rejected():
    with pytest.raises(UnexpectedAnswer, match="neither old nor new"):
        delivered(push({}))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
def test_an_invalid_json_body_is_rejected_with_the_next_step(kind):
    sent = push({"new": BRANCH})
    sent = WebhookDelivery({**sent.headers, "content-type": kind}, sent.body)
    with pytest.raises(UnexpectedAnswer, match="must be JSON") as caught:
        delivered(sent)
    assert "application/json" in caught.value.hint
