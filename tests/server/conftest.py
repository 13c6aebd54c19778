"""An installation with an application ``shop`` of a host that signs, and a server for it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from deploycore import Installation, Settings
from deploycore.server import deliveries
from deploycore.server.app import create_application
from deploycore.server.options import ServerOptions
from deploycore.store.token_digests import digest_of, new_token
from deploycore.worker.previews import handle
from tests.server import acme


@pytest.fixture
def installation(home, install_distribution):
    install_distribution("deploycore-acme", "acme", acme.PLUGIN)
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as opened:
        opened.add_provider("work", "acme", {}, {"token": SecretStr("hunter2-of-acme")})
        yield opened


@pytest.fixture
def create(installation, tmp_path):
    """Creates an application with a webhook, and returns the webhook's secret."""

    def make(name: str = "shop", **fields) -> str:
        given = {"repository": "acme/shop", "ref": "main", "auto_deploy": {}, **fields}
        installation.add_application(name, provider="work", target=tmp_path / name, **given)
        record = installation.webhooks.prepare(name)
        return installation.secrets.reveal(record.secret).get_secret_value()

    return make


@pytest.fixture
def secret(create) -> str:
    """The secret of the webhook of ``shop``."""
    return create("shop")


@pytest.fixture
def serving(installation, monkeypatch):
    """Creates a client of a server: ``serving(metrics_open=True)``."""
    running = []

    def make(*, worker=None, previews=handle, **options) -> TestClient:
        monkeypatch.setattr(deliveries, "handle", previews)
        application = create_application(installation, ServerOptions(**options), worker=worker)
        client = TestClient(application.asgi, raise_server_exceptions=True)
        client.application = application
        running.append(client)
        return client.__enter__()

    yield make
    for client in running:
        client.__exit__(None, None, None)
        client.application.close()


@pytest.fixture
def client(serving, secret) -> TestClient:
    """A client of a server with the application ``shop``."""
    return serving()


@pytest.fixture
def deliver(client, secret):
    """Sends a delivery with a valid signature: ``deliver(push())``."""

    def send(*events, delivery=None, name="shop", **more):
        body = acme.body_of(*events, **more)
        headers = acme.signed(body, secret, delivery=delivery)
        return client.post(f"/webhooks/{name}", content=body, headers=headers)

    return send


@pytest.fixture
def triggers(installation):
    """The refs and commits of all triggers of an application, the oldest first."""

    def find(application: str = "shop"):
        found, number = [], 1
        while number <= installation.store.triggers.counts().due + 5:
            try:
                record = installation.store.triggers.get(number)
            except Exception:
                record = None
            if record is not None and record.application == application:
                found.append(record)
            number += 1
        return found

    return find


@pytest.fixture
def token(installation):
    """Creates a token, and returns the header with it: ``token("read")``."""

    def make(role: str, *, expires_at=None, name: str | None = None) -> dict[str, str]:
        made = new_token()
        installation.store.tokens.add(
            name or f"{role}-{digest_of(made)[:6]}",
            digest=digest_of(made),
            role=role,
            expires_at=expires_at,
        )
        return {"Authorization": f"Bearer {made.get_secret_value()}"}

    return make
