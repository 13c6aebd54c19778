"""Deliveries of sandboxes: their order, retries, records, and their end with the sandbox."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.testing.faults import Fault, answer, connection_reset, latency
from deploycore.testing.webhooks import DeliveryRules, Event, Hook, Listener, Webhooks, hmac_sha256

RULES = DeliveryRules(timeout=5, attempts=3, pause=0.01, attempt_header="X-Attempt")
SECRET = SecretStr("It's a Secret to Everybody")


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


@pytest.fixture
def make():
    made = []

    def start(rules=RULES):
        made.append(Webhooks(rules, lambda hook, body: {"X-Hook": hook.id}))
        return made[-1]

    yield start
    for webhooks in made:
        webhooks.stop()


@pytest.fixture
def webhooks(make):
    return make()


def hook(listener, id="1", **changes):
    values = {"repository": "ada/shop", "url": listener.address, "events": ("push",)}
    return Hook(id=id, **{**values, **changes})


def test_an_event_is_sent_to_all_subscribed_webhooks(webhooks, listener):
    webhooks.put(hook(listener, "1"))
    webhooks.put(hook(listener, "2", active=False))
    webhooks.put(hook(listener, "3", events=("other",)))
    webhooks.put(hook(listener, "4", repository="ada/notes"))
    webhooks.put(hook(listener, "5", events=("other", "push")))
    webhooks.fire("ada/shop", Event("push", b"{}", {"X-Event": "push"}))
    assert webhooks.wait()
    assert sorted(found.headers["x-hook"] for found in listener.received) == ["1", "5"]
    assert {found.headers["x-event"] for found in listener.received} == {"push"}
    assert [found.is_accepted for found in webhooks.deliveries] == [True, True]


def test_events_arrive_in_order_even_if_one_is_retried(webhooks, listener):
    webhooks.put(hook(listener))
    listener.faults.add(Fault(answer(503), times=1))
    for number in range(20):
        webhooks.fire("ada/shop", Event("push", str(number).encode()))
    assert webhooks.wait()
    expected = ["0", *map(str, range(20))]
    assert [found.body.decode() for found in listener.received] == expected
    assert [found.headers["x-attempt"] for found in listener.received][:3] == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        (answer(500), (500, 500, 500)),
        (connection_reset(), (None, None, None)),
        (answer(404), (404,)),
        (answer(302, headers={"Location": "http://127.0.0.1:1/"}), (302,)),
    ],
)
def test_a_rejected_delivery_is_retried_as_often_as_the_host_does(
    webhooks, listener, change, statuses
):
    webhooks.put(hook(listener))
    listener.faults.add(Fault(change))
    webhooks.fire("ada/shop", Event("push", b"{}"))
    assert webhooks.wait()
    (found,) = webhooks.deliveries
    assert found.statuses == statuses
    assert found.done
    assert not found.is_accepted


def test_a_late_response_counts_as_none(make, listener):
    webhooks = make(DeliveryRules(timeout=0.05, attempts=1))
    webhooks.put(hook(listener))
    listener.faults.add(Fault(latency(2)))
    webhooks.fire("ada/shop", Event("push", b"{}"))
    assert webhooks.wait()
    assert webhooks.deliveries[0].statuses == (None,)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://192.0.2.1/",
        "http://example.com/",
        "http://[::1",
        "http://127.0.0.1:port/",
        "ftp://127.0.0.1/",
        "",
    ],
)
def test_nothing_is_sent_to_other_machines(make, listener, url):
    webhooks = make(DeliveryRules())
    webhooks.put(hook(listener, url=url))
    webhooks.fire("ada/shop", Event("push", b"{}"))
    assert webhooks.wait()
    assert webhooks.deliveries[0].statuses == (None,)


def test_an_oversized_event_is_not_sent(make, listener):
    webhooks = make(DeliveryRules(body_bytes_most=10))
    webhooks.put(hook(listener))
    webhooks.fire("ada/shop", Event("push", b"x" * 11))
    webhooks.fire("ada/shop", Event("push", b"x" * 10))
    assert webhooks.wait()
    assert [found.statuses for found in webhooks.deliveries] == [(), (202,)]
    assert len(listener.received) == 1


def test_a_replay_repeats_the_same_delivery(webhooks, listener):
    webhooks.put(hook(listener))
    webhooks.fire("ada/shop", Event("push", b"{}", {"X-Id": "7"}))
    assert webhooks.wait()
    webhooks.send_again(webhooks.deliveries[0])
    assert webhooks.wait()
    first, second = listener.received
    assert (first.headers, first.body) == (second.headers, second.body)
    assert [found.number for found in webhooks.deliveries] == [1, 2]


def test_stopping_cancels_pending_deliveries(make, listener):
    webhooks = make(DeliveryRules(timeout=60, attempts=3, pause=60))
    webhooks.put(hook(listener))
    listener.faults.add(Fault(latency(60)))
    webhooks.fire("ada/shop", Event("push", b"{}"))
    webhooks.fire("ada/shop", Event("push", b"{}"))
    webhooks.stop()
    webhooks.fire("ada/shop", Event("push", b"{}"))
    assert webhooks.wait()
    assert len(webhooks.deliveries) == 2
    assert all(found.done and not found.is_accepted for found in webhooks.deliveries)
    webhooks.stop()


def test_a_removed_webhook_receives_nothing(webhooks, listener):
    webhooks.put(hook(listener))
    webhooks.remove("1")
    webhooks.remove("1")
    webhooks.fire("ada/shop", Event("push", b"{}"))
    assert webhooks.wait()
    assert listener.received == []


def test_a_webhook_hides_its_secret_and_signs_with_it(listener):
    assert "Everybody" not in repr(hook(listener, secret=SECRET))
    known = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    assert hmac_sha256(SECRET, b"Hello World!") == known
