"""The audit log has the right entries, and no failure loses an entry that was flushed."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from deploycore.errors import NotFound
from deploycore.events import Webhook
from deploycore.models import RepositoryId
from deploycore.testing.observers import make_deployment, make_provider_call
from pydantic import ValidationError

from deploycore_audit import AuditConfig, AuditFile, AuditObserver
from deploycore_audit import file as module

CANARY = "made-up-secret-in-a-place-that-is-not-logged"
SHOP = RepositoryId(owner="acme", slug="shop")


class Killed(BaseException):
    """Simulates a kill: after it, only code that closes files runs."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log" / "audit.jsonl"


@pytest.fixture
def observer(path):
    return AuditObserver(AuditConfig(path=path))


def small(path, keep=3):
    return AuditFile(path, max_bytes=100, keep=keep)


def files(path):
    numbered = [each for each in path.parent.glob(f"{path.name}.*") if each.suffix != ".lock"]
    return [*sorted(numbered), *([path] if path.exists() else [])]


def entries(path):
    """The entries of all files, the oldest first; an incomplete line is an error."""
    return [json.loads(line) for each in files(path) for line in each.read_text().splitlines()]


def numbers(path):
    return [each["n"] for each in entries(path)]


def test_a_deployment_is_logged_from_start_to_end(observer, path):
    observer.deploy_started(make_deployment(state="queued"))
    observer.deploy_state_changed(make_deployment(state="fetching"))
    observer.deploy_state_changed(make_deployment(state="failed"))
    observer.deploy_finished(make_deployment(state="failed"), NotFound(f"No {CANARY}."))
    started, state, finished = entries(path)
    assert [started["event"], state["event"]] == ["deployment_started", "deployment_state"]
    assert (state["state"], finished["event"]) == ("fetching", "deployment_finished")
    assert (finished["state"], finished["error_code"]) == ("failed", "not_found")
    assert (started["application"], started["cause"], started["provider"]) == (
        "shop",
        "push",
        "work",
    )
    assert started["at"].endswith("+00:00")
    assert started["pid"] == os.getpid()


def test_the_record_of_a_recovered_deployment_has_its_error_code(observer, path):
    observer.deploy_finished(make_deployment(state="failed", error_code="interrupted"), None)
    assert entries(path)[0]["error_code"] == "interrupted"


def test_only_calls_that_change_data_are_logged(observer, path):
    listed = make_provider_call(hook="list_repos", arguments={"query": CANARY})
    observer.provider_call_finished(listed, 3, None)
    made = make_provider_call(
        hook="register_webhook", arguments={"repository": SHOP, "url": f"https://x/{CANARY}"}
    )
    observer.provider_call_finished(made, Webhook(id="9", url=f"https://x/{CANARY}"), None)
    gone = make_provider_call(hook="remove_webhook", arguments={"repository": SHOP, "webhook": "9"})
    observer.provider_call_finished(gone, None, NotFound(CANARY))
    found = [(e["event"], e["repository"], e["webhook"], e["error_code"]) for e in entries(path)]
    assert found == [
        ("register_webhook", "acme/shop", "9", None),
        ("remove_webhook", "acme/shop", "9", "not_found"),
    ]


def test_secrets_and_error_texts_are_not_logged(observer, path):
    deployment = make_deployment(error=CANARY, subject=CANARY, author=CANARY)
    observer.deploy_started(deployment)
    observer.deploy_finished(deployment, NotFound(CANARY))
    assert CANARY not in path.read_text()


def test_long_and_unusual_texts_stay_on_one_line(observer, path):
    observer.deploy_started(make_deployment(requested_by="\n\u2028ü" + "x" * 5000))
    assert path.read_bytes().count(b"\n") == 1
    assert entries(path)[0]["requested_by"] == "\n\u2028ü" + "x" * 997


