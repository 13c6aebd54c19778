"""Malicious SSH servers, connections that break, and the user's own SSH settings, which are never
used."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    LimitExceeded,
    RemoteRefused,
)
from deploycore.git import Cancellation, export
from deploycore.models import CloneUrl, SshCredential
from tests.git.servers import nothing_left, snapshot
from tests.hostile.ssh_servers import (
    NO_HANG,
    SETTINGS,
    Hostile,
    git_of,
    hostile_server,
    noisy_repository,
    refuse,
)
from tests.ssh_server import make_key, proxy

OFFSETS = 100


@pytest.fixture(scope="module")
def shop(sshd, tmp_path_factory):
    name = tmp_path_factory.mktemp("hostile").name
    with noisy_repository(sshd, name, files=100, file_bytes=300) as path:
        yield path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "target"


def through(sshd, running, path, **more):
    """The repository by way of a proxy, whose port has the server's key, too."""
    pinned = [line.replace(f":{sshd.port} ", f":{running.port} ") for line in sshd.host_keys]
    return sshd.source(path, port=running.port, host_keys=tuple(pinned), **more)


@pytest.mark.faults
def test_a_dropped_connection_leaves_nothing_behind(sshd, shop, target):
    with proxy(sshd.port) as running:
        export(through(sshd, running, shop), "main", target, settings=SETTINGS)
        whole = running.passed
    expected = snapshot(target)
    assert whole > 30_000

    def drop(number):
        """Whether the export was complete all the same."""
        place = target.with_name(f"target{number}")
        with proxy(sshd.port, cut_after=whole * number // OFFSETS) as running:
            try:
                export(through(sshd, running, shop), "main", place, settings=SETTINGS)
            except GitError as error:
                told = error.message
            else:
                told = ""
        if told:
            assert told.isprintable()
            assert not os.path.lexists(place), number
        else:
            assert snapshot(place) == expected, number
        return not told

    with ThreadPoolExecutor(8) as pool:
        complete = [number for number, done in enumerate(pool.map(drop, range(OFFSETS))) if done]
    # What comes last ends the connection, and the files are there before it.
    assert all(number > OFFSETS * 0.75 for number in complete), complete
    left = {each.name for each in target.parent.iterdir()}
    assert left == {"target", *(f"target{number}" for number in complete)}


@pytest.mark.usefixtures("ssh_runs")
def test_a_dropped_connection_is_retried(sshd, shop, target):
    with proxy(sshd.port, cut_after=20_000, times=2) as running:
        settings = replace(SETTINGS, retries=2)
        export(through(sshd, running, shop), "main", target, settings=settings)
        assert running.connections == 3
    assert len(snapshot(target)) == 200


@pytest.mark.parametrize("silent_after", [0, 20, 1500, 4000, 20_000])
@pytest.mark.usefixtures("ssh_runs")
def test_a_silent_server_times_out(sshd, shop, target, silent_after):
    settings = replace(SETTINGS, read_timeout=0.5)
    with (
        proxy(sshd.port, silent_after=silent_after) as running,
        pytest.raises(GitError, match="did not answer in time"),
    ):
        export(through(sshd, running, shop), "main", target, settings=settings)
    assert nothing_left(target)


@pytest.mark.parametrize("silent_after", [0, 1500, 20_000])
@pytest.mark.usefixtures("ssh_runs")
def test_cancellation_and_timeout_end_a_wait_immediately(sshd, shop, target, silent_after):
    with proxy(sshd.port, silent_after=silent_after) as running:
        source, cancellation = through(sshd, running, shop), Cancellation()
        timer = threading.Timer(0.7, cancellation.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            export(source, "main", target, settings=SETTINGS, cancellation=cancellation)
        timer.join()
        with pytest.raises(LimitExceeded, match=r"more than 0\.7 seconds"):
            export(source, "main", target, settings=replace(SETTINGS, total_timeout=0.7))
        assert time.monotonic() - started < SETTINGS.read_timeout
    assert nothing_left(target)


# A server that is no SSH server, or pretends to be one


@contextmanager
def raw_server(talk):
    """A port; ``talk`` gets each connection, and may not end before the client leaves."""

    def serve():
        with suppress(OSError):
            while True:
                connection = listening.accept()[0]
                connections.append(connection)
                with suppress(OSError):
                    talk(connection)

    connections, listening = [], socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    with suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    thread.join(NO_HANG)
    for each in (listening, *connections):  # not before: descriptors are given out again
        each.close()


def endless(data, pause=0.0):
    def talk(connection):
        while True:
            connection.sendall(data)
            time.sleep(pause)

    return talk


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (endless(b"Welcome to this host.\r\n" * 100), "ended the connection"),
        (endless(b"x" * 10_000), "ended the connection"),
        (endless(b"slow\r\n", pause=0.1), "did not answer in time"),
        (endless(b"SSH-2.0-flood\r\n" + b"\0" * 64), "ended the connection|algorithm"),
        (lambda c: c.sendall(b"HTTP/1.1 400 Bad \033[31mRequest\r\n\r\n"), "in time|ended the con"),
        (lambda c: c.sendall(b"SSH-1.5-old\r\n"), "ended the connection"),
        (lambda c: c.shutdown(socket.SHUT_RDWR), "was closed before"),
    ],
)
@pytest.mark.usefixtures("ssh_runs")
def test_a_server_that_does_not_speak_ssh_is_an_error(sshd, shop, target, talk, said):
    settings = replace(SETTINGS, read_timeout=1)
    with raw_server(talk) as port, pytest.raises(GitError, match=said) as caught:
        export(sshd.source("x", port=port), "main", target, settings=settings)
    assert caught.value.message.isprintable()
    assert nothing_left(target)
    export(sshd.source(shop), "main", target, settings=SETTINGS)  # the address of an SSH server


