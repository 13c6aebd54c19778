"""The methods that a subclass of the sandbox's base class overrides."""

from __future__ import annotations

import pytest
import requests

from deploycore.testing.messages import json_answer
from deploycore.testing.sandbox import Sandbox


class Exchanging(Sandbox):
    """Has an organisation, and takes half a secret for the whole one."""

    OWNERS = ("guild",)

    def settings(self, credential):
        return {"token": credential.secret}

    def routes(self):
        return {"GET /owners/{owner}": self._owner}

    def credential_of(self, secret):
        return super().credential_of(secret.removeprefix("half:") * 2)

    def new_secret(self, mode):
        secret = super().new_secret(mode)
        return type(secret)(secret.get_secret_value() * 2)

    def _owner(self, request, owner):
        self.caller(request)
        return json_answer([row.slug for row in self.owned(owner)])


@pytest.fixture
def sandbox():
    with Exchanging() as running:
        yield running


def ask(sandbox, path, secret):
    return requests.get(sandbox.url + path, headers={"Authorization": f"Bearer {secret}"})


def test_an_exchanged_secret_is_recognized(sandbox):
    whole = sandbox.add_credential("token").secret.get_secret_value()
    half = whole[: len(whole) // 2]
    assert ask(sandbox, "/owners/ada", f"half:{half}").status_code == 200
    assert ask(sandbox, "/owners/ada", whole).status_code == 401


def test_repositories_of_additional_owners_are_visible_but_not_of_others(sandbox):
    secret = sandbox.add_credential("token").secret.get_secret_value()[:32]
    for owner in ("guild", "rival"):
        sandbox.add_repository(owner, "shop", private=True)
    assert ask(sandbox, "/owners/guild", secret).json() == ["shop"]
    assert ask(sandbox, "/owners/rival", secret).json() == []
