from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
from deploycore_bitbucket.sandbox import Sandbox
from deploycore_bitbucket.sandbox.__main__ import main
from pydantic import SecretStr

from deploycore.errors import NotFound
from deploycore.models import CloneUrl, GitCredential
from deploycore.sandbox import ProviderSandbox
from tests.processes import Process


@pytest.fixture
def demo():
    running: ProviderSandbox = Sandbox.demo()
    yield running
    running.stop()


def test_the_demo_connects_in_every_mode(demo, session):
    modes = {connection.settings["mode"]: connection for connection in demo.connections}
    assert modes.keys() == {"app-password", "api-token", "access-token", "oauth-client"}
    assert {connection.title for connection in demo.connections} == {
        "App password",
        "API token",
        "Access token",
        "OAuth client",
    }
    for connection in demo.connections:
        settings = connection.settings
        assert settings["api_url"] == f"{demo.url}/2.0"
        assert settings["git_url"] == demo.url
        answer = session.get(
            f"{settings['api_url']}/repositories/{connection.owner}",
            headers=login(settings, session),
            timeout=10,
        )
        assert answer.json()["size"] >= 2


def login(settings, session):
    from requests.auth import _basic_auth_str

    match settings["mode"]:
        case "app-password":
            name, secret = settings["username"], settings["app_password"]
        case "api-token":
            name, secret = settings["email"], settings["token"]
        case "oauth-client":
            issued = session.post(
                f"{settings['git_url']}/site/oauth2/access_token",
                data={"grant_type": "client_credentials"},
                auth=(settings["client_id"], settings["client_secret"].get_secret_value()),
                timeout=10,
            )
            return {"Authorization": f"Bearer {issued.json()['access_token']}"}
        case _:
            return {"Authorization": f"Bearer {settings['token'].get_secret_value()}"}
    return {"Authorization": _basic_auth_str(name, secret.get_secret_value())}


def test_the_demo_has_branches_with_odd_names(demo_sandbox, session):
    names = set(dict(demo_sandbox.branches(demo_sandbox.existing("acme", "shop"))))
    assert {"main", "feature/login", "discount-50%", "fix-#17", "größe/日本語"} <= names


def test_each_demo_has_its_own_secrets(demo):
    def secrets(sandbox):
        found = (value for row in sandbox.connections for value in row.settings.values())
        return {value.get_secret_value() for value in found if isinstance(value, SecretStr)}

    with Sandbox().with_demo_content() as other:
        assert len(secrets(demo)) == 4
        assert not secrets(demo) & secrets(other)


def test_publishing_creates_a_repository_and_adds_to_it(demo, git, tmp_path):
    first = demo.publish("acme", "new", "main", {"a.txt": b"1"}, "One")
    second = demo.publish("acme", "new", "main", {"dir/b.txt": b"2"}, "Two")
    assert re.fullmatch("[0-9a-f]{40}", first)
    token = demo.credentials[2]
    git_credential = GitCredential(username=token.git_username, password=token.secret)
    url = CloneUrl(url=f"{demo.url}/acme/new.git", credential=git_credential).reveal_joined()
    assert git("clone", url, "clone").returncode == 0
    assert git("rev-parse", "HEAD", at=tmp_path / "clone").stdout.strip() == second
    assert (tmp_path / "clone/a.txt").read_bytes() == b"1"
    assert (tmp_path / "clone/dir/b.txt").read_bytes() == b"2"


def test_publishing_for_an_unknown_owner_is_an_error(demo):
    with pytest.raises(NotFound, match="nobody"):
        demo.publish("nobody", "new", "main", {"a": b"1"}, "One")


def test_the_command_shows_how_to_connect_and_exits_cleanly(session, git):
    command = [sys.executable, "-m", "deploycore_bitbucket.sandbox", "--repositories", "30"]
    with Process(
        [*command, "--app-passwords", "removed"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            said = ""
            while said.count("git clone") < 3:
                said += process.stdout.readline() or pytest.fail(said)
            api = re.search(r"api_url: (\S+)", said)[1]
            token = re.findall(r"  token: (ATCTT\S+)", said)[0]
            headers = {"Authorization": f"Bearer {token}"}
            answer = session.get(f"{api}/repositories/acme", headers=headers, timeout=10)
            assert answer.json()["size"] == 32
            urls = re.findall(r"  git clone (\S+)", said)
            assert [git("ls-remote", url).returncode == 0 for url in urls] == [False, True, True]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


def test_the_command_reports_a_port_in_use(demo, capsys):
    port = demo.url.rpartition(":")[2]
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--port", port]) == 1
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert f"cannot listen on port {port}" in capsys.readouterr().err