@pytest.mark.usefixtures("ssh_runs")
def test_a_closed_port_and_an_unknown_host_name_are_unreachable(sshd, target):
    with raw_server(lambda c: None) as port:
        pass
    with pytest.raises(GitError, match="cannot be reached"):
        export(sshd.source("x", port=port), "main", target, settings=SETTINGS)
    nowhere = CloneUrl(url="ssh://git@name.invalid/x", credential=sshd.credential())
    with pytest.raises(GitError, match="cannot be reached"):
        export(nowhere, "main", target, settings=SETTINGS)


# A server of which the protocol is right, and the intentions are not


@pytest.mark.usefixtures("ssh_runs")
def test_a_password_prompt_of_a_server_is_not_answered(tmp_path, target):
    class Asking(Hostile):
        offers = ("password",)

    with hostile_server(Asking, tmp_path, refuse) as (source, noted):
        with pytest.raises(KeyRefused, match="does not accept the key"):
            export(source, "main", target, settings=SETTINGS)
        assert noted == []


@pytest.mark.usefixtures("ssh_runs")
def test_endless_banners_end_the_connection(shop, tmp_path, target):
    class Talking(Hostile):
        banners = 1000

    with hostile_server(Talking, tmp_path, git_of(shop)) as (source, _):
        with pytest.raises(LimitExceeded, match="too many banners") as caught:
            export(source, "main", target, settings=SETTINGS)
        assert "Shorten the server's banner" in caught.value.hint
        Talking.banners = 1
        export(source, "main", target, settings=SETTINGS)


