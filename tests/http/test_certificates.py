"""A client certificate goes where a provider's credentials go, and nowhere else."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from deploycore.http import BearerAuth, HttpClient, HttpSettings
from deploycore.tokens import RenewableAuth, Token

SETTINGS = HttpSettings(client_certificate="/etc/mine.pem")
HERE = "https://git.example.com/api"


@pytest.mark.parametrize(
    ("place", "auth", "shown"),
    [
        ("https://git.example.com/other", None, True),
        ("https://storage.example.com", None, False),
        ("https://git.example.com:8443", None, False),
        ("https://auth.example.com", BearerAuth(SecretStr("x")), True),
    ],
)
def test_a_sibling_sends_the_certificate_to_the_same_origin_or_explicitly(place, auth, shown):
    with HttpClient(HERE, settings=SETTINGS) as client:
        sibling = client.sibling(place, auth=auth)
        assert sibling._settings.client_certificate == ("/etc/mine.pem" if shown else None)


def test_the_client_certificate_is_sent_to_the_authorization_server():
    used = []

    def obtain(http, held):
        del held
        used.append(http._settings.client_certificate)
        return Token(value=SecretStr("made"))

    auth = RenewableAuth(obtain, server="https://auth.example.com")
    with HttpClient(HERE, auth=auth, settings=SETTINGS) as client:
        client.token()
    assert used == ["/etc/mine.pem"]
