"""An installation with an application ``shop`` of a host that signs, and a server for it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import starlette.routing
from pydantic import SecretStr
from sqlalchemy import select, update
from starlette.testclient import TestClient

from deploycore import Installation, Settings
from deploycore.server import deliveries
from deploycore.server.app import create_application
from deploycore.server.options import ServerOptions
from deploycore.server.rest import diagnosis
from deploycore.store.applications import prepared
from deploycore.store.tables import applications
from deploycore.store.tables import triggers as trigger_table
from deploycore.store.targets import places_of
from deploycore.store.token_digests import digest_of, new_token
from deploycore.worker.previews import handle
from tests.server import acme

# Each server has the same 150 routes, and turning their paths into patterns takes longer than most
# requests.
starlette.routing.compile_path = functools.cache(starlette.routing.compile_path)


class Template:
    """A data directory that has the provider ``work``, and maybe ``shop`` with its webhook.

    Creating a provider and an application takes longer than most tests, so each test gets a copy.
    """

    def __init__(self, home: Path, *, has_shop: bool) -> None:
        self.home = home
        self.secret = ""
        with open_installation(home) as opened:
            opened.add_provider("work", "acme", {}, {"token": SecretStr("hunter2-of-acme")})
            if has_shop:
                self.secret = create_shop(opened, "shop", home.parent)
                self._shop = opened.store.get_application("shop").definition

    def move_shop(self, installation: Installation, directory: Path) -> str:
        """Give the copied ``shop`` a target of its own; returns the secret of its webhook."""
        shop = self._shop.model_copy(update={"target": str(directory / "shop")})
        values = prepared(shop, places_of([shop])["shop"])
        with installation.store._database.writing() as connection:
            connection.execute(update(applications).values(values))
        return self.secret


def open_installation(home: Path) -> Installation:
    return Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)}))


def create_shop(installation: Installation, name: str, directory: Path, **fields: Any) -> str:
    given = {"repository": "acme/shop", "ref": "main", "auto_deploy": {}, **fields}
    installation.add_application(name, provider="work", target=directory / name, **given)
    record = installation.webhooks.prepare(name)
    return installation.secrets.reveal(record.secret).get_secret_value()


@pytest.fixture(scope="session")
def templates() -> dict[bool, Template]:
    """The templates with and without ``shop``, made when a test first needs them."""
    return {}


@pytest.fixture
def template(request, templates, empty_home, tmp_path_factory, install_distribution) -> Template:
    """The template of this test, which has ``shop`` if the test uses its secret."""
    install_distribution("deploycore-acme", "acme", acme.PLUGIN)
    has_shop = "secret" in request.fixturenames
    if has_shop not in templates:
        home = tmp_path_factory.mktemp("template") / "home"
        templates[has_shop] = Template(shutil.copytree(empty_home, home), has_shop=has_shop)
    return templates[has_shop]


@pytest.fixture
def home(tmp_path, template) -> Path:
    """A data directory of this test's own, which has the provider ``work``."""
    return shutil.copytree(template.home, tmp_path / "home")


@pytest.fixture
def installation(home):
    with open_installation(home) as opened:
        yield opened


@pytest.fixture
def create(installation, tmp_path):
    """Creates an application with a webhook, and returns the webhook's secret."""

    def make(name: str = "shop", **fields) -> str:
        return create_shop(installation, name, tmp_path, **fields)

    return make


@pytest.fixture
def secret(request, installation, template, tmp_path, create) -> str:
    """The secret of the webhook of ``shop``."""
    has_shop = template.secret and "home" in request.fixturenames  # else it is in no database yet
    return template.move_shop(installation, tmp_path) if has_shop else create("shop")


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
        c = trigger_table.c
        query = select(c.id).where(c.application == application).order_by(c.id)
        with installation.store._database.reading() as connection:
            numbers = connection.scalars(query).all()
        return [installation.store.triggers.get(number) for number in numbers]

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


@pytest.fixture
def imports_are_probed_once(monkeypatch):
    """Has only the first request that lists plugins import all of them in a process apart, which
    takes most of a second: they are the same for the next ones."""
    monkeypatch.setattr(diagnosis, "probe_imports", _probe_imports_once)


@functools.cache
def _probe_imports_once(probe: Callable[[], None] = diagnosis.probe_imports) -> None:
    probe()
