"""SHA-256 repositories, in addition to the tests that run for both formats."""

from __future__ import annotations

import os
import shutil

import pytest

from deploycore.errors import RemoteRefused
from deploycore.git import RepositoryCache, clone, export
from deploycore.git.wire.http_client import HttpGitClient
from tests.git.servers import SECRET, nothing_left, snapshot, source

FORMATS = ["sha1", "sha256"]


class Served:
    """A repository of one format behind nginx, and the work tree that is pushed to it."""

    def __init__(self, stock_git, tree, bare, url, object_format):
        self.git, self.tree, self.bare, self.url = stock_git, tree, bare, url
        self.place = source(url, secret=SECRET)
        self.make(object_format)

    def make(self, object_format):
        """Make both anew, at the same place."""
        for each in (self.tree, self.bare):
            shutil.rmtree(each, ignore_errors=True)
        kind = f"--object-format={object_format}"
        self.git("init", "-q", "--bare", "-b", "main", kind, self.bare)
        self.git("init", "-q", "-b", "main", kind, self.tree)
        self.git("remote", "add", "origin", self.bare, at=self.tree)
        (self.tree / "run.sh").write_text("#!/bin/sh\n")
        (self.tree / "run.sh").chmod(0o755)
        (self.tree / "link").symlink_to("run.sh")
        for number in range(60):
            (self.tree / f"d{number % 7}").mkdir(exist_ok=True)
            text = "".join(f"line {line}\n" for line in range(200)) + f"{number}\n"
            (self.tree / f"d{number % 7}" / f"{number}.txt").write_text(text)
        self.commit("one")

    def commit(self, text):
        (self.tree / "d0/0.txt").write_text(f"{text}\n" * 300)
        self.git("add", ".", at=self.tree)
        self.git("commit", "-qm", text, at=self.tree)
        self.git("push", "-q", "origin", "main", at=self.tree)
        return self.git("rev-parse", "HEAD", at=self.tree).strip()


@pytest.fixture
def shop(http_backend, stock_git, tmp_path):
    root, address = http_backend
    name = f"{tmp_path.name}.git"
    return Served(stock_git, tmp_path / "work", root / name, f"{address}/{name}", "sha256")


@pytest.fixture
def cache(tmp_path):
    return RepositoryCache(tmp_path / "cache")


@pytest.fixture
def deploy(shop, cache, tmp_path, settings):
    """Exports to ``tmp_path/releases/<name>``, which must then be what the work tree is."""

    def run(name, *, place=None, **options):
        target = tmp_path / "releases" / name
        options.setdefault("cache", cache)
        options.setdefault("former", None)
        export(place or shop.place, "main", target, settings=settings, **options)
        assert snapshot(target) == snapshot(shop.tree)
        return target

    return run


@pytest.fixture
def requests(monkeypatch):
    """The methods of all requests that are made."""
    made, ask = [], HttpGitClient._http_request

    def counted(client, url, headers=None, data=None, **options):
        made.append("GET" if data is None else "POST")
        return ask(client, url, headers, data, **options)

    monkeypatch.setattr(HttpGitClient, "_http_request", counted)
    return made


@pytest.fixture
def cached(cache):
    """The one repository of the cache."""

    def find():
        [found] = [each for each in cache.directory.iterdir() if each.is_dir()]
        return found

    return find


@pytest.mark.parametrize("version", ["", "/version-0"])
@pytest.mark.parametrize("packing", [["--depth=50", "--window=50"], ["--depth=0", "--window=0"]])
def test_deltas_are_applied(shop, deploy, target, settings, version, packing):
    shop.git("repack", "-q", "-a", "-d", "-f", *packing, at=shop.bare)
    url = shop.url.replace(f"/{shop.bare.name}", f"{version}/{shop.bare.name}")
    place = source(url, secret=SECRET)
    deploy("1", place=place)
    clone(place, None, target, settings=settings)
    assert snapshot(target) == snapshot(shop.tree)
    assert shop.git("status", "--porcelain", at=target) == ""
    assert shop.git("fsck", "--strict", at=target) == ""


