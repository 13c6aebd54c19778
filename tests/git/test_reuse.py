"""Files that are reused from a previous release have the content that was written there."""

from __future__ import annotations

import errno
import os
import sys
from multiprocessing import spawn

import pytest

from deploycore.git import RepositoryCache, export
from deploycore.git.checkout import checkout, manifest, streaming
from deploycore.git.checkout import files as files_module
from deploycore.git.checkout.streaming import FEW_OBJECTS
from tests.git.servers import EXECUTABLE, snapshot, source

# It is read in two steps, and it is compressed fast: all servers of these tests do that.
PIECE = os.urandom(16 * 1024)
LARGE = b"".join(b"%04d" % number + PIECE for number in range(96))
FILES = {
    "a.txt": b"a\n",
    "run.sh": (EXECUTABLE, b"#!/bin/sh\n"),
    "d/small": b"s" * 5000,
    "d/large": LARGE,
}
BOTH = pytest.mark.parametrize("reuse", ["copy", "hard-link"])


@pytest.fixture
def shop(make):
    return make("shop", FILES)


@pytest.fixture
def deploy(shop, tmp_path, settings):
    cache = RepositoryCache(tmp_path / "cache")

    def export_to(name, **options):
        target = tmp_path / "releases" / name
        options.setdefault("cache", cache)
        done = export(source(shop.url), "main", target, settings=settings, **options)
        deploy_to.done[name] = done
        return target

    deploy_to = export_to
    deploy_to.done = {}
    return deploy_to


@pytest.fixture
def plain(deploy):
    return snapshot(deploy("plain", cache=None))


def failing(original, number, *, at=None):
    """A call of the file system that fails, for files whose path holds ``at``."""

    def call(descriptor, *arguments):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if at is None or at in path:
            raise OSError(number, os.strerror(number))
        return original(descriptor, *arguments)

    return call


@pytest.mark.parametrize(
    ("call", "name"), [("copy_file_range", "d/large"), ("read", "d/small")], ids=["large", "small"]
)
def test_a_file_modified_during_copying_is_not_reused(deploy, plain, monkeypatch, call, name):
    first = deploy("1")
    original, size = getattr(os, call), (first / name).stat().st_size

    def meddle(descriptor, *arguments):
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(first / name):
            with open(first / name, "r+b") as file:
                file.write(b"X" * size)
        return original(descriptor, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, meddle)
        second = deploy("2", former=first)
    assert (first / name).read_bytes() == b"X" * size
    assert snapshot(second) == plain
    assert snapshot(deploy("3", former=second)) == plain


def test_a_large_file_truncated_during_copying_is_written_again(deploy, plain, monkeypatch):
    first = deploy("1")
    original = os.copy_file_range

    def shorten(from_, to, size):
        os.truncate(first / "d/large", 1000)
        return original(from_, to, size)

    monkeypatch.setattr(os, "copy_file_range", shorten)
    assert snapshot(deploy("2", former=first)) == plain


@pytest.mark.parametrize("name", ["d/large", "d/small"])
def test_an_unreadable_file_of_the_previous_release_is_written_again(
    deploy, plain, monkeypatch, name
):
    first = deploy("1")
    for call in ("read", "copy_file_range"):
        monkeypatch.setattr(os, call, failing(getattr(os, call), errno.EIO, at=f"/1/{name}"))
    assert snapshot(deploy("2", former=first)) == plain


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EIO, errno.ENOTTY])
def test_blocks_that_cannot_be_shared_are_copied(deploy, plain, monkeypatch, number):
    first = deploy("1")
    monkeypatch.setattr(os, "copy_file_range", failing(os.copy_file_range, number))
    second = deploy("2", former=first)
    assert snapshot(second) == plain


def test_a_rewritten_file_counts_once(deploy):
    first = deploy("1")
    (first / "a.txt").write_bytes(b"b\n")
    deploy("2", former=first)
    counted = [(deploy.done[name].files, deploy.done[name].bytes) for name in "12"]
    assert counted == [(4, sum(map(len, (b"a\n", b"#!/bin/sh\n", b"s" * 5000, LARGE))))] * 2


@BOTH
@pytest.mark.parametrize(
    ("name", "mode"), [("a.txt", 0o600), ("a.txt", 0o755), ("run.sh", 0o644), ("d/small", 0o4644)]
)
def test_a_modified_file_mode_is_not_reused(deploy, plain, name, mode, reuse):
    first = deploy("1")
    wanted = (first / name).stat().st_mode
    os.chmod(first / name, mode)
    second = deploy("2", former=first, reuse=reuse)
    assert (second / name).stat().st_mode == wanted
    assert (first / name).stat().st_mode & 0o7777 == mode
    assert snapshot(second) == plain


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@BOTH
def test_a_modified_file_owner_is_not_reused(deploy, reuse):
    first = deploy("1")
    os.chown(first / "a.txt", 12345, -1)
    os.chown(first / "d/large", -1, 12345)
    second = deploy("2", former=first, reuse=reuse)
    for name in ("a.txt", "d/large"):
        found = (second / name).stat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())


