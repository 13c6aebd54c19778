"""The target is complete or absent, whatever fails, and however the process ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from deploycore.disk import trees as disk
from deploycore.errors import ConfigurationError, DeploycoreError, GitError
from deploycore.git import clone, export, remove_leftovers
from deploycore.git.checkout.target import staging_for
from tests.forked import ForkedProcess
from tests.git.servers import EXECUTABLE, LINK, nothing_left, snapshot, source

FILES = {"a": b"1", "d/b": b"22" * 2000, "d/run": (EXECUTABLE, b""), "d/l": (LINK, b"b")}
CALLS = ("open", "write", "mkdir", "symlink", "rename", "replace", "fsync", "stat", "fstat")


class Fault:
    """Lets the n-th call of the file system in this thread fail, once.

    Attributes:
        at: Which one; from 1.
        met: Whether there were that many.
    """

    def __init__(self, monkeypatch, at, number):
        self.at, self.met = at, False
        self._number = number
        self._count = 0
        self._thread = threading.get_ident()
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name, original):
        def call(*arguments, **named):
            if threading.get_ident() == self._thread:
                self._count += 1
                if self._count == self.at:
                    self.met = True
                    raise OSError(self._number, os.strerror(self._number))
            return original(*arguments, **named)

        return call


@pytest.fixture(params=["syncfs", "fsync"])
def flushing(request, monkeypatch):
    """Both ways of bringing files to the disk."""
    if request.param == "fsync":
        monkeypatch.setattr(disk, "_syncfs", lambda: None)
    elif disk._syncfs() is None:
        pytest.skip("no syncfs that tells of failures")


@pytest.mark.parametrize("operation", [export, clone])
def test_no_disk_error_leaves_files_behind(
    make, target, settings, monkeypatch, flushing, operation
):
    number = errno.ENOSPC
    shop = make("shop", FILES)
    whole = failed = 0
    for at in range(1, 1000):
        with monkeypatch.context() as patched:
            fault = Fault(patched, at, number)
            error = None
            try:
                operation(source(shop.url), "main", target, settings=settings)
            except DeploycoreError as caught:
                error = caught
        if error is None:
            # Looking for leftovers and removing our own may fail without harm.
            whole += 1
            assert len(snapshot(target)) == 5
            remove_leftovers(target.parent)
            assert os.listdir(target.parent) == [target.name]
            subprocess.run(["rm", "-r", target], check=True)
        else:
            failed += 1
            assert isinstance(error, GitError), error
            assert os.strerror(number) in error.message
            assert nothing_left(target), (at, os.listdir(target.parent))
        if not fault.met:
            break
    assert not fault.met
    assert failed > 10
    assert whole < 10


def test_a_full_disk_during_flushing_leaves_nothing_behind(make, target, settings, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "_syncfs", lambda: full)
    with pytest.raises(GitError, match="No space left on device") as caught:
        export(source(make("shop", FILES).url), "main", target, settings=settings)
    assert caught.value.details["path"] == str(target)
    assert nothing_left(target)


@pytest.mark.unprivileged(only=True)
def test_an_unwritable_directory_is_named(make, target, settings):
    target.parent.chmod(0o500)
    with pytest.raises(GitError, match="Permission denied"):
        export(source(make("shop", FILES).url), "main", target, settings=settings)


def test_a_name_that_the_file_system_cannot_store_is_reported(make, target, settings):
    shop = make("shop", {"x" * 256: b""})
    with pytest.raises(GitError, match="more than 255 bytes"):
        export(source(shop.url), "main", target, settings=settings)
    assert nothing_left(target)


def test_a_target_created_during_the_export_is_not_overwritten(make, target, settings):
    def occupy(now):
        if now.phase == "writing" and not target.exists():
            target.mkdir()
            (target / "mine").write_text("mine")

    with pytest.raises(GitError, match="not empty"):
        export(source(make("shop", FILES).url), "main", target, progress=occupy, settings=settings)
    assert snapshot(target.parent) == {
        b"target": ("directory",),
        b"target/mine": ("file", b"mine", False),
    }


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_of_a_listener_is_raised_and_leaves_nothing_behind(
    make, target, settings, error
):
    def listen(now):
        if now.phase == "writing":
            raise error

    with pytest.raises(type(error)):
        export(source(make("shop", FILES).url), "main", target, progress=listen, settings=settings)
    assert nothing_left(target)


KILLED = """
import os, signal, sys
from pathlib import Path
from deploycore.git import export
from deploycore.models import CloneUrl

def listen(now):
    if now.phase == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

