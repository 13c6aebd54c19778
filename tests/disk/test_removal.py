"""Removal changes nothing outside its tree, removes everything that can be removed, and reports the
rest."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from deploycore.disk import removal
from deploycore.disk.removal import measure_tree, remove_tree

IS_ROOT = os.getuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root may do this")
OTHER = 64_993


@pytest.fixture
def place():
    """A directory that another user may enter, with a tree in it and somebody else's beside."""
    made = Path(tempfile.mkdtemp(prefix="removal-"))
    made.chmod(0o755)
    (made / "beside").mkdir(mode=0o750)
    (made / "beside" / "file").write_text("beside")
    (made / "tree" / "below").mkdir(parents=True)
    (made / "tree" / "below" / "file").write_text("x" * 5000)
    yield made
    subprocess.run(["chmod", "-R", "u+rwx", str(made)], check=True)  # tests close directories
    shutil.rmtree(made)


def around(place: Path) -> list:
    found = [place, place / "beside", place / "beside" / "file"]
    return [
        (each.stat().st_mode, each.stat().st_uid, each.stat().st_nlink) for each in found[1:]
    ] + [place.stat().st_mode]


def as_other(function) -> None:
    """Call something as a user who is not root; what it asserts is asserted here."""
    if not IS_ROOT:
        function()
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            function()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def give(path: Path) -> None:
    if IS_ROOT:
        for each in (path, *path.rglob("*")):
            os.chown(each, OTHER, OTHER, follow_symlinks=False)


@pytest.mark.parametrize("mode", [0o700, 0o500, 0o300, 0o100, 0o000], ids=oct)
@pytest.mark.parametrize("first", ["link", "file", "directory", "fifo", "nothing"])
def test_directories_that_their_owner_cannot_write_or_list_are_removed(place, mode, first):
    directory = place / "tree" / "closed"
    directory.mkdir()
    if first == "link":
        (directory / ".a").symlink_to("../below")
        (directory / ".b").symlink_to(place / "beside")
    elif first == "file":
        (directory / ".a").touch(mode=0o000)
    elif first == "directory":
        (directory / ".a").mkdir(mode=0o000)
    elif first == "fifo":
        os.mkfifo(directory / ".a")
    give(place / "tree")
    directory.chmod(mode)
    give_parent = place.stat()
    os.chown(place, OTHER, OTHER) if IS_ROOT else None
    before = around(place)

    def remove():
        assert remove_tree(place / "tree") is None

    as_other(remove)
    assert not (place / "tree").exists()
    assert around(place) == before
    assert give_parent.st_mode == place.stat().st_mode


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o555], ids=oct)
def test_files_of_another_user_are_kept_and_reported_and_others_removed(place, mode):
    foreign = place / "tree" / "uploads"
    foreign.mkdir()
    (foreign / "photo").write_text("y" * 9000)
    give(place / "tree")
    for each in (foreign, foreign / "photo"):
        os.chown(each, 0, 0)
    foreign.chmod(mode)
    os.chown(place, OTHER, OTHER)
    before = around(place)

    def remove():
        left = remove_tree(place / "tree")
        assert left.entries == 3
        assert left.bytes >= 8192
        assert left.first == foreign / "photo"
        assert left.reason in str(left)

    as_other(remove)
    assert around(place) == before
    assert os.listdir(place / "tree") == ["uploads"]
    assert stat.S_IMODE(foreign.stat().st_mode) == mode
    assert (foreign / "photo").stat().st_size == 9000


@as_root
@pytest.mark.parametrize("what", ["tree", "tree/below", "tree/below/file"])
def test_immutable_files_are_kept_and_reported(place, what):
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", place / what]).returncode:
        pytest.skip("this file system has no immutable files")
    before = around(place)
    (place / "tree" / "more").touch() if what != "tree" else None
    try:
        left = remove_tree(place / "tree")
        assert left.reason == "Operation not permitted"
        assert left.first == place / what or what != "tree/below/file"
        assert around(place) == before
        assert not (place / "tree" / "more").exists()
    finally:
        subprocess.run(["chattr", "-i", place / what], check=True)
    assert remove_tree(place / "tree") is None


