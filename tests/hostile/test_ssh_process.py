"""The process that holds a command's SSH connection: what it does not disturb, and how it fails."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace

import pytest

from deploycore.errors import ConfigurationError, GitError
from deploycore.git import Cancellation, Progress, export
from deploycore.http.wire import Wire
from deploycore.models import CloneUrl
from deploycore.ssh import process, process_main
from deploycore.ssh.process import Job, ProcessCommand
from deploycore.ssh.server import SshServer
from tests.git.servers import nothing_left, snapshot
from tests.hostile.ssh_servers import NO_HANG, SETTINGS, noisy_repository
from tests.hostile.test_ssh import through
from tests.ssh_server import forked_ssh_process, proxy

OFFSETS = 10


@pytest.fixture(scope="module")
def shop(sshd, tmp_path_factory):
    name = tmp_path_factory.mktemp("process").name
    with noisy_repository(sshd, name, files=400, file_bytes=3000) as path:
        yield path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "target"


@pytest.fixture(autouse=True)
def nothing_stays():
    """No descriptor and no child is left."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before
    assert process.find_prepared() is None


@contextmanager
def prepared(monkeypatch):
    """A prepared process; it has ended, and was waited for, after the block."""
    with forked_ssh_process(monkeypatch) as found:
        yield found
    assert not os.path.exists(f"/proc/{found._pid}")


def test_the_files_are_the_same(sshd, shop, target, tmp_path, monkeypatch):
    export(sshd.source(shop), "main", tmp_path / "here", settings=SETTINGS)
    with prepared(monkeypatch) as running:
        export(sshd.source(shop), "main", target, settings=SETTINGS)
        assert running._is_ended  # as soon as it is not needed
        export(sshd.source(shop), "main", tmp_path / "again", settings=SETTINGS)
    assert snapshot(target) == snapshot(tmp_path / "here") == snapshot(tmp_path / "again")


@pytest.mark.parametrize("share", [number / OFFSETS for number in range(OFFSETS)])
def test_a_dropped_connection_is_the_same_error(sshd, shop, target, tmp_path, monkeypatch, share):
    with proxy(sshd.port) as running:
        export(through(sshd, running, shop), "main", tmp_path / "whole", settings=SETTINGS)
        whole = running.passed
    told = []
    for way in (nullcontext(), prepared(monkeypatch)):
        with proxy(sshd.port, cut_after=int(whole * share)) as running, way:
            source = through(sshd, running, shop)
            with pytest.raises(GitError) as caught:
                export(source, "main", target, settings=SETTINGS)
        told.append((type(caught.value), str(caught.value).replace(str(running.port), "PORT")))
        assert nothing_left(target)
    assert told[0] == told[1]


def test_a_retry_is_made_without_the_process(sshd, shop, target, monkeypatch):
    with proxy(sshd.port, cut_after=200_000, times=1) as running, prepared(monkeypatch):
        settings = replace(SETTINGS, retries=1)
        export(through(sshd, running, shop), "main", target, settings=settings)
        assert running.connections == 2
    assert len(snapshot(target)) == 800


@pytest.mark.parametrize("when", ["before", "while it receives"])
def test_a_process_that_is_killed_is_replaced(sshd, shop, target, monkeypatch, when):
    with proxy(sshd.port) as running, prepared(monkeypatch) as ready:

        def kill(progress: Progress) -> None:
            if progress.phase == "receiving" and not ready._is_ended:
                os.kill(ready._pid, signal.SIGKILL)

        if when == "before":
            os.kill(ready._pid, signal.SIGKILL)
            os.waitid(os.P_PID, ready._pid, os.WEXITED | os.WNOWAIT)
        export(
            through(sshd, running, shop),
            "main",
            target,
            settings=replace(SETTINGS, retries=1),
            progress=kill,
        )
        assert ready._is_ended
    assert len(snapshot(target)) == 800


def test_a_process_that_stops_ends_with_the_cancellation(sshd, shop, target, monkeypatch):
    with prepared(monkeypatch) as ready:
        cancellation = Cancellation()
        os.kill(ready._pid, signal.SIGSTOP)
        settings = replace(SETTINGS, total_timeout=1)
        started = time.monotonic()
        with pytest.raises(GitError, match=r"more than 1 second"):
            export(sshd.source(shop), "main", target, settings=settings, cancellation=cancellation)
        assert time.monotonic() - started < SETTINGS.read_timeout
    assert nothing_left(target)


