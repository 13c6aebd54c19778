"""The cache: objects are not fetched twice, and are always verified."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.pack import load_pack_index

from deploycore.disk.removal import Remains
from deploycore.errors import ConfigurationError
from deploycore.git import RepositoryCache, export, refuse_malformed_patterns
from deploycore.git.repositories.comparison import PathPatterns
from tests.forked import ForkedProcess
from tests.git.servers import EXECUTABLE, LINK, SECRET, snapshot, source

FILES = {
    "a.txt": b"a\n",
    "run.sh": (EXECUTABLE, b"#!/bin/sh\n"),
    "d/b.txt": b"b\n" * 50,
    "d/e/c.txt": b"c\n",
    "d/link": (LINK, b"../a.txt"),
    "same/x": b"x",
    "same/y": (LINK, b"x"),
}


@pytest.fixture
def cache(tmp_path):
    return RepositoryCache(tmp_path / "cache")


@pytest.fixture
def shop(make):
    made = make("shop", FILES)
    made.second = FILES | {"a.txt": b"changed\n", "new/z": b"z", "d/e/c.txt": (EXECUTABLE, b"c\n")}
    return made


@pytest.fixture
def deploy(shop, cache, tmp_path, settings):
    """Exports to ``tmp_path/releases/<name>``; returns the directory."""

    def export_to(name, **options):
        target = tmp_path / "releases" / name
        options.setdefault("cache", cache)
        export(source(shop.url), "main", target, settings=settings, **options)
        return target

    return export_to


def test_a_cached_commit_is_not_fetched_again(deploy, server):
    first = deploy("1")
    server.requests.clear()
    second = deploy("2")
    assert snapshot(first) == snapshot(second)
    assert [method for method, _, _ in server.requests] == ["GET"]


def test_a_known_commit_requires_no_request(deploy, server, shop):
    commit = shop.repo.refs[b"refs/heads/main"].decode()
    deploy("1")
    server.requests.clear()
    deploy("2", commit=commit)
    assert server.requests == []


@pytest.mark.parametrize("reuse", [None, "copy", "hard-link"])
def test_a_redeployment_produces_the_same_files_as_the_first(deploy, shop, reuse):
    first = deploy("1")
    before = snapshot(first)
    shop.commit(shop.files(shop.second))
    options = {"former": first, "reuse": reuse} if reuse else {}
    second = deploy("2", **options)
    assert snapshot(second) == snapshot(deploy("plain", cache=None))
    assert snapshot(first) == before
    linked = os.path.samefile(first / "d/b.txt", second / "d/b.txt")
    assert linked == (reuse == "hard-link")
    third = deploy("3", **(options | {"former": second} if reuse else {}))
    assert snapshot(third) == snapshot(second)


@pytest.mark.parametrize("reuse", ["copy", "hard-link"])
def test_a_file_modified_in_the_previous_release_is_not_reused(deploy, shop, reuse):
    first = deploy("1")
    (first / "a.txt").write_bytes(b"b\n")  # as long as it was
    (first / "d/b.txt").unlink()
    (first / "d/b.txt").symlink_to("/etc/passwd")
    (first / "same/x").unlink()
    shutil.move(first / "d/e", first / "d/moved")
    (first / "d/e").symlink_to("moved")
    second = deploy("2", former=first, reuse=reuse)
    assert snapshot(second) == snapshot(deploy("plain", cache=None))


def test_a_directory_replaced_by_a_link_in_the_previous_release_is_not_followed(deploy, shop):
    first = deploy("1")
    shop.commit(shop.files({"d": (LINK, b"same"), "same/b.txt": b"other"}))
    second = deploy("2", former=first, reuse="copy")
    assert snapshot(second) == snapshot(deploy("plain", cache=None))


def test_a_link_that_escapes_after_a_change_is_rejected_on_reuse(deploy, shop, tmp_path):
    """``same/up`` stays the same, but what it leads through has become a link."""
    inside = {"d/e/f": b"", "same/up": (LINK, b"../d/e/../e/f")}
    shop.commit(shop.files(inside))
    first = deploy("1")
    shop.commit(shop.files({"d/e": (LINK, b".."), "same/up": inside["same/up"]}))
    with pytest.raises(Exception, match="leads out of the repository's files"):
        deploy("2", former=first)
    assert not (tmp_path / "releases" / "2").exists()


def test_a_different_directory_with_the_same_name_is_not_reused(deploy, shop, tmp_path):
    first = deploy("1")
    shutil.copytree(first, tmp_path / "copy", symlinks=True)
    shutil.rmtree(first)
    shutil.move(tmp_path / "copy", first)
    (first / "a.txt").write_bytes(b"evil")
    assert snapshot(deploy("2", former=first)) == snapshot(deploy("plain", cache=None))


def _files(cache, pattern):
    return [path for path in cache.directory.rglob(pattern) if path.is_file()]


@pytest.mark.parametrize("pattern", ["*.pack", "*.idx", "packed-refs", "shallow", "config", "HEAD"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_cache_is_detected_and_rebuilt(deploy, shop, cache, pattern, damage):
    first = deploy("1")
    shop.commit(shop.files(shop.second))
    plain = snapshot(deploy("plain", cache=None))
    for path in _files(cache, pattern):
        _damage(path, damage)
    assert snapshot(deploy("2")) == plain
    assert snapshot(deploy("3", former=first)) == plain
    for path in _files(cache, "*.pack"):
        assert path.with_suffix(".idx").exists()


def _damage(path, how):
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "remove":
        return
    if how == "flip" and content:
        content[len(content) // 2] ^= 1
    elif how == "cut":
        del content[len(content) // 2 :]
    else:
        content.clear()
    path.write_bytes(content)


def test_every_flipped_byte_of_a_cached_pack_is_detected(deploy, shop, cache, tmp_path):
    plain = snapshot(deploy("1"))
    [pack] = _files(cache, "*.pack")
    content = pack.read_bytes()
    for position in range(0, len(content), 7):
        if not pack.exists():
            shutil.rmtree(cache.directory)
            shutil.rmtree(deploy("again"))
            [pack] = _files(cache, "*.pack")
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        pack.chmod(0o644)
        pack.write_bytes(damaged)
        target = deploy(str(position) + "x")
        assert snapshot(target) == plain
        shutil.rmtree(target)


def test_a_damaged_size_in_a_cached_pack_is_detected(deploy, shop, cache):
    plain = snapshot(deploy("1"))
    [pack] = _files(cache, "*.pack")
    content = pack.read_bytes()
    index = load_pack_index(pack.with_suffix(".idx"), DEFAULT_OBJECT_FORMAT)
    offsets = [offset for _, offset, _ in index.iterentries()]
    index.close()
    for size in (b"\xff\xff\x7f", b"\xff\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff\xff\x7f"):
        for offset in offsets:
            if not pack.exists():
                shutil.rmtree(cache.directory)
                shutil.rmtree(deploy("again"))
                [pack] = _files(cache, "*.pack")
            damaged = bytearray(content)
            damaged[offset] |= 0x80  # the size goes on in the bytes that follow
            damaged[offset + 1 : offset + 1 + len(size)] = size
            pack.chmod(0o644)
            pack.write_bytes(damaged)
            target = deploy(f"{offset}-{len(size)}")
            assert snapshot(target) == plain
            shutil.rmtree(target)


def test_a_damaged_manifest_is_ignored(deploy, shop, cache):
    first = deploy("1")
    for path in cache.directory.glob("*/checkouts/*"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    second = deploy("2", former=first, reuse="hard-link")
    assert snapshot(second) == snapshot(first)
    assert not os.path.samefile(first / "a.txt", second / "a.txt")


def test_stock_git_reads_the_cache(deploy, shop, cache, stock_git):
    deploy("1")
    shop.commit(shop.files(shop.second))
    deploy("2")
    [repository] = [each for each in cache.directory.iterdir() if each.is_dir()]
    stock_git("fsck", "--strict", at=repository)
    commits = stock_git("for-each-ref", "--format=%(objectname)", at=repository).split()
    assert len(commits) == 2
    assert stock_git("ls-tree", "-r", commits[0], at=repository)


def test_the_cache_contains_no_secret(shop, cache, server, tmp_path, settings):
    server.credential = f"ada:{SECRET}"
    export(source(shop.url, secret=SECRET), "main", tmp_path / "x", cache=cache, settings=settings)
    assert _files(cache, "*")
    for path in _files(cache, "*"):
        assert SECRET.encode() not in path.read_bytes()


def test_the_least_recently_used_repository_is_evicted(make, settings, tmp_path):
    cache = RepositoryCache(tmp_path / "cache", max_bytes=400_000)
    for number in range(3):
        repository = make(f"r{number}", {"f": os.urandom(150_000)})
        url = repository.url
        export(source(url), "main", tmp_path / str(number), cache=cache, settings=settings)
        os.utime(cache.repository(url).path, (number + 1, number + 1))
    names = [entry.url.rpartition("/")[2] for entry in cache.entries()]
    assert len(names) == 2
    assert "r0.git" not in names


def test_an_unwritable_cache_does_not_fail_an_export(deploy, tmp_path, caplog):
    (tmp_path / "cache").write_bytes(b"a file")
    assert snapshot(deploy("1")) == snapshot(deploy("plain", cache=None))
    assert "cannot be written" in caplog.text


def test_leftovers_of_a_killed_process_are_removed(deploy, cache):
    deploy("1")
    [repository] = [each for each in cache.directory.iterdir() if each.is_dir()]
    (repository / "incoming" / "dead").mkdir()
    (repository / "incoming" / "dead" / "x.pack").write_bytes(b"PACK")
    deploy("2")
    assert list((repository / "incoming").iterdir()) == []


def test_a_repository_that_cannot_be_removed_is_reported_and_removed_later(
    deploy, cache, monkeypatch
):
    deploy("1")
    (entry,) = cache.entries()

    def refuse(path: Path) -> Remains:
        return Remains(path, 1, 0, path, "Operation not permitted", 1)

    with monkeypatch.context() as patch:
        patch.setattr("deploycore.git.repositories.cache.remove_tree", refuse)
        with pytest.raises(ConfigurationError, match="could not be removed") as caught:
            cache.remove(entry.url)
    assert "Operation not permitted" in caught.value.message
    assert "permissions of the cache's directory" in caught.value.hint
    deploy("2")
    assert cache.remove(entry.url)
    assert cache.entries() == []


@pytest.mark.parametrize("pattern", ["[", "docs/["])
def test_an_invalid_watch_pattern_is_reported(pattern):
    with pytest.raises(ConfigurationError, match=r"is not a valid \.gitignore pattern") as caught:
        PathPatterns(["*.md", pattern])
    assert "put a backslash before it" in caught.value.hint
    assert PathPatterns(["*.md", pattern.replace("[", "\\[")]).match(b"docs/[")
    assert PathPatterns(["*.md", "docs/[a]"]).match(b"docs/a")


@pytest.mark.parametrize("pattern", ["!", "/", "./src", "src/../lib/", "src//lib", "!./src"])
def test_a_watch_pattern_that_matches_no_path_is_rejected(pattern):
    assert not PathPatterns([pattern]).match(b"src/lib")
    with pytest.raises(ConfigurationError, match="matches no path") as caught:
        refuse_malformed_patterns(["*.md", pattern])
    assert "src/" in caught.value.hint
    refuse_malformed_patterns(["src/", "/src", "src/**/lib", "**", "!/src/.hidden/"])


def test_a_watch_with_only_exclusions_is_rejected():
    with pytest.raises(ConfigurationError, match="only excludes paths") as caught:
        refuse_malformed_patterns(["!docs/", "!*.md"])
    assert "'**'" in caught.value.hint
    refuse_malformed_patterns(["**", "!docs/", "!*.md"])
    assert not PathPatterns(["**", "!docs/"]).match(b"docs/a")
    assert PathPatterns(["**", "!docs/"]).match(b"src/a")


def test_too_many_packs_are_replaced_by_one(deploy, shop, cache, monkeypatch):
    monkeypatch.setattr("deploycore.git.repositories.cached_repository._MAX_PACKS", 3)
    for number in range(7):
        shop.commit(shop.files(FILES | {"a.txt": b"%d" % number}))
        last = deploy(str(number))
        assert len(_files(cache, "*.pack")) <= 4
    assert (last / "a.txt").read_bytes() == b"6"


def test_concurrent_exports_share_a_cache(deploy, shop, cache):
    plain = deploy("plain", cache=None)
    failures = []

    def work(number):
        try:
            for turn in range(4):
                assert snapshot(deploy(f"{number}-{turn}")) == snapshot(plain)
                if number == 0:
                    cache.prune(0)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from deploycore.git import RepositoryCache, export
from deploycore.models import CloneUrl
threading.Timer(float(sys.argv[4]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
cache = RepositoryCache(Path(sys.argv[3]))
export(CloneUrl(url=sys.argv[1]), "main", Path(sys.argv[2]), cache=cache)
"""


def test_a_cache_survives_killed_processes(deploy, shop, cache, tmp_path):
    plain = snapshot(deploy("plain", cache=None))
    for number in range(12):
        target = tmp_path / "releases" / f"killed{number}"
        command = [sys.executable, "-c", KILLED, shop.url, target, cache.directory]
        # Its modules are loaded, so it fetches at once.
        seconds = str(number * 0.01)
        with ForkedProcess([*map(str, command), seconds], stderr=subprocess.DEVNULL) as process:
            process.wait(60)
        assert not target.exists() or snapshot(target) == plain
        assert snapshot(deploy(f"after{number}")) == plain
