"""Exports from ``git http-backend`` behind nginx, in protocol version 2, compared with git."""

from __future__ import annotations

import os
import shutil

import pytest

from deploycore.errors import RemoteRefused
from deploycore.git import RepositoryCache, clone, export
from tests.git.servers import SECRET, nothing_left, snapshot, source


@pytest.fixture(params=["sha1", "sha256"])
def object_format(request):
    """Of the repository that is served."""
    return request.param


@pytest.fixture
def work(http_backend, stock_git, tmp_path, object_format):
    """A work tree whose ``origin`` is served; its address."""
    root, address = http_backend
    name, kind = f"{tmp_path.name}.git", f"--object-format={object_format}"
    stock_git("init", "-q", "--bare", "-b", "main", kind, root / name)
    tree = tmp_path / "work"
    stock_git("init", "-q", "-b", "main", kind, tree)
    stock_git("remote", "add", "origin", root / name, at=tree)
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("run.sh")
    (tree / "café").write_text("é")
    with open(os.path.join(os.fsencode(tree), b"latin-\xe9"), "wb") as file:
        file.write(b"\xe9")
    for number in range(300):
        (tree / f"d{number % 7}").mkdir(exist_ok=True)
        (tree / f"d{number % 7}" / f"{number}.txt").write_text("line\n" * 200 + f"{number}\n")
    stock_git("add", ".", at=tree)
    stock_git("commit", "-qm", "one", at=tree)
    (tree / "d0/0.txt").write_text("two\n")
    stock_git("commit", "-qam", "two", at=tree)
    stock_git("push", "-q", "origin", "main", at=tree)
    return tree, f"{address}/{name}"


def test_exports_and_clones_equal_those_of_stock_git(work, target, settings, stock_git):
    tree, url = work
    place = source(url, secret=SECRET)
    done = export(place, "main", target, settings=settings)
    other = target.with_name("clone")
    clone(place, None, other, settings=settings)
    assert snapshot(target) == snapshot(other) == snapshot(tree)
    assert stock_git("status", "--porcelain", at=other) == ""
    assert stock_git("fsck", at=other) == ""
    assert stock_git("rev-parse", "HEAD", at=tree) == f"{done.commit}\n"

    stock = target.with_name("stock")
    joined = place.reveal_joined()
    stock_git("clone", "-q", "--depth", "1", "--branch", "main", joined, stock)
    assert snapshot(stock) == snapshot(other)
    for question in (["log", "--format=%H"], ["rev-parse", "@{u}"], ["ls-files", "-s"]):
        assert stock_git(*question, at=stock) == stock_git(*question, at=other)
    for name in ("shallow", "HEAD"):
        assert (stock / ".git" / name).read_bytes() == (other / ".git" / name).read_bytes()


def test_a_commit_no_longer_on_the_branch_is_still_fetched(work, target, settings, stock_git):
    tree, url = work
    former = stock_git("rev-parse", "HEAD~1", at=tree).strip()
    done = export(source(url, secret=SECRET), "main", target, commit=former, settings=settings)
    assert done.commit == former
    assert (target / "d0/0.txt").read_text() == "line\n" * 200 + "0\n"


def test_an_unknown_commit_is_rejected_with_the_message_of_the_server(
    work, target, settings, stock_git
):
    commit = "1" * len(stock_git("rev-parse", "HEAD", at=work[0]).strip())
    with pytest.raises(RemoteRefused, match=r"has moved from 1111.*not our ref"):
        export(source(work[1], secret=SECRET), "main", target, commit=commit, settings=settings)
    assert nothing_left(target)
    newest = export(source(work[1], secret=SECRET), "main", target, settings=settings).commit
    assert newest == stock_git("rev-parse", "HEAD", at=work[0]).strip()


@pytest.mark.parametrize(
    ("secret", "name"), [("wrong", ""), (SECRET, "-unknown")], ids=["wrong", "right"]
)
def test_invalid_credentials_and_unknown_repositories_are_reported(
    work, target, settings, secret, name
):
    url = work[1].replace(".git", f"{name}.git")
    with pytest.raises(RemoteRefused) as caught:
        export(source(url, secret=secret), "main", target, settings=settings)
    assert caught.value.details["status"] == (404 if name else 401)
    assert nothing_left(target)


