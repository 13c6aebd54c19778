"""The page of a webhook: its state, its secret, and the results of deliveries."""

from __future__ import annotations

import re

import pytest

from tests.server.acme import body_of, push, signed

PATH = "/applications/shop/webhook"


def test_the_secret_is_shown_once_on_request(browser, secret):
    assert secret not in browser.get(PATH).text
    shown = browser.send(PATH, action="reveal")
    assert secret in shown.text
    assert shown.headers["cache-control"] == "no-store"
    assert not shown.history
    assert secret not in browser.get(PATH).text


def test_a_webhook_is_registered_and_removed(browser, installation, monkeypatch):
    sent = {"action": "register", "server_url": "https://deploy.example.com"}
    answer = browser.send(PATH, **sent)
    assert answer.history[0].headers["location"] == f"{PATH}?done=webhook"
    assert "The webhook is set up." in answer.text
    assert "Registered for <bdi>acme/shop</bdi>" in answer.text
    browser.send(PATH, action="rotate", grace_hours="2")
    assert installation.store.webhooks.get("shop").former_until is not None
    monkeypatch.setenv("ACME_FAILS", "1")
    failed = browser.send(PATH, **sent)
    assert "Acme is down." in failed.text
    monkeypatch.delenv("ACME_FAILS")
    browser.send(PATH, action="remove")
    assert installation.store.webhooks.find("shop") is None
    assert "No webhook yet" in browser.get(PATH).text


def test_a_webhook_set_up_by_hand_shows_its_address_and_secret(browser, installation, secret):
    installation.webhooks.remove("shop")
    sent = {"action": "register", "by_hand": "on", "server_url": "https://deploy.example.com"}
    answer = browser.send(PATH, **sent)
    record = installation.store.webhooks.get("shop")
    made = installation.secrets.reveal(record.secret).get_secret_value()
    assert made != secret
    assert made in answer.text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"action": "register", "server_url": "nothing"}, ""),
        ({"action": "rotate", "grace_hours": "many"}, "grace_hours"),
        ({"action": "rotate", "grace_hours": "99999"}, "grace_hours"),
    ],
)
def test_invalid_input_is_reported_at_its_field(browser, fields, field):
    answer = browser.send(PATH, **fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    if field:
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text)


def test_an_unknown_action_changes_nothing(browser):
    assert browser.send(PATH, action="explode").status_code == 400


def test_deliveries_are_shown_with_their_verdict(browser, client, deliver, secret):
    body = body_of(push())
    for _ in range(3):
        client.post("/webhooks/shop", content=body, headers=signed(body, "wrong"))
    deliver(push(actor="<script>alert(1)</script>\x1b[31m\u202e"))
    deliver(push("<img src=x onerror=alert(1)>"))
    page = browser.get(PATH).text
    assert "3 deliveries refused: The signature is missing or wrong." in page
    assert "waits for a worker" in page
    assert "The push is to another branch or tag." in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/applications/shop/environment",
        "/applications/shop/settings",
        "/applications/shop/remove",
        "/applications/-/new",
    ],
)
def test_no_page_contains_the_secret_of_a_webhook_or_a_provider(browser, secret, path):
    page = browser.get(path)
    assert page.status_code == 200
    assert secret not in page.text
    assert "hunter2" not in page.text