def test_a_process_that_stops_is_a_silent_server(sshd, shop, target, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.1)
    with prepared(monkeypatch) as ready:
        os.kill(ready._pid, signal.SIGSTOP)
        with pytest.raises(GitError, match="did not answer in time"):
            export(sshd.source(shop), "main", target, settings=replace(SETTINGS, read_timeout=0.2))
    assert nothing_left(target)


def test_a_process_without_a_job_ends_by_itself(sshd, shop, target, monkeypatch):
    monkeypatch.setattr(process_main, "_IDLE_SECONDS", 0.1)
    with prepared(monkeypatch) as ready:
        os.waitid(os.P_PID, ready._pid, os.WEXITED | os.WNOWAIT)
        export(sshd.source(shop), "main", target, settings=SETTINGS)
    assert len(snapshot(target)) == 800


def test_another_repository_than_the_one_begun_is_fetched_here(sshd, shop, target, monkeypatch):
    server, settings = SshServer.of(sshd.url("another")), SETTINGS
    with prepared(monkeypatch) as ready:
        wire = Wire(settings.connect_timeout)
        ready.begin(Job(server, sshd.credential(), "git-upload-pack 'x'", {}, 5.0), wire)
        wire.close()
        assert process.find_prepared() is None
        export(sshd.source(shop), "main", target, settings=settings)
        assert ready._is_ended
    assert len(snapshot(target)) == 800


def test_a_job_that_is_too_large_is_done_here(sshd, shop, target, monkeypatch):
    [line, _] = sshd.host_keys
    many = tuple(f"{number}.example.com,{line}" for number in range(4000))
    with prepared(monkeypatch) as ready:
        export(sshd.source(shop, host_keys=many), "main", target, settings=SETTINGS)
        assert ready.is_idle
    assert len(snapshot(target)) == 800


@pytest.mark.parametrize(
    ("module", "call", "number"),
    [
        (process.mmap, "mmap", errno.ENOMEM),
        (socket, "socketpair", errno.EMFILE),
        (os, "fork", errno.EAGAIN),
    ],
    ids=["no memory", "no descriptor", "no process"],
)
def test_without_another_process_the_command_goes_on(
    sshd, shop, target, monkeypatch, module, call, number
):
    def refused(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(process, "_can_fork", lambda: True)
    with ExitStack() as until_end:
        with monkeypatch.context() as refusing:
            refusing.setattr(module, call, refused)
            until_end.enter_context(process.prepared())
        assert process.find_prepared() is None
        export(sshd.source(shop), "main", target, settings=SETTINGS)
    assert len(snapshot(target)) == 800


def test_an_unusable_url_or_target_uses_no_connection(sshd, shop, target, monkeypatch):
    with proxy(sshd.port) as running, prepared(monkeypatch):
        with pytest.raises(ConfigurationError, match="has no path"):
            export(CloneUrl(url="ssh://git@h/", credential=sshd.credential()), "main", target)
        with pytest.raises(ConfigurationError, match="no SSH key"):
            export(CloneUrl(url=through(sshd, running, shop).url), "main", target)
        assert running.connections == 0


def test_input_beyond_the_buffers_is_sent_while_output_is_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(NO_HANG)
        command, sent = ProcessCommand(ours), os.urandom(2_000_000)
        command.write(sent)
        received = b""
        theirs.setblocking(False)
        for _ in range(1000):
            try:
                while data := theirs.recv(100_000):
                    received += data
            except BlockingIOError:
                pass
            if len(received) == len(sent):
                break
            theirs.send(process.HEADER.pack(process.OUTPUT, 1) + b"x")
            assert command.read() == b"x"
        assert received == sent


def test_a_fork_needs_a_single_thread_and_the_usual_signals(monkeypatch):
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert process._can_fork()
    monkeypatch.setattr("threading.active_count", lambda: 2)
    assert not process._can_fork()
    monkeypatch.setattr("threading.active_count", lambda: 1)
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert not process._can_fork()
    finally:
        signal.signal(signal.SIGCHLD, former)
    monkeypatch.setattr("sys.platform", "darwin")
    assert not process._can_fork()
