"""After the instruction in a hint of Bitbucket's errors was followed, the operation succeeds."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.sandbox import Fault, Sandbox, faults

from deploycore.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    UnexpectedAnswer,
)

LISTED = "/2.0/repositories/*"
USER = "/2.0/user"
JSON = "application/json"


@pytest.fixture
def sandbox(make_sandbox) -> Sandbox:
    made = make_sandbox()
    made.add_workspace("acme", members=[made.add_user("ada")])
    made.add_repository("acme", "shop", files={"README.md": b"Shop"})
    return made


@pytest.fixture
def connect(provider, sandbox):
    """The plugin on the sandbox, with a credential: ``connect(credential, workspace="x")``."""

    def one(credential=None, **changes):
        credential = credential or sandbox.add_api_token(sandbox.add_user("ada"))
        settings = {**sandbox.connection(credential).settings, "workspace": "acme", **changes}
        return provider(settings.pop("mode"), **settings)

    return one


@pytest.mark.outside_description("faults are not as described")
@pytest.mark.parametrize(
    ("path", "change", "kind", "hint"),
    [
        (LISTED, faults.rate_limited(retry_after=3600), RateLimited, "Try again after "),
        (LISTED, faults.answer(200, "[]", content_type=JSON), UnexpectedAnswer, "try again later"),
        (LISTED, faults.answer(403, "no"), PermissionDenied, "administrator of the workspace"),
        (USER, faults.answer(200, "{}", content_type=JSON), UnexpectedAnswer, "Try"),
    ],
    ids=["rate limit", "no page", "no access", "no account"],
)
def test_a_request_works_again_after_a_temporary_error(connect, sandbox, path, change, kind, hint):
    opened = connect()

    def ask():
        return opened.authenticate() if path == USER else list(opened.list_repos())

    sandbox.faults.add(Fault(change, path=path))
    with pytest.raises(kind) as caught:
        ask()
    assert hint in caught.value.hint
    sandbox.faults.clear()
    assert ask()


def test_a_workspace_is_found_by_its_slug(connect):
    with pytest.raises(NotFound) as caught:
        list(connect(workspace="acme-corporation").list_repos())
    assert "not its display name" in caught.value.hint
    assert list(connect(workspace="acme").list_repos())


@pytest.mark.parametrize("mode", ["api-token", "access-token", "app-password"])
def test_a_revoked_credential_is_replaced_by_a_new_one(connect, sandbox, mode):
    def made():
        if mode == "access-token":
            return sandbox.add_access_token("acme")
        ada = sandbox.add_user("ada")
        return sandbox.add_api_token(ada) if mode == "api-token" else sandbox.add_app_password(ada)

    former = made()
    opened = connect(former)
    sandbox.revoke_credential(former)
    with pytest.raises(AuthenticationFailed) as caught:
        list(opened.list_repos())
    assert "revoked" in caught.value.hint
    assert list(connect(made()).list_repos())


def test_the_hint_names_credentials_that_can_read_the_endpoint(connect, sandbox):
    refusal = "This API is not accessible by this authentication mechanism"
    ada = sandbox.add_user("ada")
    opened = connect(sandbox.add_app_password(ada))
    sandbox.faults.add(Fault(faults.answer(403, refusal), path="/2.0/user/workspaces"))
    with pytest.raises(PermissionDenied, match="Credentials of this kind") as caught:
        list(opened.list_owners())
    assert "mode api-token" in caught.value.hint
    sandbox.faults.clear()
    assert [each.username for each in connect(sandbox.add_api_token(ada)).list_owners()]
