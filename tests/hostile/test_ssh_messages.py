"""SSH servers that send anything but output, and agents that say nothing."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from contextlib import asynccontextmanager, suppress

import asyncssh
import pytest
from asyncssh.constants import MSG_DEBUG, MSG_GLOBAL_REQUEST, MSG_IGNORE
from asyncssh.packet import Boolean, String

from deploycore.errors import (
    ConfigurationError,
    GitError,
    KeyRefused,
    LimitExceeded,
    RemoteRefused,
)
from deploycore.git import export
from deploycore.models import CloneUrl, SshCredential
from deploycore.ssh import keys
from tests.git.servers import Content, nothing_left
from tests.hostile.ssh_servers import SETTINGS, Hostile, git_of, hostile_server, refuse

LONG = String(b"x" * 20_000)
MESSAGES = {
    "ignore": (MSG_IGNORE, LONG),
    "debug": (MSG_DEBUG, Boolean(True), LONG, String(b"")),
    "request": (MSG_GLOBAL_REQUEST, LONG, Boolean(False)),
}


@pytest.fixture
def shop(sshd, tmp_path_factory):
    """The path of a repository with one commit."""
    made = Content(sshd.root / f"{tmp_path_factory.mktemp('messages').name}.git")
    made.commit(made.files({"a": b"1"}))
    yield made.path
    made.repo.close()


async def flood(connection, message, times=1000):
    with suppress(Exception):  # until the client leaves
        for _ in range(times):
            connection.send_packet(*message)
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["ignore", "debug", "request"])
def test_a_flood_of_non_output_messages_ends_the_connection(tmp_path, target, kind):
    async def talk(process):
        await flood(process.channel.get_connection(), MESSAGES[kind])
        await asyncio.sleep(SETTINGS.read_timeout)

    with hostile_server(Hostile, tmp_path, talk) as (source, _):
        started = time.monotonic()
        with pytest.raises(LimitExceeded, match="too many messages besides"):
            export(source, "main", target, settings=SETTINGS)
        assert time.monotonic() - started < SETTINGS.read_timeout
    assert nothing_left(target)


def test_a_flood_before_authentication_ends_the_connection(tmp_path, target):
    class Talking(Hostile):
        async def begin_auth(self, username):
            await flood(self.connection, MESSAGES["ignore"])
            return True

    with (
        hostile_server(Talking, tmp_path, refuse) as (source, _),
        pytest.raises(LimitExceeded, match="too many messages besides"),
    ):
        export(source, "main", target, settings=SETTINGS)


def test_channels_opened_by_the_server_are_rejected(tmp_path, target):
    refused = []

    async def talk(process):
        connection = process.channel.get_connection()
        session = asyncssh.SSHTCPSession
        for opening in (
            connection.create_x11_connection(session),
            connection.create_agent_connection(session),
            connection.create_connection(session, "127.0.0.1", 1),
            connection.create_unix_connection(session, "/run/socket"),
        ):
            with suppress(asyncssh.ChannelOpenError):
                await opening
                continue
            refused.append(True)
        refuse(process)

    with (
        hostile_server(Hostile, tmp_path, talk) as (source, _),
        pytest.raises(RemoteRefused, match="nothing for you"),
    ):
        export(source, "main", target, settings=SETTINGS)
    assert len(refused) == 4


def test_a_server_without_a_common_algorithm_is_distinguished(shop, tmp_path, target):
    options = {"encryption_algs": ["3des-cbc"]}
    with (
        hostile_server(Hostile, tmp_path, refuse, **options) as (source, _),
        pytest.raises(GitError, match="no algorithm in common with deploycore") as caught,
    ):
        export(source, "main", target, settings=SETTINGS)
    assert caught.value.hint == "Upgrade the SSH server."
    newer = tmp_path / "newer"
    newer.mkdir()
    with hostile_server(Hostile, newer, git_of(shop)) as (source, _):
        export(source, "main", target, settings=SETTINGS)


def test_a_server_that_runs_no_commands_is_distinguished(sshd, shop, tmp_path, target):
    with (
        hostile_server(Hostile, tmp_path, None) as (source, _),
        pytest.raises(GitError, match="does not run commands") as caught,
    ):
        export(source, "main", target, settings=SETTINGS)
    assert "Check that the address is that of a git server" in caught.value.hint
    export(sshd.source(shop), "main", target, settings=SETTINGS)


def test_a_pack_at_another_address_is_not_fetched(sshd, shop, upload_pack, target):
    lines = ["version 2", "ls-refs", "fetch=shallow", None, f"{'1' * 40} refs/heads/main", None]
    lines += ["packfile-uris", f"https://127.0.0.1:1/pack sha1 {'2' * 40}", "packfile"]
    answer = "".join("0000" if line is None else f"{len(line) + 5:04x}{line}\n" for line in lines)
    upload_pack(f"cat <<'END'\n{answer}END\ncat >/dev/null")
    expected = "refers to another address, which is not used"
    with pytest.raises(RemoteRefused, match=expected) as caught:
        export(sshd.source("x"), "main", target, settings=SETTINGS)
    assert "turn off packfile URIs" in caught.value.hint
    upload_pack(f"exec {shutil.which('git')} upload-pack {shop}")
    export(sshd.source(shop), "main", target, settings=SETTINGS)


def test_an_unresponsive_agent_times_out(sshd, shop, tmp_path, target, monkeypatch):
    monkeypatch.setattr(keys, "_MAX_AGENT_SECONDS", 0.2)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "silent"))
    credential = SshCredential(agent=True, host_keys=sshd.host_keys)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with pytest.raises(ConfigurationError, match="did not list its keys") as caught:
            export(CloneUrl(url=sshd.url(shop), credential=credential), "main", target)
    assert caught.value.hint.endswith("or give the provider an ssh_private_key.")
    export(sshd.source(shop), "main", target)


def test_too_many_agent_keys_are_reported(shop, tmp_path, target, monkeypatch):
    class Counting(Hostile):
        def validate_public_key(self, username, key):
            self.noted.append(key)
            if len(self.noted) > 2:
                raise asyncssh.DisconnectError(2, "Too many authentication failures")
            return len(shown) == 1  # only the provider's own key is known

    @asynccontextmanager
    async def agent_keys():
        yield shown

    monkeypatch.setattr("deploycore.ssh.session.agent_keys", agent_keys)
    shown = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(4)]
    with hostile_server(Counting, tmp_path, git_of(shop)) as (source, noted):
        crowded = source.credential.model_copy(update={"private_key": None, "agent": True})
        with pytest.raises(KeyRefused, match="none of the keys that it was shown") as caught:
            export(source.model_copy(update={"credential": crowded}), "main", target)
        assert "Remove keys from the agent" in caught.value.hint
        noted.clear()
        del shown[1:]
        export(source.model_copy(update={"credential": crowded}), "main", target)
