"""The watch records side effects of the process, but not those of sandboxes."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import tempfile
import threading

import pytest

from deploycore.testing.host import LoopbackHost
from deploycore.testing.side_effects import Watch, changes_of, process_state, threads_left

TEXT = "what nobody else may read"


def written(path):
    path.write_text(TEXT)


def removed(path):
    path.write_text(TEXT)
    path.unlink()


def renamed(path):
    path.write_text(TEXT)
    path.rename(path.with_suffix(".new")).unlink()


def appended(path):
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(number, TEXT.encode())
    os.close(number)


def in_a_database(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (text)")
    database.execute("INSERT INTO t VALUES (?)", (TEXT,))
    database.commit()
    database.close()


def temporary(path):
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(TEXT)
        file.flush()


@pytest.mark.parametrize(
    "write",
    [written, removed, renamed, appended, in_a_database, temporary],
    ids=lambda f: f.__name__,
)
def test_written_content_is_recorded(write, tmp_path):
    with Watch() as watch:
        write(tmp_path / "file")
    assert any(TEXT in text for text in watch.contents.values())


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["true", TEXT], check=True),
        lambda: subprocess.run(f"true '{TEXT}'", shell=True, check=True),
        lambda: os.system(f"true '{TEXT}'"),
        lambda: os.waitpid(os.posix_spawn("/bin/true", ["true", TEXT], {}), 0),
    ],
    ids=["run", "shell", "system", "posix_spawn"],
)
def test_arguments_of_child_processes_are_recorded(start):
    with Watch() as watch:
        start()
    assert any(TEXT in line for line in watch.arguments)


def test_connections_to_other_hosts_are_recorded_and_blocked():
    with LoopbackHost() as host, LoopbackHost() as other:
        own, foreign = (int(each.url.rpartition(":")[2]) for each in (host, other))
        with Watch(("127.0.0.1", own)) as watch:
            for name in ("127.0.0.1", "localhost"):
                socket.create_connection((name, own), timeout=30).close()
            with pytest.raises(OSError, match="only the configured host"):
                socket.create_connection(("127.0.0.1", foreign), timeout=30)
            with pytest.raises(OSError, match="only the configured host"):
                socket.getaddrinfo("acme.invalid", 443)
    assert set(watch.places) == {f"127.0.0.1:{foreign}", "acme.invalid:443"}


def test_nothing_is_recorded_after_the_watch_ends(tmp_path):
    with Watch() as watch:
        pass
    written(tmp_path / "file")
    subprocess.run(["true"], check=True)
    assert not watch.contents
    assert not watch.arguments


def test_changes_to_the_process_are_reported_without_values(monkeypatch, tmp_path):
    before = process_state()
    assert changes_of(before) == []
    monkeypatch.setenv("ACME_TOKEN", TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG - 1)
    socket.setdefaulttimeout(77)
    try:
        found = changes_of(before)
    finally:
        socket.setdefaulttimeout(None)
    assert [name.partition(" (")[0] for name in found] == [
        "the environment variable ACME_TOKEN",
        "the level of the root logger",
        "the time-out of all sockets",
        "the working directory",
    ]
    assert TEXT not in str(found)


def test_threads_that_end_are_waited_for_and_others_are_named():
    before = set(threading.enumerate())
    going_on = threading.Event()
    threads = [
        threading.Thread(target=going_on.wait, name="left", daemon=True),
        threading.Thread(target=lambda: None, name="short"),
    ]
    for thread in threads:
        thread.start()
    try:
        assert threads_left(before) == ["left"]
    finally:
        going_on.set()
        threads[0].join()
    assert threads_left(before) == []