@as_root
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_mount_points_inside_the_tree_are_not_entered(place, kind):
    point = place / "tree" / "mounted"
    point.mkdir(mode=0o500)
    how = ["--bind", place / "beside"] if kind == "bind" else ["-t", "tmpfs", "tmpfs"]
    if subprocess.run(["mount", *how, point], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (point / "kept").touch()
        before = around(place)
        left = remove_tree(place / "tree")
        assert left.first == point
        assert "mounted" in left.reason
        assert (point / "kept").exists()
        assert around(place) == before
        assert not (place / "tree" / "below").exists()
    finally:
        subprocess.run(["umount", point], check=True)
    assert remove_tree(place / "tree") is None


def test_links_are_removed_and_not_followed(place):
    (place / "tree" / "to-directory").symlink_to(place / "beside")
    (place / "tree" / "to-file").symlink_to(place / "beside" / "file")
    (place / "link").symlink_to("beside")
    before = around(place)
    assert remove_tree(place / "tree") is None
    assert remove_tree(place / "link") is None
    assert around(place) == before
    assert sorted(os.listdir(place)) == ["beside"]


def test_a_directory_replaced_by_a_link_during_removal_is_not_followed(place, monkeypatch):
    real = os.open

    def swap(path, flags, *more, **options):
        if path == "below":
            shutil.rmtree(place / "tree" / "below")
            (place / "tree" / "below").symlink_to(place / "beside")
        return real(path, flags, *more, **options)

    before = around(place)
    monkeypatch.setattr(os, "open", swap)
    left = remove_tree(place / "tree")
    monkeypatch.undo()
    assert left.first == place / "tree" / "below"
    assert around(place) == before
    assert remove_tree(place / "tree") is None


def test_files_created_during_removal_are_removed(place, monkeypatch):
    real, created = os.rmdir, []

    def create(name, **options):
        if not created:
            created.append((place / "tree" / "below" / "late").touch())
        return real(name, **options)

    monkeypatch.setattr(os, "rmdir", create)
    assert remove_tree(place / "tree") is None
    assert created


def test_removal_ends_even_if_files_are_created_endlessly(place, monkeypatch):
    real = os.rmdir

    def create(name, **options):
        (place / "tree" / "below" / "late").touch()
        return real(name, **options)

    monkeypatch.setattr(os, "rmdir", create)
    left = remove_tree(place / "tree")
    assert left.reason == "Directory not empty"


def test_a_directory_moved_during_removal_does_not_lead_outside(place, monkeypatch):
    (place / "tree" / "below" / "deeper").mkdir()
    real = os.unlink

    def move(name, **options):
        real(name, **options)
        os.rename(place / "tree" / "below" / "deeper", place / "moved")

    (place / "tree" / "below" / "deeper" / "last").touch()
    (place / "tree" / "below" / "file").unlink()
    monkeypatch.setattr(os, "unlink", move)
    before = around(place)
    left = remove_tree(place / "tree")
    assert "moved" in left.reason
    assert around(place) == before
    assert (place / "moved").is_dir()


def test_depth_and_unusual_names_are_no_limit(place):
    here = os.open(place / "tree", os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b" ", b"x" * 255, b"\x1b[31m"):
        os.mkdir(os.path.join(os.fsencode(place / "tree"), name))
        open(os.path.join(os.fsencode(place / "tree"), name, name), "w").close()
    assert measure_tree(place / "tree").entries == 2500 + 12 + 3
    assert remove_tree(place / "tree") is None


def test_without_proc_closed_directories_are_reported(place, monkeypatch):
    monkeypatch.setattr(removal, "_DESCRIPTORS", "/nowhere")
    monkeypatch.setattr(removal, "_mount", lambda descriptor: None)
    (place / "tree" / "closed").mkdir()
    (place / "tree" / "closed" / "file").touch()
    give(place / "tree")
    (place / "tree" / "closed").chmod(0)
    os.chown(place, OTHER, OTHER) if IS_ROOT else None

    def remove():
        assert remove_tree(place / "tree").first == place / "tree" / "closed"

    as_other(remove)


def test_measuring_changes_nothing_and_a_missing_tree_is_ignored(place):
    assert measure_tree(place / "tree").entries == 3
    assert (place / "tree" / "below" / "file").exists()
    assert measure_tree(place / "gone") is None
    assert remove_tree(place / "gone") is None
    assert remove_tree(place / "gone" / "below") is None
    assert remove_tree(place / "tree" / "below" / "file") is None
    with pytest.raises(ValueError, match="no name"):
        remove_tree(place / "..")