@pytest.mark.parametrize("version", ["", "/version-0"])
@pytest.mark.parametrize("reuse", ["copy", "hard-link"])
def test_a_redeployment_reuses_cached_objects(
    shop, deploy, cached, requests, version, reuse, stock_git
):
    url = shop.url.replace(f"/{shop.bare.name}", f"{version}/{shop.bare.name}")
    options = {"place": source(url, secret=SECRET), "reuse": reuse}
    former = deploy("1", **options)
    for number in range(2, 5):
        shop.commit(f"change {number}")
        requests.clear()
        former = deploy(str(number), former=former, **options)
        assert requests == (["GET", "POST"] if version else ["POST", "POST"])
    linked = os.path.samefile(former / "run.sh", former.with_name("1") / "run.sh")
    assert linked == (reuse == "hard-link")
    assert len(list(cached().glob("objects/pack/*.pack"))) == 4
    assert stock_git("fsck", "--strict", at=cached()) == ""
    commits = stock_git("for-each-ref", "--format=%(objectname)", at=cached()).split()
    assert [len(each) for each in commits] == [64] * 4
    requests.clear()
    deploy("same", former=former, **options)
    assert requests == (["GET"] if version else ["POST"])
    requests.clear()
    deploy("exactly", commit=shop.git("rev-parse", "HEAD", at=shop.tree).strip(), **options)
    assert requests == []


