"""After the instruction in a hint of Gitea's errors was followed, the operation succeeds."""

from __future__ import annotations

import pytest
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied
from deploycore.testing.faults import Fault, answer
from deploycore.testing.messages import json_answer
from deploycore.testing.scenarios import Access


@pytest.fixture(autouse=True)
def start(sandbox):
    return sandbox.publish("ada", "shop", "main", {"README.md": b"Shop"}, "Start")


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("token scope is limited to public repos", "access to all repositories"),
        ("user is deactivated", "account is active and has read access"),
    ],
)
def test_a_denied_request_is_allowed_after_following_the_hint(sandbox, on_sandbox, message, hint):
    refused = json_answer({"message": message}, 403)
    sandbox.faults.add(Fault(answer(403, refused.body.decode(), content_type="application/json")))
    with pytest.raises(PermissionDenied) as caught:
        list(on_sandbox().list_repos())
    assert hint in caught.value.hint
    sandbox.faults.clear()
    assert list(on_sandbox().list_repos())


def test_the_owner_named_in_the_web_address_is_found(on_sandbox):
    with pytest.raises(NotFound) as caught:
        list(on_sandbox(owner="Ada-Lovelace").list_repos())
    assert "not the display name" in caught.value.hint
    assert list(on_sandbox(owner="ada").list_repos())


def test_the_start_page_address_identifies_the_server(sandbox, on_sandbox):
    with pytest.raises(NotFound, match="No Gitea or Forgejo was found") as caught:
        on_sandbox(url=f"{sandbox.url}/git").authenticate()
    assert "shows on the start page" in caught.value.hint
    assert on_sandbox(url=sandbox.url).authenticate()


@pytest.mark.parametrize("mode", ["token", "basic"])
def test_new_credentials_replace_rejected_ones(on_sandbox, mode):
    with pytest.raises(AuthenticationFailed) as caught:
        on_sandbox(mode, Access.WRONG).authenticate()
    assert "/user/settings/applications" in caught.value.hint
    assert on_sandbox("token").authenticate()
