"""A cache on a disk that fails, is full, is locked by another process, or has lost a file never
causes an error."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploycore.errors import Cancelled, LimitExceeded
from deploycore.git import Cancellation, RepositoryCache, export
from deploycore.git.repositories import cached_repository
from deploycore.git.repositories.cached_repository import CachedRepository
from tests.git.servers import nothing_left, snapshot, source

NO_HANG = 60  # seconds: more than any machine needs, less than what would hang

FILES = {"a.txt": b"a" * 1000, "d/b": bytes(range(256)) * 20, "d/c": b"c"}


@pytest.fixture
def shop(make):
    return make("shop", FILES)


@pytest.fixture
def cache(tmp_path):
    return RepositoryCache(tmp_path / "cache")


@pytest.fixture
def deploy(shop, cache, tmp_path, settings):
    def export_to(name, **options):
        target = tmp_path / "releases" / name
        options = {"cache": cache, "settings": settings} | options
        export(source(shop.url), "main", target, **options)
        return target

    return export_to


@pytest.fixture
def plain(deploy):
    return snapshot(deploy("plain", cache=None))


@pytest.fixture
def kept(cache, shop):
    """The repository in the cache."""
    return cache.repository(shop.url)


def packs(kept):
    return sorted((kept.path / "objects/pack").iterdir())


def flip(pack, at):
    content = bytearray(pack.read_bytes())
    content[at] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(content)


def nothing_may_be_written(patched):
    """As on a disk that is mounted read-only."""
    original = os.open

    def refuse(path, flags, *arguments, **named):
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and "/cache/" in os.fsdecode(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return original(path, flags, *arguments, **named)

    patched.setattr(os, "open", refuse)


def nothing_small_may_be_written(patched):
    """As on a disk that is full."""
    original = Path.write_bytes

    def refuse(path, data):
        if "/cache/" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path, data)

    patched.setattr(Path, "write_bytes", refuse)


@pytest.mark.parametrize("fault", [nothing_may_be_written, nothing_small_may_be_written])
@pytest.mark.parametrize("at", [20, -30, -60], ids=["first", "last", "middle"])
def test_a_damaged_cache_that_cannot_be_emptied_is_not_used(
    deploy, plain, kept, monkeypatch, fault, at
):
    first = deploy("1")
    [pack] = [each for each in packs(kept) if each.suffix == ".pack"]
    flip(pack, at)
    with monkeypatch.context() as patched:
        fault(patched)
        assert snapshot(deploy("2")) == plain
        assert snapshot(deploy("3", former=first)) == plain
    assert snapshot(deploy("4")) == plain


def test_content_that_others_add_to_a_damaged_cache_is_not_used(
    deploy, plain, kept, shop, server, settings, tmp_path, monkeypatch
):
    deploy("1")
    [pack] = [each for each in packs(kept) if each.suffix == ".pack"]
    flip(pack, -40)
    discard = CachedRepository.discard

    def discard_and_be_late(self):
        discard(self)
        monkeypatch.setattr(CachedRepository, "discard", discard)
        deploy("other")

    monkeypatch.setattr(CachedRepository, "discard", discard_and_be_late)
    assert snapshot(deploy("2")) == plain
    server.requests.clear()
    assert snapshot(deploy("3")) == plain  # what was fetched anew was kept
    assert [method for method, _, _ in server.requests] == ["GET"]


def test_an_unreadable_cached_pack_is_fetched_again(deploy, plain, kept, monkeypatch):
    deploy("1")
    bad = _identity(os.stat(next(each for each in packs(kept) if each.suffix == ".pack")))
    pread = os.pread

    def failing(descriptor, size, offset):
        if size > 20 and _identity(os.fstat(descriptor)) == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    assert snapshot(deploy("2")) == plain
    [pack] = [each for each in packs(kept) if each.suffix == ".pack"]
    assert pack.stat().st_ino != bad


def test_an_unreadable_index_is_not_mapped(deploy, plain, kept, monkeypatch):
    deploy("1")

    def failing(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(cached_repository, "_read_through", failing)
    assert snapshot(deploy("2")) == plain


def test_a_disk_error_in_an_own_pack_is_reported_as_a_disk_error(deploy, monkeypatch):
    def failing(descriptor, size, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(Exception, match="Input/output error"):
        deploy("1", cache=None, attributes=True)


@pytest.fixture
def stopped(deploy, kept):
    """Another process holds the lock, and does not go on."""
    deploy("1")
    with (kept.path / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("limit", "error"), [("cancelled", Cancelled), ("total_timeout", LimitExceeded)]
)
def test_waiting_for_a_lock_ends_with_the_operation(
    stopped, deploy, settings, tmp_path, limit, error
):
    cancellation = Cancellation()
    if limit == "cancelled":
        threading.Timer(0.3, cancellation.cancel).start()
    else:
        settings = replace(settings, total_timeout=0.5)
    begun = time.monotonic()
    with pytest.raises(error):
        deploy("2", settings=settings, cancellation=cancellation)
    assert time.monotonic() - begun < NO_HANG
    assert not (tmp_path / "releases" / "2").exists()


def test_a_lock_held_for_long_is_not_waited_for(stopped, deploy, plain, shop, monkeypatch, caplog):
    monkeypatch.setattr(cached_repository, "_PATIENCE", 0.3)
    shop.commit(shop.files(FILES | {"a.txt": b"new"}))
    begun = time.monotonic()
    second = deploy("2")
    assert (second / "a.txt").read_bytes() == b"new"
    assert time.monotonic() - begun < NO_HANG
    assert "another process holds its lock" in caplog.text


def test_a_lock_held_briefly_is_waited_for(deploy, kept, shop, server):
    deploy("1")
    shop.commit(shop.files(FILES | {"a.txt": b"new"}))
    lock = (kept.path / "lock").open("r+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.3, lock.close).start()
    deploy("2")
    server.requests.clear()
    deploy("3")
    assert [method for method, _, _ in server.requests] == ["GET"]


def test_a_cache_that_cannot_be_reduced_does_not_fail_an_export(
    make, deploy, cache, settings, tmp_path, monkeypatch, caplog
):
    deploy("1")

    def failing(self, to):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", failing)
    other = make("other", {"a": b"1"})
    small = RepositoryCache(cache.directory, max_bytes=1)
    export(source(other.url), "main", tmp_path / "2", cache=small, settings=settings)
    assert (tmp_path / "2/a").read_bytes() == b"1"
    assert "cannot be pruned" in caplog.text


def test_a_cached_repository_without_its_url_is_listed_and_removed(deploy, cache, kept):
    deploy("1")
    for content in (b"", b"[core]\n", b"\xff"):
        (kept.path / "config").write_bytes(content)
        [entry] = cache.entries()
        assert (entry.url, entry.commits) == ("", 1)
        assert entry.bytes > 0
    (kept.path / "config").unlink()
    assert len(cache.prune(0)) == 1
    assert cache.entries() == []
    assert list(cache.directory.iterdir()) == []


def test_a_cached_repository_without_its_url_gets_it_again(deploy, cache, kept, shop, stock_git):
    deploy("1")
    (kept.path / "config").write_bytes(b"")
    deploy("2")
    assert [entry.url for entry in cache.entries()] == [shop.url]
    stock_git("fsck", "--strict", at=kept.path)


def test_other_directories_in_the_cache_are_not_touched(deploy, cache):
    deploy("1")
    (cache.directory / "mine").mkdir()
    (cache.directory / ("0" * 32)).write_text("a file")
    assert len(cache.prune(0)) == 1
    assert sorted(each.name for each in cache.directory.iterdir()) == ["0" * 32, "mine"]


def test_a_pack_that_cannot_be_renamed_is_removed(deploy, plain, kept, shop, monkeypatch):
    deploy("1")
    before = packs(kept)
    rename = os.rename

    def failing(from_, to, **named):
        if str(to).endswith(".idx"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(from_, to, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", failing)
        for number in range(2):
            shop.commit(shop.files(FILES | {"a.txt": b"%d" % number}))
            assert (deploy(f"f{number}") / "a.txt").read_bytes() == b"%d" % number
    assert packs(kept) == before


def test_files_of_killed_processes_are_removed_from_a_cache(deploy, kept):
    deploy("1")
    before = packs(kept)
    hour_ago = time.time() - 4000
    for name in ("objects/pack/pack-1.idx.new", "objects/pack/pack-2.pack"):
        (kept.path / name).write_bytes(b"x")
    for name in ("shallow.0123.new", "checkouts/abc.123.new"):
        (kept.path / name).write_bytes(b"x")
        os.utime(kept.path / name, (hour_ago, hour_ago))
    (kept.path / "capabilities.4567.new").write_bytes(b"of somebody who writes it now")
    deploy("2")
    assert packs(kept) == before
    left = {each.name for each in kept.path.rglob("*.new")}
    assert left == {"capabilities.4567.new"}


def test_a_cached_repository_is_only_accessible_to_its_owner(deploy, cache, kept):
    before = os.umask(0o022)
    try:
        cache.directory.mkdir(mode=0o755)
        deploy("1")
    finally:
        os.umask(before)
    for path in (kept.path, *kept.path.rglob("*")):
        if path.is_dir():
            assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("with_cache", [False, True])
def test_a_connection_interrupted_within_a_large_file_is_retried(
    make, server, tmp_path, settings, with_cache
):
    large = os.urandom(3 * 1024 * 1024)
    shop = make("large", {"a": b"a", "z/large": large})
    cache = RepositoryCache(tmp_path / "cache") if with_cache else None
    answers, seen = [], []

    def cut(body):
        answers.append(body)
        return body[: len(body) // 2] if len(answers) < 3 else body

    def listen(now):
        if with_cache:
            seen.append(len(list((tmp_path / "cache").glob("*/incoming/*/*"))))
        seen.append(len(list((tmp_path / "place").glob(".*/*.blob"))))
        seen.append(len(list((tmp_path / "place").glob(".*/*.pack"))))

    server.alter = cut
    target = tmp_path / "place" / "target"
    target.parent.mkdir()
    options = {"cache": cache, "settings": settings}
    done = export(source(shop.url), "main", target, progress=listen, **options)
    assert len(answers) == 3
    assert (target / "z/large").read_bytes() == large
    assert (done.files, done.bytes) == (2, len(large) + 1)
    assert max(seen) == 1  # nothing of a former try is there
    assert os.listdir(target.parent) == ["target"]


def test_a_connection_that_keeps_failing_in_a_large_file_leaves_nothing(
    make, server, tmp_path, settings
):
    shop = make("large", {"a": b"a", "z/large": os.urandom(3 * 1024 * 1024)})
    server.alter = lambda body: body[: len(body) // 2]
    target = tmp_path / "place" / "target"
    target.parent.mkdir()
    with pytest.raises(Exception, match="was closed before"):
        export(source(shop.url), "main", target, settings=settings)
    assert nothing_left(target)


def _identity(found):
    """Which file it is: the number alone is given to another file when this one is gone."""
    return found.st_dev, found.st_ino, found.st_mtime_ns
