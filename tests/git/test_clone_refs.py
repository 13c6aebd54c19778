"""Clones of all kinds of refs are in the state in which git would have created them."""

from __future__ import annotations

import pytest
from dulwich.objects import Commit, Tag

from deploycore.git import clone
from tests.git.servers import source


@pytest.fixture
def shop(make):
    made = make("shop", {"old": b"old"})
    made.head = made.commit(made.files({"a": b"1", "d/b": b"2"}))
    tag = Tag()
    tag.name, tag.object, tag.tagger = b"annotated", (Commit, made.head.encode()), b"a <a@b>"
    tag.tag_time, tag.tag_timezone, tag.message = 1, 0, b"x"
    made.repo.object_store.add_object(tag)
    made.tag = tag.id.decode()
    refs = {b"tags/light": made.head.encode(), b"tags/annotated": tag.id}
    for name, value in (refs | {b"pull/1": made.head.encode(), b"zzz/x": tag.id}).items():
        made.repo.refs[b"refs/" + name] = value
    # The branch is elsewhere: what is cloned is there for its own ref's sake.
    made.commit(made.files({"a": b"3"}))
    return made


@pytest.mark.parametrize(
    ("ref", "refs"),
    [
        ("light", ["refs/tags/light"]),
        ("annotated", ["refs/tags/annotated"]),
        ("refs/tags/annotated", ["refs/tags/annotated"]),
        ("refs/pull/1", []),
        ("refs/zzz/x", []),
        ("hash", []),
    ],
)
def test_a_ref_that_is_not_a_branch_is_checked_out_detached(
    shop, target, settings, stock_git, ref, refs
):
    done = clone(source(shop.url), shop.head if ref == "hash" else ref, target, settings=settings)
    assert done.commit == shop.head
    assert (target / ".git/HEAD").read_text() == f"{shop.head}\n"
    assert stock_git("rev-parse", "HEAD", at=target) == f"{shop.head}\n"
    assert stock_git("status", "--porcelain", at=target) == ""
    assert stock_git("branch", "--show-current", at=target) == ""
    assert stock_git("fsck", "--strict", "--no-dangling", at=target) == ""
    assert stock_git("for-each-ref", "--format=%(refname)", at=target).split() == refs
    assert "[branch" not in (target / ".git/config").read_text()
    assert stock_git("log", "--format=%H", at=target) == f"{shop.head}\n"


def test_an_annotated_tag_object_is_in_the_clone(shop, target, settings, stock_git):
    clone(source(shop.url), "annotated", target, settings=settings)
    assert stock_git("rev-parse", "refs/tags/annotated", at=target) == f"{shop.tag}\n"
    assert stock_git("describe", "--exact-match", at=target) == "annotated\n"
    stock_git("fetch", "-q", "--depth", "1", at=target)
    assert stock_git("fetch", "-q", "--tags", "--depth", "1", at=target) == ""


def test_a_branch_is_checked_out_as_a_branch(shop, target, settings, stock_git):
    done = clone(source(shop.url), "main", target, settings=settings)
    assert stock_git("symbolic-ref", "HEAD", at=target) == "refs/heads/main\n"
    assert stock_git("rev-parse", "HEAD", at=target) == f"{done.commit}\n"
    assert stock_git("fsck", "--strict", at=target) == ""
    packed = (target / ".git/packed-refs").read_text().splitlines()[1:]
    assert packed == sorted(packed, key=lambda line: line.split()[1])
