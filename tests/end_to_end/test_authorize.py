"""People sign in with ``deploycore provider authorize``, against the sandbox's own server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import requests
from deploycore_bitbucket.sandbox import Sandbox

from deploycore import Installation, Settings
from deploycore.errors import AuthenticationFailed
from deploycore.models import RepositoryId
from tests.forked import ForkedProcess

SHOP = RepositoryId(owner="acme", slug="shop")


@pytest.fixture
def sandbox():
    with Sandbox().with_demo_content() as sandbox:
        # Any port, so that tests can run at the same time.
        sandbox.oauth.rules = replace(sandbox.oauth.rules, ports_matter=False)
        sandbox.oauth.account = "ada"
        yield sandbox


def add(shell, name, settings):
    given = [
        part
        for field, value in settings.items()
        if isinstance(value, str)
        for part in (f"--{field.replace('_', '-')}", value)
    ]
    secret = settings["client_secret"].get_secret_value()
    return shell.succeed(
        "provider", "add", name, "--kind", "bitbucket", *given, "--client-secret-stdin",
        given=secret,
    )  # fmt: skip


@pytest.fixture
def work(shell, sandbox):
    """A provider that nobody has signed in to."""
    said = add(shell, "work", sandbox.add_sign_in())
    assert "Sign in: deploycore provider authorize work" in said
    return "work"


def address_in(text):
    return re.search(r"http://127\.0\.0\.1:\d+/site/oauth2/authorize\?\S+", text)[0]


def browse(address):
    """Where the browser is sent."""
    found = requests.get(address, allow_redirects=False, timeout=10)
    assert found.status_code == 302
    return found.headers["Location"]


def by_loopback(shell, name, change=lambda address: address, *, port="0"):
    """Sign in with a browser that follows the address; what is printed, and how it ends."""
    started = shell.start("provider", "authorize", name, "--port", port, "--timeout", "60s")
    with started:
        lines = [started.stderr.readline(), started.stderr.readline()]
        page = requests.get(change(browse(address_in(lines[1]))), timeout=10)
        out, err = started.communicate(timeout=60)
    shell.printed += [out, "".join(lines) + err]
    return started.returncode, out, err, page


def by_hand(shell, name, change=lambda address: address):
    """Sign in with a browser elsewhere: the address is printed, and pasted by a person."""
    started = shell.start_with_input("provider", "authorize", name, "--no-browser")
    with started:
        lines = [started.stderr.readline(), started.stderr.readline()]
        out, err = started.communicate(change(browse(address_in(lines[1]))) + "\n", timeout=60)
    shell.printed += [out, "".join(lines) + err]
    return started.returncode, out, err


@pytest.fixture
def shell(shell):
    def start_with_input(*arguments, **environment):
        return ForkedProcess(
            [sys.executable, "-m", "deploycore", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shell.environment(**environment),
            cwd=shell.directory,
        )

    shell.start_with_input = start_with_input
    return shell


def opened(shell):
    return Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)}))


@pytest.fixture
def remotely(shell, serving, remote):
    """Signs in with ``--server``, by a browser elsewhere: its address is pasted by a person."""

    def sign_in(*options, change=lambda address: address):
        line = ("--server", serving, "provider", "authorize", "work", *options)
        with shell.start_with_input(*line, **remote.away) as started:
            lines = [started.stderr.readline(), started.stderr.readline()]
            out, err = started.communicate(change(browse(address_in(lines[1]))) + "\n", timeout=60)
        shell.printed += [out, "".join(lines) + err]
        return started.returncode, out, err

    return sign_in


def test_a_user_signs_in_to_a_server_from_another_machine(shell, work, sandbox, remotely, remote):
    assert "Sign in: deploycore provider authorize work" in remote("provider", "test", work, code=4)
    code, out, err = remotely()
    assert code == 0, err
    assert "Provider work is authorized: signed in as ada." in out
    assert "valid: ada" in remote("provider", "test", work)
    code, there, err = remotely("--json")
    assert code == 0, err
    assert json.loads(there) == {"provider": "work", "account": "ada"}


def test_an_answer_of_another_sign_in_is_rejected_by_a_server(shell, work, remotely):
    def forge(address):
        return re.sub(r"state=[^&]+", "state=forged", address)

    code, _, err = remotely(change=forge)
    assert code == 4
    assert "Sign in again" in " ".join(err.split())
    code, out, err = remotely()
    assert "signed in as ada" in out, err


def test_before_the_sign_in_every_command_suggests_the_next_step(shell, work):
    code, said = shell.fail("provider", "test", work)
    assert code == 4
    assert "Sign in: deploycore provider authorize work" in said


def test_a_user_signs_in_with_a_browser_and_deploys(shell, work, sandbox, tmp_path):
    code, out, err, page = by_loopback(shell, work)
    assert code == 0, err
    assert "Provider work is authorized: signed in as ada." in out
    assert "You can close this page" in page.text
    assert "valid: ada" in shell.succeed("provider", "test", work)
    shell.succeed(
        "app", "create", "site", "--provider", work, "--repository", "acme/shop",
        "--branch", "main", "--target", str(tmp_path / "site"),
    )  # fmt: skip
    shell.succeed("deploy", "site")
    assert (tmp_path / "site" / "current" / "README.md").read_bytes() == b"# Shop\n"
    assert sandbox.oauth.issued == 1  # all processes use the one that is stored


def test_a_user_signs_in_with_a_browser_on_another_machine(shell, work):
    code, out, err = by_hand(shell, work)
    assert code == 0, err
    assert "signed in as ada" in out
    assert "valid: ada" in shell.succeed("provider", "test", work)


def test_a_response_with_another_state_stores_nothing(shell, work):
    def forge(address):
        return re.sub("state=[^&]+", "state=forged", address)

    code, _, err = by_hand(shell, work, forge)
    assert code == 4
    assert "its state is a different one" in err
    assert shell.fail("provider", "test", work)[0] == 4


def test_a_denied_authorization_is_reported(shell, work, sandbox):
    sandbox.oauth.account = None
    code, _, err, _ = by_loopback(shell, work)
    assert code == 4
    assert "The request for authorization was denied" in err


def test_a_sign_in_that_nobody_completes_times_out(shell, work):
    code, said = shell.fail("provider", "authorize", work, "--port", "0", "--timeout", "1s")
    assert code == 4
    assert "--no-browser" in said


def test_without_a_pasted_address_no_code_is_exchanged(shell, work):
    code, said = shell.fail("provider", "authorize", work, "--no-browser")
    assert code == 3
    assert "No address was given" in said
    assert "send it to standard input" in said
    assert by_hand(shell, work)[0] == 0


def test_a_rejected_token_does_not_replace_the_previous_one(shell, work, sandbox):
    assert by_hand(shell, work)[0] == 0
    sandbox.add_user("eve")
    sandbox.oauth.account = "eve"
    scopes = sandbox.oauth._known.clients
    for client_id, client in list(scopes.items()):
        scopes[client_id] = replace(client, scopes=("webhook",))
    code, _, err = by_hand(shell, work)
    assert code == 4
    assert "lack the scope" in err
    assert "valid: ada" in shell.succeed("provider", "test", work)


def test_signing_in_again_changes_the_account(shell, work, sandbox):
    assert by_hand(shell, work)[0] == 0
    bob = sandbox.add_user("bob")
    sandbox.add_member("acme", bob)
    sandbox.oauth.account = "bob"
    assert by_hand(shell, work)[0] == 0
    assert "valid: bob" in shell.succeed("provider", "test", work)


def test_an_expired_token_is_renewed_and_the_new_refresh_token_is_stored(shell, work, sandbox):
    sandbox.oauth.rules = replace(sandbox.oauth.rules, grace=0)
    assert by_hand(shell, work)[0] == 0
    for issued in (2, 3, 4):  # with a refresh token that had not changed, the third would fail
        sandbox.oauth.expire_all()
        assert "valid: ada" in shell.succeed("provider", "test", work)
        assert sandbox.oauth.issued == issued


def test_a_reused_refresh_token_revokes_the_grant_and_the_hint_fixes_it(shell, work, sandbox):
    sandbox.oauth.rules = replace(sandbox.oauth.rules, grace=0)
    assert by_hand(shell, work)[0] == 0
    stolen = next(iter(sandbox.oauth._known.refresh))
    client = next(iter(sandbox.oauth._known.refresh.values())).grant.client

    def use_stolen():
        return requests.post(
            f"{sandbox.url}/site/oauth2/access_token",
            data={"grant_type": "refresh_token", "refresh_token": stolen},
            auth=(client.client_id, client.secret.get_secret_value()),
            timeout=10,
        )

    assert use_stolen().status_code == 200
    sandbox.oauth.expire_all()
    code, said = shell.fail("provider", "test", work)  # its own copy was used already
    assert code == 4
    assert "deploycore provider authorize work" in said
    assert by_hand(shell, work)[0] == 0
    assert "valid: ada" in shell.succeed("provider", "test", work)


def test_an_open_provider_uses_the_token_of_a_new_sign_in(shell, work, sandbox):
    assert by_hand(shell, work)[0] == 0
    with opened(shell) as installation, installation.open_provider(work) as provider:
        assert provider.authenticate().username == "ada"
        sandbox.oauth.revoke_all()
        with pytest.raises(AuthenticationFailed) as caught:
            provider.authenticate()
        assert "deploycore provider authorize work" in caught.value.hint
        assert by_hand(shell, work)[0] == 0
        assert provider.authenticate().username == "ada"


def test_git_receives_the_access_token_with_its_expiry(shell, work, sandbox):
    assert by_hand(shell, work)[0] == 0
    with opened(shell) as installation, installation.open_provider(work) as provider:
        credential = provider.clone_url(SHOP).credential
        assert credential.username == "x-token-auth"
        assert credential.expires_at is not None
        assert len(credential.password.get_secret_value()) > 2500


def test_other_fields_can_be_changed_after_the_sign_in(shell, work, sandbox):
    assert by_hand(shell, work)[0] == 0
    said = shell.succeed("provider", "edit", work, "--prefetch-pages", "2")
    assert "signed in as ada" in said
    other = sandbox.add_sign_in()
    said = shell.succeed("provider", "edit", work, "--client-id", other["client_id"])
    assert "Sign in: deploycore provider authorize work" in said
    code, said = shell.fail("provider", "test", work)  # not with the token of the former client
    assert (code, "not authorized yet" in said) == (4, True), said


def test_the_doctor_uses_the_stored_token_and_stores_a_renewed_one(shell, work, sandbox):
    assert "not authorized yet" in shell.run("doctor").stdout
    assert by_hand(shell, work)[0] == 0
    sandbox.oauth.expire_all()
    assert "The credentials are valid: ada." in shell.run("doctor").stdout
    issued = sandbox.oauth.issued
    assert "valid: ada" in shell.succeed("provider", "test", work)
    assert sandbox.oauth.issued == issued


def test_a_new_client_secret_is_verified_by_a_renewal(shell, work, sandbox):
    """The present access token, which is still valid, says nothing about it."""
    assert by_hand(shell, work)[0] == 0
    code, said = shell.fail(
        "provider", "rotate", work, "--client-secret-stdin", given=shell.made_up
    )
    assert code == 4
    assert "its secret is wrong" in said
    sandbox.oauth.expire_all()
    assert "valid: ada" in shell.succeed("provider", "test", work)  # with the former secret
    clients = sandbox.oauth._known.clients
    (client,) = [each for each in clients.values() if each.account is None]
    changed = replace(client, secret=sandbox.oauth.add_client().secret)
    clients[client.client_id] = changed
    for refresh in sandbox.oauth._known.refresh.values():
        refresh.grant.client = changed
    said = shell.succeed(
        "provider", "rotate", work, "--client-secret-stdin",
        given=changed.secret.get_secret_value(),
    )  # fmt: skip
    assert "signed in as ada" in said
    sandbox.oauth.expire_all()
    assert "valid: ada" in shell.succeed("provider", "test", work)


def test_a_sign_in_is_rejected_if_the_provider_changed_meanwhile(shell, work):
    """The token may be of another host than the provider has now."""

    def change(address):
        shell.succeed("provider", "edit", work, "--prefetch-pages", "2", "--no-verify")
        return address

    code, _, err = by_hand(shell, work, change)
    assert code == 3
    assert "by another command at the same time" in err
    assert shell.fail("provider", "test", work)[0] == 4


def test_a_provider_that_requires_no_sign_in_is_reported_as_such(shell, connect, sandbox):
    name, _ = connect("api-token")
    code, said = shell.fail("provider", "authorize", name)
    assert code == 3
    assert f"Provider {name} does not need to be authorized" in said
    assert f"deploycore provider rotate {name}" in said
    other = sandbox.add_credential("api-token").secret.get_secret_value()
    shell.succeed("provider", "rotate", name, "--token-stdin", given=other)


def test_an_oauth_client_requires_no_user(shell, connect, sandbox, tmp_path):
    name, _ = connect("oauth-client")
    assert "valid: acme" in shell.succeed("provider", "test", name)
    issued = sandbox.oauth.issued
    shell.succeed("clone", name, "acme/shop", str(tmp_path / "shop"), "--branch", "main")
    assert sandbox.oauth.issued == issued + 1
