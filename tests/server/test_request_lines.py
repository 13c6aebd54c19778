"""The line that each request has in the server's log: it names the application."""

from __future__ import annotations

import logging

import pytest

from deploycore.store.token_digests import digest_of, new_token


@pytest.fixture
def admin(installation):
    made = new_token()
    installation.store.tokens.add("ops", digest=digest_of(made), role="admin", expires_at=None)
    return {"Authorization": f"Bearer {made.get_secret_value()}"}


@pytest.fixture
def line(client, caplog):
    """The line of one request: ``line("GET", path)``."""

    def ask(method: str, path: str, **more) -> str:
        caplog.clear()
        with caplog.at_level(logging.INFO, "deploycore.server.edge"):
            client.request(method, path, **more)
        (found,) = [each for each in caplog.records if each.name == "deploycore.server.edge"]
        return found.getMessage()

    return ask


@pytest.mark.parametrize("signed", [True, False])
def test_delivery_log_lines_name_the_application(line, deliver, caplog, signed):
    if not signed:
        found = line("POST", "/webhooks/shop", content=b"{}")
        assert found.startswith("POST /webhooks/{application} for shop from ")
        return
    with caplog.at_level(logging.INFO, "deploycore.server.edge"):
        deliver()
    assert "POST /webhooks/{application} for shop from " in caplog.text


def test_api_request_log_lines_name_the_application(line, installation, admin):
    deployment = installation.store.deployments.request("shop", ref="main")
    trigger = installation.store.triggers.add("shop", cause="request", ref="main")
    prefix = "/api/v1"
    for method, path in (
        ("GET", f"{prefix}/applications/shop"),
        ("POST", f"{prefix}/applications/shop/deployments"),
        ("POST", f"{prefix}/applications/shop/rollback"),
        ("GET", f"{prefix}/deployments?application=shop"),
        ("GET", f"{prefix}/deployments/{deployment.id}"),
        ("GET", f"{prefix}/deployments/{deployment.id}/log"),
        ("POST", f"{prefix}/deployments/{deployment.id}/cancel"),
        ("GET", f"{prefix}/triggers/{trigger.id}"),
        ("DELETE", f"{prefix}/applications/shop"),
    ):
        assert " for shop from " in line(method, path, headers=admin), path
    assert " for " not in line("GET", f"{prefix}/applications", headers=admin)


def test_a_rejected_request_is_logged_with_a_valid_application_name_only(line):
    assert " for shop from " in line("GET", "/api/v1/applications/shop")
    assert " for nope from " in line("POST", "/webhooks/nope", content=b"{}")
    assert " for " not in line("POST", "/webhooks/%1b%5b31mred", content=b"{}")
    assert " for " not in line("POST", f"/webhooks/{'x' * 5000}", content=b"{}")
