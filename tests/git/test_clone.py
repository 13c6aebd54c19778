"""Clones are repositories in which git can work, and contain no secrets."""

from __future__ import annotations

import os

import pytest

from deploycore.errors import RemoteRefused
from deploycore.git import clone, export
from tests.git.servers import EXECUTABLE, GITLINK, LINK, SECRET, nothing_left, snapshot, source

FILES = {
    "a": b"1",
    b"caf\xe9": b"latin",
    "d/e/f": b"\r\n",
    "d/run": (EXECUTABLE, b"#!/bin/sh\n"),
    "l": (LINK, b"d/e/f"),
    "lib": (GITLINK, b"1" * 40),
    ".gitattributes": b"*.sh ident filter=evil\n",
}


@pytest.fixture
def shop(make):
    made = make("shop", {"old": b"old"})
    made.commit(made.files(FILES))
    return made


def test_a_clone_is_clean_complete_and_shallow(shop, target, settings, stock_git):
    done = clone(source(shop.url), "main", target, settings=settings)
    assert stock_git("status", "--porcelain", at=target) == ""
    assert stock_git("fsck", "--strict", "--no-dangling", at=target) == ""
    assert stock_git("log", "--format=%H %an %s", at=target) == (
        f"{done.commit} Ada Lovelace Subject\n"
    )
    assert stock_git("rev-parse", "--is-shallow-repository", at=target) == "true\n"
    assert stock_git("rev-parse", "--abbrev-ref", "@{u}", at=target) == "origin/main\n"
    assert stock_git("remote", "get-url", "origin", at=target) == f"{shop.url}\n"


def test_a_clone_has_the_same_files_as_an_export(shop, target, settings):
    clone(source(shop.url), "main", target, settings=settings)
    other = target.with_name("other")
    export(source(shop.url), "main", other, settings=settings)
    assert snapshot(target) == snapshot(other)


def test_cloning_the_first_commit_creates_no_shallow_repository(make, target, settings, stock_git):
    clone(source(make("shop", {"a": b""}).url), "main", target, settings=settings)
    assert stock_git("rev-parse", "--is-shallow-repository", at=target) == "false\n"
    assert stock_git("fsck", at=target) == ""


def test_without_a_branch_the_default_branch_is_cloned(make, target, settings, stock_git):
    shop = make("shop", {"a": b"1"})
    shop.commit(shop.files({"b": b"2"}), "develop")
    shop.repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/develop")
    assert clone(source(shop.url), None, target, settings=settings).ref == "develop"
    assert stock_git("branch", "--show-current", at=target) == "develop\n"


def test_an_empty_repository_without_a_branch_is_reported(make, target, settings):
    with pytest.raises(RemoteRefused, match="is empty"):
        clone(source(make("shop").url), None, target, settings=settings)
    assert nothing_left(target)


@pytest.mark.parametrize("branch", ["feature/a", "ümlaut", 'q"uote#;', "x" * 200])
def test_unusual_branch_names_are_written_as_git_reads_them(
    make, target, settings, stock_git, branch
):
    shop = make("shop", {"a": b"1"})
    shop.commit(shop.files({"b": b"2"}), branch)
    clone(source(shop.url), branch, target, settings=settings)
    assert stock_git("branch", "--show-current", at=target) == f"{branch}\n"
    assert stock_git("config", f"branch.{branch}.merge", at=target) == f"refs/heads/{branch}\n"
    assert stock_git("status", "--porcelain", at=target) == ""


def test_stock_git_can_fetch_and_commit_in_a_clone(shop, target, settings, stock_git):
    clone(source(shop.url), "main", target, settings=settings)
    newer = shop.commit(shop.files({"a": b"2"}))
    stock_git("fetch", "--depth", "1", at=target)
    assert stock_git("rev-parse", "origin/main", at=target) == f"{newer}\n"
    (target / "a").write_text("mine")
    stock_git("commit", "-qam", "mine", at=target)
    assert stock_git("status", "--porcelain", at=target) == ""


def test_no_file_of_a_clone_contains_a_secret(shop, server, target, settings):
    server.credential = f"ada:{SECRET}"
    clone(source(shop.url, secret=SECRET), "main", target, settings=settings)
    for directory, _, names in os.walk(os.fsencode(target)):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    content = file.read()
                assert SECRET.encode() not in content, path
                assert b"ada:" not in content, path


def test_the_git_configuration_of_the_user_is_not_read(
    shop, target, settings, tmp_path, monkeypatch
):
    trap = tmp_path / "trap"
    (tmp_path / ".gitconfig").write_text(
        f'[filter "evil"]\n\tsmudge = touch {trap}\n\tprocess = touch {trap}\n'
        f'[url "http://127.0.0.1:9/"]\n\tinsteadOf = http://127.0.0.1\n'
        f"[core]\n\tautocrlf = true\n\thooksPath = {tmp_path}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    clone(source(shop.url), "main", target, settings=settings)
    assert not trap.exists()
    assert (target / "d/e/f").read_bytes() == b"\r\n"
