"""A browser without JavaScript that is signed in to the dashboard."""

from __future__ import annotations

import re

import pytest
from argon2 import PasswordHasher

from deploycore.server.accounts import passwords
from deploycore.server.accounts.cookies import SESSION
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
        """Send a form to a path, with the form token of a page (by default, of the first page)."""
        return self.client.post(path, data={"form_token": self.form_token(page or "/"), **fields})

    def form_token(self, page="/"):
        """Return the form token that a page's forms hold."""
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
