"""A browser without JavaScript that is signed in to the dashboard."""

from __future__ import annotations

import re

import pytest

BROWSER = {"Accept": "text/html"}


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
def browser(client):
    """A browser whose user is an administrator."""
    link = client.application.accounts.new_link().get_secret_value()
    client.post("/sign-in/link", data={"link": link})
    return Browser(client)
