"""A sandbox's repositories are in memory until a git client asks for them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from deploycore.testing.contents import IN_MEMORY_MOST
from deploycore.testing.repositories import GitRepositories


@dataclass(frozen=True)
class Row:
    full_name: str = "ada/shop"
    default_branch: str = "main"


SHOP = Row()


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """The place of temporary directories."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def repositories(directory):
    made = GitRepositories()
    made.clock = lambda: 1_700_000_000
    yield made
    made.close()
    assert list(directory.iterdir()) == []


def ask(repositories):
    """Return the refs as a git client gets them."""
    sent = bytearray()
    repositories.advertise(SHOP, "git-upload-pack").body(sent.extend)
    return bytes(sent)


def change(repositories, *, ask_first):
    """Make one change of each kind; return what is there in the end."""
    seen = []
    repositories.watchers.append(lambda _, updates: seen.append(list(updates)))
    first = repositories.commit(SHOP, "main", {"a": b"1", "deep/b": b"2"}, "One")
    if ask_first:
        ask(repositories)
    second = repositories.commit(SHOP, "main", {"a": None, "deep/b": b"3"}, "Two")
    repositories.add_branches(SHOP, {"release/1": first, "old": first, "new": second})
    repositories.add_tag(SHOP, "v1", first)
    repositories.add_tag(SHOP, "v2", second)
    repositories.delete_branches(SHOP, ["old", "unknown"])
    repositories.delete_tag(SHOP, "v1")
    with repositories.commits(SHOP) as read:
        commits = [read(second), read(first)]
    assert repositories.has_commit(SHOP, first)
    assert not repositories.has_commit(SHOP, "0" * 40)
    return repositories.branches(SHOP), repositories.tags(SHOP), commits, seen


def test_a_repository_that_no_client_asks_for_is_not_on_the_disk(repositories, directory):
    change(repositories, ask_first=False)
    assert list(directory.iterdir()) == []


def test_a_client_gets_the_same_whenever_it_asks_first(repositories):
    late = change(repositories, ask_first=False), ask(repositories)
    early = GitRepositories()
    early.clock = repositories.clock
    try:
        assert (change(early, ask_first=True), ask(early)) == late
    finally:
        early.close()


def test_a_written_repository_has_everything_that_was_there_before(repositories):
    branches, tags, commits, _ = change(repositories, ask_first=False)
    sent = ask(repositories)
    for name, commit in branches.items():
        assert f"{commit} refs/heads/{name}\n".encode() in sent
    for name, commit in tags.items():
        assert f"{commit} refs/tags/{name}\n".encode() in sent
    with repositories.commits(SHOP) as read:
        assert [read(each.hash) for each in commits] == commits
    third = repositories.commit(SHOP, "main", {"c": b"4"}, "Three")
    assert f"{third} refs/heads/main\n".encode() in ask(repositories)


def test_a_large_repository_is_not_kept_in_memory(repositories, directory):
    repositories.commit(SHOP, "main", {"large": bytes(IN_MEMORY_MOST)}, "One")
    assert len(list(directory.glob("*/*.git"))) == 1


def test_a_repository_without_content_can_be_asked_for(repositories):
    assert not repositories.has_commit(SHOP, "0" * 40)
    assert b"refs/heads" not in ask(repositories)