@pytest.mark.parametrize("signs_in_with", ["a key", "the agent"])
def test_a_remote_command_gets_no_agent_terminal_or_variable(
    tmp_path, target, agent, monkeypatch, signs_in_with
):
    monkeypatch.setenv("LANG", "of-the-user")
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    seen = []

    def note(process):
        forwarded = process.channel.get_agent_path()
        seen.append(process.command)
        seen.append((forwarded, process.get_terminal_type(), dict(process.env)))
        refuse(process)

    with hostile_server(Hostile, tmp_path, note) as (source, noted):
        if signs_in_with == "the agent":
            credential = SshCredential(agent=True, host_keys=source.credential.host_keys)
            source = source.model_copy(update={"credential": credential})
        with pytest.raises(RemoteRefused, match=r'refused: "\[31mERROR|ERROR: nothing') as caught:
            export(source, "main", target, settings=SETTINGS)
        assert set(noted) == {"publickey"}
    assert caught.value.message.isprintable()
    assert seen[0] == "git-upload-pack '/x.git'"
    assert seen[1] == (None, None, {"GIT_PROTOCOL": "version=2"})


FLOOD = """
import os
line = b" ".join((b"1" * 40, b"refs/heads/" + b"x" * 7))
while True:
    os.write(1, (b"%04x" % (len(line) + 4) + line) * 1000)
"""


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("yes >&2", LimitExceeded, "too many messages"),
        ("yes", GitError, "not in the git protocol"),
        (f"exec {sys.executable} -c '{FLOOD}'", LimitExceeded, "too much"),
        ("printf '\\033[31mERROR: \\033[2Jgone\\n' >&2; exit 1", RemoteRefused, "gone"),
        ("exit 1", RemoteRefused, "exit status 1"),
        ("kill -9 $$", GitError, "was closed before"),
        ("printf '0032ERR access denied or repository not exported\\n'", RemoteRefused, "denied"),
        ("echo 'not so fast' >&2; exit 0", GitError, "was closed before"),
    ],
)
@pytest.mark.usefixtures("ssh_runs")
def test_output_of_a_remote_command_is_bounded_and_printable(
    sshd, upload_pack, target, script, kind, said
):
    upload_pack(script)
    with pytest.raises(kind, match=said) as caught:
        export(sshd.source("x"), "main", target, settings=SETTINGS)
    assert caught.value.message.isprintable()
    assert nothing_left(target)


# The user's own SSH


@pytest.fixture
def poisoned_home(tmp_path, monkeypatch, sshd):
    """A home whose SSH would let anybody in, and runs a program if it is read."""
    directory = tmp_path / "poisoned" / ".ssh"
    directory.mkdir(parents=True)
    ran = tmp_path / "ran"
    directory.joinpath("config").write_text(f"Host *\n  ProxyCommand touch {ran}\n  User nobody\n")
    directory.joinpath("known_hosts").write_text("\n".join(sshd.host_keys) + "\n")
    for name in ("id_ed25519", "id_ed25519.pub"):
        suffix = ".pub" if name.endswith(".pub") else ""
        directory.joinpath(name).write_text(Path(f"{sshd.key}{suffix}").read_text())
        directory.joinpath(name).chmod(0o600)
    monkeypatch.setenv("HOME", str(directory.parent))
    yield
    assert not ran.exists()


@pytest.fixture
def agent(tmp_path, sshd):
    """An agent that has the key; gives the path of its socket."""
    path = tmp_path / "agent.sock"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + NO_HANG
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    sshd.key.chmod(0o600)
    environment = os.environ | {"SSH_AUTH_SOCK": str(path)}
    subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True, env=environment)
    yield str(path)
    running.terminate()
    running.wait()


def test_the_ssh_configuration_of_the_user_is_not_used(
    sshd, shop, tmp_path, target, poisoned_home, agent, monkeypatch
):
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(KeyRefused):
        export(sshd.source(shop, key=stranger), "main", target, settings=SETTINGS)
    with pytest.raises(HostKeyRefused):
        export(sshd.source(shop, host_keys=()), "main", target, settings=SETTINGS)
    export(sshd.source(shop), "main", target, settings=SETTINGS)