@pytest.mark.parametrize("pattern", ["*.pack", "*.idx", "packed-refs", "config"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_cache_is_detected_and_rebuilt(shop, deploy, cached, stock_git, pattern, damage):
    former = deploy("1")
    shop.commit("change")
    for path in [each for each in cached().rglob(pattern) if each.is_file()]:
        content = bytearray(path.read_bytes())
        path.unlink()
        if damage == "flip":
            content[len(content) // 2] ^= 1
        if damage != "remove":
            path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    deploy("2")
    deploy("3", former=former)
    if damage == "remove":
        assert stock_git("fsck", "--strict", at=cached()) == ""


@pytest.mark.parametrize("formats", [FORMATS, FORMATS[::-1]], ids=" to ".join)
@pytest.mark.parametrize("exactly", [False, True], ids=["the branch", "a commit"])
def test_a_remote_recreated_in_another_format_is_fetched_again(
    shop, deploy, cached, stock_git, formats, exactly
):
    shop.make(formats[0])
    former = deploy("1")
    commit = shop.commit("change")
    former = deploy("2", former=former)
    shop.make(formats[1])
    anew = stock_git("rev-parse", "HEAD", at=shop.tree).strip()
    former = deploy("3", former=former, commit=anew if exactly else None)
    assert stock_git("rev-parse", "--show-object-format", at=cached()) == f"{formats[1]}\n"
    assert stock_git("fsck", "--strict", at=cached()) == ""
    assert len(list(cached().glob("objects/pack/*.pack"))) == 1
    again = deploy("4", former=former, reuse="hard-link")
    assert os.path.samefile(former / "run.sh", again / "run.sh")
    with pytest.raises(RemoteRefused, match=f"object format is {formats[1]}"):
        deploy("5", commit=commit)
    shop.make(formats[0])
    deploy("6", former=again)
    assert stock_git("fsck", "--strict", at=cached()) == ""


@pytest.mark.parametrize("version", ["", "/version-0"])
@pytest.mark.parametrize(("object_format", "digits"), [("sha1", 64), ("sha256", 40)])
@pytest.mark.parametrize("as_ref", [True, False])
def test_a_hash_of_the_other_format_is_refused(
    shop, target, settings, requests, version, object_format, digits, as_ref
):
    shop.make(object_format)
    url = shop.url.replace(f"/{shop.bare.name}", f"{version}/{shop.bare.name}")
    wanted = {"ref": "1" * digits} if as_ref else {"ref": "main", "commit": "1" * digits}
    ref = wanted.pop("ref")
    with pytest.raises(RemoteRefused, match=f"object format is {object_format}"):
        export(source(url, secret=SECRET), ref, target, settings=settings, **wanted)
    assert nothing_left(target)
    assert requests == (["GET"] if version else ["GET", "POST"])
    export(source(url, secret=SECRET), "main", target, settings=settings)


def test_stock_git_can_fetch_and_commit_in_a_clone(shop, target, settings, stock_git):
    clone(shop.place, "main", target, settings=settings)
    assert stock_git("rev-parse", "--show-object-format", at=target) == "sha256\n"
    newer = shop.commit("newer")
    stock_git("remote", "set-url", "origin", shop.bare, at=target)
    stock_git("fetch", "-q", "--depth", "1", at=target)
    assert stock_git("rev-parse", "origin/main", at=target) == f"{newer}\n"
    (target / "run.sh").write_text("mine")
    stock_git("commit", "-qam", "mine", at=target)
    assert stock_git("status", "--porcelain", at=target) == ""
    assert stock_git("fsck", "--strict", at=target) == ""


@pytest.fixture
def with_submodule(http_backend, stock_git, tmp_path, shop):
    """Gives ``shop`` a submodule at ``lib``; called with the format that it has then."""
    root, address = http_backend
    name = f"{tmp_path.name}-lib.git"
    url = f"{address}/{name}"
    lib = Served(stock_git, tmp_path / "lib", root / name, url, "sha256")

    def add(object_format):
        commit = stock_git("rev-parse", "HEAD", at=lib.tree).strip()
        text = f'[submodule "lib"]\n\tpath = lib\n\turl = ../{name}\n'
        (shop.tree / ".gitmodules").write_text(text)
        (shop.tree / "lib").mkdir()
        entry = f"160000,{commit},lib"
        stock_git("update-index", "--add", "--cacheinfo", entry, at=shop.tree)
        shop.git("add", ".gitmodules", at=shop.tree)
        shop.git("commit", "-qm", "with lib", at=shop.tree)
        shop.git("push", "-q", "origin", "main", at=shop.tree)
        if object_format != "sha256":
            lib.make(object_format)
        return lib

    return add


def test_submodules_are_fetched_too(shop, with_submodule, target, settings, cache, stock_git):
    lib = with_submodule("sha256")
    export(shop.place, "main", target, submodules=True, settings=settings, cache=cache)
    assert snapshot(target / "lib") == snapshot(lib.tree)
    other = target.with_name("clone")
    clone(shop.place, "main", other, settings=settings)
    assert stock_git("status", "--porcelain", at=other) == ""
    assert stock_git("fsck", "--strict", at=other) == ""
    again = target.with_name("again")
    export(
        shop.place, "main", again, submodules=True, settings=settings, cache=cache, former=target
    )
    assert snapshot(again) == snapshot(target)


def test_a_submodule_that_changed_its_format_is_rejected(shop, with_submodule, target, settings):
    with_submodule("sha1")
    with pytest.raises(RemoteRefused, match="object format is sha1") as caught:
        export(shop.place, "main", target, submodules=True, settings=settings)
    assert caught.value.details["submodule"] == "lib"
    assert nothing_left(target)


def test_attributes_are_applied_on_first_and_later_exports(shop, cache, tmp_path, settings):
    (shop.tree / ".gitattributes").write_text("run.sh eol=crlf\nd1 export-ignore\n")
    options = {"attributes": True, "cache": cache, "settings": settings}
    former = None
    for name in ("1", "2"):
        shop.commit(name)
        target = tmp_path / "releases" / name
        export(shop.place, "main", target, former=former, reuse="hard-link", **options)
        assert (target / "run.sh").read_bytes() == b"#!/bin/sh\r\n"
        assert not (target / "d1").exists()
        assert (target / "d0/0.txt").read_text() == f"{name}\n" * 300
        former = target
    assert os.path.samefile(target / "run.sh", target.with_name("1") / "run.sh")
