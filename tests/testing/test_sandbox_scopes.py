"""The base class of sandboxes: nested owners, several owners, hosts with several scopes."""

from __future__ import annotations

import pytest
import requests

from deploycore.errors import NotFound
from deploycore.testing.messages import json_answer
from deploycore.testing.sandbox import Sandbox
from deploycore.testing.scenarios import ONE, Access


class TwoScopes(Sandbox):
    """A host where one scope is for the API, another for git, and a third one is for all."""

    SCOPES = ("api:read", "git:read", "all")
    OWNER = "house/floor"

    def settings(self, credential):
        return {"url": self.url, "token": credential.secret}

    def granted(self, mode, access):
        if access is Access.LEAST:
            return ("api:read", "git:read")
        return super().granted(mode, access)

    def unauthorised(self, shown):
        return self.refusal(401, "unknown" if shown is None else shown.access.value)

    def routes(self):
        return {"GET /api/repositories/{owner}": self._repositories}

    def _repositories(self, request, owner):
        self.caller(request, "api:read", "all")
        return json_answer([row.full_name for row in self.owned(owner)])


@pytest.fixture
def sandbox():
    with TwoScopes() as running:
        yield running


def ask(sandbox, owner, credential=None):
    headers = {} if credential is None else {
        "Authorization": f"Bearer {credential.secret.get_secret_value()}"
    }  # fmt: skip
    return requests.get(f"{sandbox.url}/api/repositories/{owner}", headers=headers, timeout=10)


def test_an_owner_can_be_nested(sandbox):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("token")
    answer = ask(sandbox, "house%2Ffloor", credential)
    assert answer.json() == ["house/floor/shop"]


def test_a_host_defines_the_scopes_of_minimal_credentials(sandbox):
    sandbox.arrange(ONE)
    least = sandbox.add_credential("token", Access.LEAST)
    assert least.scopes == {"api:read", "git:read"}
    assert ask(sandbox, "house%2Ffloor", least).status_code == 200


def test_any_of_several_scopes_is_sufficient_and_all_are_named_if_none_exists(sandbox):
    answer = ask(sandbox, "house%2Ffloor", sandbox.add_credential("token", Access.UNSCOPED))
    assert answer.status_code == 403
    assert answer.json() == {"message": "The scope api:read or all is missing"}


def test_credentials_can_be_created_with_any_scopes(sandbox):
    sandbox.arrange(ONE)
    credential = sandbox.add_credential("token", scopes=["all"])
    assert credential.scopes == {"all"}
    assert ask(sandbox, "house%2Ffloor", credential).status_code == 200


@pytest.mark.parametrize(
    ("access", "said"), [(None, "unknown"), (Access.WRONG, "unknown"), (Access.EXPIRED, "expired")]
)
def test_a_host_can_distinguish_expired_from_unknown_credentials(sandbox, access, said):
    credential = access and sandbox.add_credential("token", access)
    answer = ask(sandbox, "house%2Ffloor", credential)
    assert answer.status_code == 401
    assert answer.json() == {"message": said}


def test_private_repositories_of_additional_owners_can_be_visible(sandbox):
    with pytest.raises(NotFound):
        sandbox.add_repository("ada", "notes")
    sandbox.add_owner("ada")
    row = sandbox.add_repository("ada", "notes")
    assert "ada" in sandbox.owners
    assert sandbox.find("ada", "notes") == row
    assert ask(sandbox, "ada", sandbox.add_credential("token")).json() == ["ada/notes"]


def test_private_repositories_of_another_owner_are_never_visible(sandbox):
    sandbox.arrange(ONE)
    row = sandbox.find("rival", "hidden")
    assert row is not None
    assert not sandbox.readable(row)
    assert ask(sandbox, "rival", sandbox.add_credential("token")).json() == []