def test_the_log_is_only_readable_by_its_owner(observer, path):
    observer.deploy_started(make_deployment())
    for each in (path, path.with_name("audit.jsonl.lock")):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_log_file_readable_by_others_is_made_private(path):
    path.parent.mkdir()
    path.write_text("")
    path.chmod(0o644)
    small(path).write({"n": 1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["audit.jsonl", "audit.jsonl.lock"])
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
def test_a_path_that_is_not_an_own_regular_file_is_not_written(path, caplog, place, kind):
    path.parent.mkdir()
    there, other = path.with_name(place), path.parent / "other"
    other.write_text("precious\n")
    if kind == "link":
        there.symlink_to(other)
    elif kind == "hard link":
        there.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(there)
    else:
        there.mkdir()
    small(path).write({"n": 1})
    assert "cannot be written" in caplog.text
    assert other.read_text() == "precious\n"


@pytest.mark.parametrize("wrong", [{"path": "audit.jsonl"}, {"path": "/"}, {"keep": 0}, {"max": 1}])
def test_invalid_settings_are_errors(wrong, path):
    with pytest.raises(ValidationError):
        AuditConfig(**({"path": path} | wrong))


def test_the_log_is_rotated_by_size_and_the_newest_files_are_kept(path):
    log = small(path, keep=3)
    for number in range(60):
        log.write({"n": number, "text": "x" * 20})
    names = [each.name for each in files(path)]
    assert len(names) == 4
    assert all(each.stat().st_size <= 100 for each in files(path))
    assert numbers(path) == list(range(60))[-len(numbers(path)) :]
    last = int(names[-2].rpartition(".")[2])
    assert names[:-1] == [f"audit.jsonl.{number:06}" for number in range(last - 2, last + 1)]


def test_an_entry_larger_than_a_file_is_written(path):
    log = small(path)
    log.write({"n": 1, "text": "x" * 500})
    log.write({"n": 2})
    assert numbers(path) == [1, 2]


CALLS = ("open", "write", "fsync", "rename", "unlink", "close", "listdir", "lstat", "fstat")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_step_loses_no_written_entry(tmp_path, monkeypatch, when):
    step, is_over = 0, False
    while not is_over:
        path = tmp_path / f"{step}" / "audit.jsonl"
        log, written = small(path, keep=2), []
        for number in range(9):  # fills files, so that the next entry rotates and removes
            log.write({"n": number, "text": "x" * 20})
        before = set(numbers(path))
        with monkeypatch.context() as patched:
            count = killing_at(patched, step, when)
            try:
                log.write({"n": 100, "text": "x" * 20})
                written = [100]
            except Killed:
                pass
            is_over = count() <= step
        small(path, keep=2).write({"n": 101})
        found = numbers(path)
        lost = before - set(found)
        assert not lost or max(lost) < min(set(found) & before)  # only the oldest, by rotation
        assert len(lost) <= 3
        assert found[-1] == 101
        assert set(written) <= set(found)
        step += 1
    assert step > 10


def killing_at(patched, step, when):
    """Raise ``Killed`` in place of the call with this number, or after it; yield the number of
    calls."""
    calls = []

    def wrapped(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            calls.append(name)
            if len(calls) - 1 == step and name != "close":
                if when == "after":
                    result = real(*arguments, **options)
                    if name == "open":
                        os.close(result)
                raise Killed
            return real(*arguments, **options)

        return call

    fakes = {name: wrapped(name) for name in CALLS}
    patched.setattr(module, "os", Overlay(fakes))
    return lambda: len(calls)


class Overlay:
    """The module ``os`` with other functions."""

    def __init__(self, fakes):
        self.__dict__.update(fakes)

    def __getattr__(self, name):
        return getattr(os, name)


def test_an_incomplete_line_of_a_killed_process_is_terminated_first(path):
    log = AuditFile(path, max_bytes=4096, keep=1)
    log.write({"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n":2,"te')
    log.write({"n": 3})
    assert path.read_bytes() == b'{"n":1}\n{"n":2,"te\n{"n":3}\n'


@pytest.mark.parametrize("written", [0, 5])
def test_a_full_disk_is_logged_once_and_loses_no_entry(path, monkeypatch, caplog, written):
    log = AuditFile(path, max_bytes=4096, keep=1)
    log.write({"n": 0})

    def full(descriptor, data):
        if written:
            return os.write(descriptor, data[:written])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(module, "os", Overlay({"write": full}))
        for number in range(1, 4):
            log.write({"n": number})
    assert numbers(path) == [0]
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    log.write({"n": 4})
    assert numbers(path) == [0, 1, 2, 3, 4]
    assert caplog.records[-1].getMessage().endswith("can be written again; 0 entries were lost")


def test_the_number_of_entries_waiting_for_the_disk_is_bounded(path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_MOST_WAITING", 2)
    log = AuditFile(path, max_bytes=4096, keep=1)
    path.mkdir(parents=True)
    for number in range(5):
        log.write({"n": number})
    path.rmdir()
    log.write({"n": 5})
    assert numbers(path) == [4, 5]
    assert "4 entries were lost" in caplog.text


def test_a_lock_held_by_another_process_is_waited_for_only_briefly(path, monkeypatch, caplog):
    import fcntl

    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    path.parent.mkdir()
    with path.with_name("audit.jsonl.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        small(path).write({"n": 1})
    assert "another process holds its lock" in caplog.text


def test_threads_write_complete_lines(path):
    log = AuditFile(path, max_bytes=2000, keep=100)

    def write(start):
        for number in range(start, start + 25):
            log.write({"n": number})

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 100, 200, 300)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(numbers(path)) == [s + n for s in (0, 100, 200, 300) for n in range(25)]


PROGRAM = """
import sys
from itertools import count
from pathlib import Path
from deploycore_audit.file import AuditFile
log = AuditFile(Path(sys.argv[1]), max_bytes=1000, keep=10000)
for number in count():
    log.write({"n": number, "by": sys.argv[2]})
    print(number, flush=True)
"""


def test_entries_of_a_killed_process_are_kept_beside_those_of_others(path, caplog):
    root = str(Path(module.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), name],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in ("one", "two")
    ]
    acknowledged = {}
    for name, writer in zip(("one", "two"), writers, strict=True):
        for _ in range(60):
            acknowledged[name] = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    AuditFile(path, max_bytes=1000, keep=10000).write({"n": -1, "by": "after"})
    found, torn = [], 0
    for each in files(path):
        for line in each.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                torn += 1
    assert torn <= 2
    for name, last in acknowledged.items():
        written = [each["n"] for each in found if each["by"] == name]
        assert written == list(range(len(written)))
        assert len(written) > last
    assert found[-1]["by"] == "after"
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