def test_an_unknown_branch_is_named(work, target, settings):
    with pytest.raises(RemoteRefused, match="no branch or tag 'mai'"):
        export(source(work[1], secret=SECRET), "mai", target, settings=settings)


@pytest.mark.parametrize("version", ["", "/version-0"])
def test_an_empty_repository_is_reported(
    http_backend, stock_git, target, settings, object_format, version, tmp_path
):
    root, address = http_backend
    name = f"empty-{object_format}.git"
    kind = f"--object-format={object_format}"
    stock_git("init", "-q", "--bare", "-b", "main", kind, root / name)
    place = source(f"{address}{version}/{name}", secret=SECRET)
    for branch in ("main", None):
        with pytest.raises(RemoteRefused, match="empty"):
            clone(place, branch, target, settings=settings)
    stock_git("init", "-q", kind, tmp_path / "work")
    stock_git("commit", "-qm", "first", "--allow-empty", at=tmp_path / "work")
    stock_git("push", "-q", root / name, "HEAD:main", at=tmp_path / "work")
    clone(place, None, target, settings=settings)
    shutil.rmtree(root / name)


def test_only_one_of_many_branches_is_fetched(work, target, settings, stock_git):
    tree, url = work
    for number in range(20):
        (tree / "big").write_bytes(os.urandom(20_000))
        stock_git("add", "big", at=tree)
        stock_git("commit", "-qm", f"big {number}", at=tree)
        stock_git("push", "-q", "origin", f"HEAD:big-{number}", at=tree)
    received = []
    export(
        source(url, secret=SECRET),
        "main",
        target,
        progress=lambda now: received.append(now.received_bytes),
        settings=settings,
    )
    assert max(received) < 40_000


def test_with_a_cache_only_new_objects_are_fetched(work, tmp_path, settings, stock_git):
    tree, url = work
    cache = RepositoryCache(tmp_path / "cache")
    place = source(url, secret=SECRET)
    received = []

    def deploy(name, **options):
        received.clear()
        return export(
            place,
            "main",
            tmp_path / "releases" / name,
            cache=cache,
            progress=lambda now: received.append(now.received_bytes),
            settings=settings,
            **options,
        )

    (tree / "large").write_bytes(os.urandom(100_000))
    for name in ("1", "2", "3"):
        (tree / "d0/0.txt").write_text(f"now {name}\n" * 300)
        stock_git("add", ".", at=tree)
        stock_git("commit", "-qm", name, at=tree)
        stock_git("push", "-q", "origin", "main", at=tree)
        former = tmp_path / "releases" / str(int(name) - 1)
        deploy(name, former=former if former.exists() else None)
        assert snapshot(tmp_path / "releases" / name) == snapshot(tree)
        assert (max(received) < 10_000) == (name != "1")
    deploy("same")
    assert max(received) < 1_000
    [repository] = [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    assert stock_git("fsck", "--strict", at=repository) == ""


def test_tags_and_hashes_are_fetched_like_branches(work, target, settings, stock_git):
    tree, url = work
    former = stock_git("rev-parse", "HEAD~1", at=tree).strip()
    stock_git("tag", "light", "HEAD~1", at=tree)
    stock_git("tag", "-a", "-m", "annotated", "heavy", "HEAD~1", at=tree)
    stock_git("tag", "-a", "-m", "of a tag", "heavier", "heavy", at=tree)
    stock_git("push", "-q", "--tags", "origin", at=tree)
    refs = ["light", "heavy", "heavier", "refs/tags/heavy", former]
    for number, ref in enumerate(refs):
        place = target.with_name(str(number))
        done = export(source(url, secret=SECRET), ref, place, settings=settings)
        assert (done.commit, done.ref) == (former, ref.removeprefix("refs/tags/"))
        assert (place / "d0/0.txt").read_text() == "line\n" * 200 + "0\n"
    stock_git("branch", "light", at=tree)
    stock_git("push", "-q", "origin", "refs/heads/light", at=tree)
    done = export(source(url, secret=SECRET), "light", target, settings=settings)
    assert done.commit == stock_git("rev-parse", "HEAD", at=tree).strip()
