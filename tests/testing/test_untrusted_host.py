"""The kit's host whose certificate nobody trusts."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

import pytest

from deploycore.testing.untrusted import UntrustedHost


def ask(host, context):
    place = urlsplit(host.url)
    client = http.client.HTTPSConnection(place.hostname, place.port, context=context, timeout=60)
    try:
        client.request("GET", "/user")
        return client.getresponse().status
    finally:
        client.close()


def test_only_clients_that_trust_its_certificate_are_answered():
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    with UntrustedHost() as host:
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(host, ssl.create_default_context())
        assert host.requests == []
        assert ask(host, careless) == 200
        assert host.requests == ["GET /user"]