export(CloneUrl(url=sys.argv[1]), "main", Path(sys.argv[2]), progress=listen)
"""


@pytest.mark.parametrize("phase", ["connecting", "receiving", "writing"])
def test_files_of_a_killed_process_are_removed_by_the_next_export(make, target, settings, phase):
    shop = make("shop", FILES)

    def export_until_killed():
        with ForkedProcess([sys.executable, "-c", KILLED, shop.url, str(target), phase]) as process:
            assert process.wait(30) == -signal.SIGKILL

    export_until_killed()
    assert not target.exists()
    [leftover] = target.parent.iterdir()
    assert remove_leftovers(target.parent) == [leftover]
    assert nothing_left(target)

    export_until_killed()
    assert len(os.listdir(target.parent)) == 1
    export(source(shop.url), "main", target, settings=settings)
    assert os.listdir(target.parent) == ["target"]


def test_files_of_a_running_process_are_not_removed(make, target, settings):
    found = []

    def listen(now):
        found.append(remove_leftovers(target.parent))

    export(source(make("shop", FILES).url), "main", target, progress=listen, settings=settings)
    assert found
    assert not any(found)
    assert len(snapshot(target)) == 5


def test_only_directories_named_like_leftovers_are_removed(tmp_path):
    kept = [
        ".current.deploycore-0123456789abcdef",
        ".x.deploycore-0123",
        "x.deploycore-" + "0" * 16,
    ]
    (tmp_path / kept[0]).symlink_to("elsewhere")
    (tmp_path / kept[1]).mkdir()
    (tmp_path / kept[2]).mkdir()
    left = tmp_path / (".x.deploycore-" + "0" * 16)
    (left / "tree" / "d").mkdir(parents=True)
    assert remove_leftovers(tmp_path) == [left]
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_missing_directory_has_no_leftovers(tmp_path):
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_concurrent_exports_do_not_treat_each_other_as_leftovers(tmp_path):
    problems = []

    def work(number):
        try:
            for turn in range(10):
                with staging_for(tmp_path / f"{number}-{turn}") as staging:
                    (staging.tree / "f").write_text("x")
                    staging.publish()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(os.listdir(tmp_path)) == 80


def test_a_new_directory_is_not_locked_while_another_process_removes_it(tmp_path, monkeypatch):
    """The other process takes the lock of a directory that was just created, before its owner.

    Both go on when the other process has removed the lock, but not yet the directory.
    """
    lock_is_removed, owner_has_tried = threading.Event(), threading.Event()
    mkdir, rmdir = os.mkdir, os.rmdir
    other = threading.Thread(target=remove_leftovers, args=(tmp_path,))

    def mkdir_and_wait(path, *arguments, **named):
        mkdir(path, *arguments, **named)
        monkeypatch.setattr(os, "mkdir", mkdir)
        other.start()
        assert lock_is_removed.wait(60)

    def wait_and_rmdir(path, **named):
        if threading.current_thread() is other:
            lock_is_removed.set()
            assert owner_has_tried.wait(60)
        rmdir(path, **named)

    monkeypatch.setattr(os, "mkdir", mkdir_and_wait)
    monkeypatch.setattr(os, "rmdir", wait_and_rmdir)
    with staging_for(tmp_path / "target") as staging:
        owner_has_tried.set()
        other.join()
        (staging.tree / "f").write_text("x")
        staging.publish()
    assert os.listdir(tmp_path / "target") == ["f"]
    assert os.listdir(tmp_path) == ["target"]


def test_an_empty_target_is_restored_if_the_last_step_fails(make, target, settings, monkeypatch):
    def fails(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.mkdir()
    monkeypatch.setattr("deploycore.git.checkout.target.sync_directory", fails)
    with pytest.raises(GitError, match="Input/output error"):
        export(source(make("shop", FILES).url), "main", target, settings=settings)
    assert snapshot(target.parent) == {b"target": ("directory",)}


def test_an_empty_target_keeps_its_mode(make, target, settings):
    target.mkdir()
    target.chmod(0o2550)
    export(source(make("shop", FILES).url), "main", target, settings=settings)
    assert target.stat().st_mode & 0o7777 == 0o2550
    assert len(snapshot(target)) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_empty_target_keeps_its_owner_and_passes_on_its_group(make, target, settings):
    target.mkdir()
    os.chown(target, 1234, 4321)
    target.chmod(0o2750)
    export(source(make("shop", FILES).url), "main", target, settings=settings)
    found = target.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 4321, 0o2750)
    assert {(target / name).stat().st_gid for name in ("a", "d", "d/b")} == {4321}


def test_an_empty_target_keeps_its_mode_if_the_last_step_fails(make, target, settings, monkeypatch):
    def fails(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.mkdir()
    target.chmod(0o2711)
    monkeypatch.setattr("deploycore.git.checkout.target.sync_directory", fails)
    with pytest.raises(GitError, match="Input/output error"):
        export(source(make("shop", FILES).url), "main", target, settings=settings)
    assert target.stat().st_mode & 0o7777 == 0o2711


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_an_invalid_target_path_is_rejected(make, target, settings, name):
    with pytest.raises(ConfigurationError, match="not allowed in a path"):
        export(source("http://127.0.0.1:9/x"), "main", target.parent / name, settings=settings)


def test_a_ref_with_a_lone_surrogate_is_rejected(make, target, settings):
    with pytest.raises(ConfigurationError, match="does not allow"):
        export(source("http://127.0.0.1:9/x"), "ma\ud800in", target, settings=settings)
    assert nothing_left(target)


def test_disk_errors_are_detected_from_the_first_file_on(make, target, settings, monkeypatch):
    """``syncfs`` tells of what failed since its descriptor was opened: before all is written."""
    synced = []
    monkeypatch.setattr(disk, "_syncfs", lambda: synced.append)
    opened = []

    def listen(now):
        if now.phase == "connecting":
            [staging] = target.parent.iterdir()
            at = os.stat(staging / "lock")
            held = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is(fd, at)]
            opened.extend(held)

    export(source(make("shop", FILES).url), "main", target, progress=listen, settings=settings)
    assert synced == opened[:1]


def _is(descriptor, at):
    try:
        return os.path.samestat(os.fstat(descriptor), at)
    except OSError:
        return False