def test_hard_links_continue_across_releases(deploy, plain):
    first = deploy("1")
    second = deploy("2", former=first, reuse="hard-link")
    third = deploy("3", former=second, reuse="hard-link")
    assert snapshot(third) == plain
    for name in FILES:
        assert os.path.samefile(first / name, third / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is in any group")
@pytest.mark.parametrize("with_cache", [False, True])
def test_large_files_get_the_same_group_as_small_ones(deploy, tmp_path, with_cache):
    releases = tmp_path / "releases"
    releases.mkdir()
    os.chown(releases, -1, 4242)
    releases.chmod(0o2775)
    first = deploy("1", **({} if with_cache else {"cache": None}))
    assert {(first / name).stat().st_gid for name in (*FILES, "d")} == {4242}
    if with_cache:
        second = deploy("2", former=first, reuse="hard-link")
        assert os.path.samefile(first / "d/large", second / "d/large")


def test_with_coarse_timestamps_recent_files_are_written_again(deploy, plain, monkeypatch):
    """As where times are whole seconds: whoever writes at once leaves no trace."""
    monkeypatch.setattr(manifest, "_SECOND", 1)
    monkeypatch.setattr(manifest, "_COARSEST", 10**12)
    first = deploy("1")
    at = (first / "a.txt").stat()
    (first / "a.txt").write_bytes(b"b\n")
    os.utime(first / "a.txt", ns=(at.st_atime_ns, at.st_mtime_ns))
    second = deploy("2", former=first, reuse="hard-link")
    assert snapshot(second) == plain
    assert not os.path.samefile(first / "run.sh", second / "run.sh")


def test_with_coarse_timestamps_old_files_are_reused(deploy, plain, monkeypatch):
    monkeypatch.setattr(manifest, "_SECOND", 1)
    monkeypatch.setattr(manifest, "_COARSEST", -(10**12))
    first = deploy("1")
    second = deploy("2", former=first, reuse="hard-link")
    assert os.path.samefile(first / "run.sh", second / "run.sh")


@pytest.fixture
def many(make, monkeypatch):
    """A repository for which a second process is started: a tenth of the usual files, ten times as
    large, so that each process has as many bytes and directories to do."""
    monkeypatch.setattr(files_module, "_processors", lambda: 2)
    for module in (streaming, checkout):
        monkeypatch.setattr(module, "FEW_OBJECTS", FEW_OBJECTS // 10)
    files = {f"d{n % 40}/{n}": b"%d\n" % n * 650 for n in range(170)}
    made = make("many", files)
    made.all = files
    return made


@pytest.fixture
def interpreter(tmp_path):
    """Has a script stand for the interpreter of the second process."""
    before = spawn.get_executable()

    def use(*lines):
        script = tmp_path / "python"
        script.write_text("\n".join(("#!/bin/sh", *lines, f'exec {sys.executable} "$@"\n')))
        script.chmod(0o755)
        spawn.set_executable(str(script))

    yield use
    spawn.set_executable(before)


def exported_twice(many, tmp_path, settings, reuse):
    """A first release and one of the next commit; what they have."""
    cache = RepositoryCache(tmp_path / "cache")
    options = {"cache": cache, "settings": settings}
    first, second = tmp_path / "place" / "1", tmp_path / "place" / "2"
    export(source(many.url), "main", first, **options)
    many.commit(many.files(many.all | {"new": b"new"}))
    (first / "d3/3").write_bytes(b"touched")
    export(source(many.url), "main", second, former=first, reuse=reuse, **options)
    export(source(many.url), "main", tmp_path / "place" / "plain", settings=settings)
    third = tmp_path / "place" / "3"
    export(source(many.url), "main", third, former=second, reuse=reuse, **options)
    for each in (second, third):
        assert snapshot(each) == snapshot(tmp_path / "place" / "plain")
    return first, second, third


def test_the_helper_process_finds_the_libraries_of_its_interpreter(
    many, tmp_path, settings, interpreter, monkeypatch
):
    seen = tmp_path / "seen"
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    monkeypatch.setenv("A_SECRET", "secret")
    interpreter(f'echo "$LD_LIBRARY_PATH $A_SECRET" >> {seen}')
    exported_twice(many, tmp_path, settings, "copy")
    assert set(seen.read_text().splitlines()) == {"/opt/python/lib "}


@BOTH
@pytest.mark.parametrize("dying", ["exit 127", "sleep 0.3; exit 127", "exec 0<&-; exit 1"])
def test_files_are_written_in_process_if_the_helper_does_not_start(
    many, tmp_path, settings, interpreter, dying, reuse
):
    interpreter(dying)
    first, _, third = exported_twice(many, tmp_path, settings, reuse)
    assert os.path.samefile(first / "d4/4", third / "d4/4") == (reuse == "hard-link")


@BOTH
def test_two_processes_share_the_writing(many, tmp_path, settings, interpreter, reuse):
    ran = tmp_path / "ran"
    interpreter(f"echo ran >> {ran}")
    exported_twice(many, tmp_path, settings, reuse)
    assert len(ran.read_text().splitlines()) >= 2
