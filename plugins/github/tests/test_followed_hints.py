"""After the instruction in a hint of GitHub's errors was followed, the operation succeeds."""

from __future__ import annotations

import json
import re

import pytest

from deploycore.errors import NotFound, PermissionDenied
from deploycore.testing.faults import Fault, answer
from deploycore.testing.messages import with_headers
from deploycore.testing.scenarios import ONE


def test_a_token_authorized_for_single_sign_on_can_read(sandbox, connect):
    sandbox.arrange(ONE)
    page = f"{sandbox.url}/orgs/guild/sso?authorization_request=1"
    refused = sandbox.refusal(403, "Resource protected by organization SAML enforcement.")
    told = with_headers(refused, {"X-GitHub-SSO": f"required; url={page}"})
    fault = answer(403, json.dumps(json.loads(told.body)), content_type="application/json")
    sandbox.faults.add(Fault(fault))
    provider = connect("classic")
    with pytest.raises(PermissionDenied, match="single sign-on") as caught:
        list(provider.list_repos())
    assert re.search(r"Configure SSO at \S+/settings/tokens", caught.value.hint)
    sandbox.faults.clear()  # the person has authorized the token there
    assert list(provider.list_repos())


def test_the_owner_named_in_the_web_address_is_found(sandbox, connect):
    sandbox.arrange(ONE)
    with pytest.raises(NotFound) as caught:
        list(connect(owner="The-Guild-Inc").list_repos())
    assert "Use the name in its address" in caught.value.hint
    assert list(connect(owner="ada").list_repos())
