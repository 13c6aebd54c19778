"""A browser without JavaScript that is signed in to the dashboard."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update

from deploycore.deploy.events import DeployEvent
from deploycore.server.accounts import passwords
from deploycore.server.accounts.cookies import SESSION
from deploycore.store.tables import deployments
from deploycore.store.token_digests import digest_of, new_secret

BROWSER = {"Accept": "text/html"}
PASSWORD = "correct-horse-battery"


class Browser:
    """Follows links and sends forms as a browser does.

    Args:
        client: A client of the server.
    """

    def __init__(self, client) -> None:
        self.client = client
        client.headers.update(BROWSER)

    def get(self, path, **options):
        return self.client.get(path, **options)

    def send(self, path, *, page=None, **fields):
        """Send a form to a path, with the form token of a page (by default, of a small one)."""
        token = self.form_token(page) if page else self.form_token()
        return self.client.post(path, data={"form_token": token, **fields})

    def form_token(self, page="/account"):
        """Return the form token that a page's forms hold: it is the same in all pages of a session,
        and the first page takes three times as long as this one."""
        return re.search(r'name="form_token" value="([^"]+)"', self.get(page).text).group(1)


@pytest.fixture
def sign_in_as(installation):
    """Signs a client's user in, with a session in the store: ``sign_in_as(client, "bob", "read")``.
    Gives the browser."""

    def sign_in(client, name, role) -> Browser:
        store = installation.store
        if store.users.find(name) is None:
            store.users.add(name, role=role)
        cookie = new_secret()
        store.sessions.add(name, digest=digest_of(cookie))
        client.cookies.clear()
        client.cookies.set(SESSION, cookie.get_secret_value())
        return Browser(client)

    return sign_in


@pytest.fixture
def browser(client, sign_in_as):
    """A browser whose user is an administrator."""
    return sign_in_as(client, "admin", "admin")


@pytest.fixture
def cheap_hashes(monkeypatch):
    """Hashes take no time: what is tested is not Argon2."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "new_hasher", lambda: cheap)


@pytest.fixture
def acting_as(browser, monkeypatch):
    """The browser's user has another role from now on: ``acting_as("read")``."""
    accounts = browser.client.application.accounts
    original = accounts.visitor

    def change(role: str):
        async def visitor(request):
            found = await original(request)
            return found and replace(found, caller=replace(found.caller, role=role))

        monkeypatch.setattr(accounts, "visitor", visitor)
        return browser

    return change


@pytest.fixture
def deployed(installation, secret):
    """Records a deployment, and writes its log: ``deployed("failed", "a line", error="…")``."""
    at = datetime(2026, 11, 25, 10, tzinfo=UTC)
    store = installation.store

    def make(state="healthy", *lines, application="shop", hint="", number=1, **values):
        record = store.deployments.request(application, ref="main", requested_by="ada (push)")
        has_ended = state in ("healthy", "failed", "rolled_back", "cancelled")
        given = {
            "state": state,
            "commit": f"{number:x}" * 40,
            "subject": f"Change {number}",
            "author": "Grace",
            "started_at": at,
            "finished_at": at + timedelta(seconds=75) if has_ended else None,
            "seconds": {"authenticating": 0.5, "resolving": 0.5, "fetching": 2, "building": 71},
        }
        if state == "failed":
            given |= {"error_code": "step_failed", "error": "The step failed."}
        with store._database.writing() as connection:
            is_this = deployments.c.id == record.id
            connection.execute(update(deployments).where(is_this).values(given | values))
        with installation.engine.logs.open(application, record.id) as log:
            for kind, text in [("output", line) for line in lines] + [("hint", hint)] * bool(hint):
                log.write(DeployEvent(record.id, application, at, kind, "building", text))
        return record.id

    return make


@pytest.fixture
def released(installation, deployed):
    """Makes a release on disk with its deployment; gives its name: ``released(1, live=True)``."""
    target = Path(installation.store.get_application("shop").definition.target)

    def make(number=1, *, live=False, **values):
        name = f"20261125T10{number:02}00Z-{f'{number:x}' * 12}"
        deployed(number=number, release=name, **values)
        folder = target / "releases" / name
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(str(number))
        if live:
            (target / "current").symlink_to(Path("releases") / name)
        return name

    return make