def test_an_agent_authenticates_on_request(sshd, shop, target, agent, monkeypatch, poisoned_home):
    credential = SshCredential(agent=True, host_keys=sshd.host_keys)
    source = CloneUrl(url=sshd.url(shop), credential=credential)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(ConfigurationError, match="SSH_AUTH_SOCK is not set"):
        export(source, "main", target, settings=SETTINGS)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(target))
    with pytest.raises(ConfigurationError, match="no SSH agent with a key"):
        export(source, "main", target, settings=SETTINGS)
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    export(source, "main", target, settings=SETTINGS)


@pytest.mark.usefixtures("ssh_runs")
def test_a_revoked_host_key_is_refused(sshd, shop, target):
    revoked = tuple(f"@revoked {line}" for line in sshd.host_keys)
    source = sshd.source(shop, host_keys=(*sshd.host_keys, *revoked))
    with pytest.raises(HostKeyRefused, match="marked as revoked"):
        export(source, "main", target, settings=SETTINGS)


@pytest.mark.parametrize(
    ("key", "passphrase", "said"),
    [
        ("nonsense", None, "cannot be read"),
        ("ssh-ed25519 AAAA ada@host", None, "is a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", None, "the format of PuTTY"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n" * 2, None, "several keys in one text"),
        ("A" * 70_000, None, "more than 65,536 characters"),
        ("{encrypted}", None, "is encrypted, and there is no passphrase"),
        ("{encrypted}", "wrong", "passphrase does not open"),
    ],
)
@pytest.mark.usefixtures("ssh_runs")
def test_an_unusable_key_is_reported(sshd, shop, tmp_path, target, key, passphrase, said):
    if key == "{encrypted}":
        key = Path(make_key(tmp_path / "encrypted", passphrase="right")).read_text()
    credential = SshCredential(
        private_key=SecretStr(key), passphrase=passphrase, host_keys=sshd.host_keys
    )
    with pytest.raises(ConfigurationError, match=said) as caught:
        export(CloneUrl(url=sshd.url(shop), credential=credential), "main", target)
    assert caught.value.__context__ is None
    whole = {"private_key": SecretStr(Path(sshd.key).read_text()), "passphrase": None}
    if "passphrase" in said:
        sshd.authorize(tmp_path / "encrypted")
        whole = {"passphrase": SecretStr("right")}
    credential = credential.model_copy(update=whole)
    export(CloneUrl(url=sshd.url(shop), credential=credential), "main", target)


@pytest.mark.usefixtures("ssh_runs")
def test_a_url_without_a_key_or_path_is_refused(sshd, shop, target, tmp_path):
    with pytest.raises(ConfigurationError, match="There is no SSH key for") as caught:
        export(CloneUrl(url=sshd.url(shop)), "main", target)
    assert "Give the provider an ssh_private_key" in caught.value.hint
    export(CloneUrl(url=sshd.url(shop), credential=sshd.credential()), "main", target)
    with pytest.raises(ConfigurationError, match="has no path") as caught:
        export(CloneUrl(url="ssh://git@h/", credential=sshd.credential()), "main", target)
    assert caught.value.hint == "Correct it: ssh://git@host/path"
    path = shop.relative_to("/")
    right = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}/{path}"
    export(CloneUrl(url=right, credential=sshd.credential()), "main", tmp_path / "corrected")


def test_a_missing_extra_is_named(sshd, shop, target, monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncssh.connection", None)
    with pytest.raises(ConfigurationError, match="not installed") as caught:
        export(sshd.source(shop), "main", target)
    assert "pip install 'deploycore[ssh]'" in caught.value.hint
    brought = [
        each for each in requires("deploycore") if "extra == 'ssh'" in each.replace('"', "'")
    ]
    assert any(each.startswith("asyncssh") for each in brought)
    monkeypatch.undo()  # as if it were installed
    export(sshd.source(shop), "main", target)


@pytest.mark.usefixtures("ssh_runs")
def test_ssh_works_inside_another_event_loop(sshd, shop, target):
    async def run():
        export(sshd.source(shop), "main", target, settings=SETTINGS)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert len(snapshot(target)) == 200
