"""The pull requests of sandboxes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from deploycore.errors import NotFound
from deploycore.testing.pull_requests import PullRequests
from deploycore.testing.repositories import GitRepositories
from deploycore.testing.sandbox import Repository

SHOP = Repository("ada", "shop", "Shop", 1)
FORK = Repository("eve", "shop", "Shop", 2)


class Harbour:
    """Three branches, and whatever was told of pull requests."""

    def __init__(self, git, kind=PullRequests, tell=None):
        self.git = git
        self.gone = set()
        self.told = []
        self.start = git.commit(SHOP, "main", {"a": b"1"}, "Start")
        self.topic = git.commit(SHOP, "topic", {"a": b"2"}, "Topic")
        git.take(FORK, "topic", self.start, source=SHOP)
        self.pull_requests = kind(git, self.find, tell or self.told.append)

    def find(self, full_name):
        rows = {row.full_name: row for row in (SHOP, FORK) if row not in self.gone}
        return rows.get(full_name)

    def open(self, source=SHOP, *, into=SHOP, **more):
        return self.pull_requests.open(into, source, "topic", "main", **more)

    @property
    def actions(self):
        return [change.action for change in self.told]


@pytest.fixture
def git():
    repositories = GitRepositories()
    yield repositories
    repositories.close()


@pytest.fixture
def harbour(git):
    return Harbour(git)


def test_an_opened_pull_request_contains_both_branches(harbour):
    row = harbour.open(title="Anvils")
    assert (row.repository, row.source) == ("ada/shop", "ada/shop")
    assert (row.source_branch, row.target_branch) == ("topic", "main")
    assert (row.commit, row.target_commit) == (harbour.topic, harbour.start)
    assert (row.title, row.is_open, row.is_merged) == ("Anvils", True, False)
    (change,) = harbour.told
    assert (change.action, change.row, change.before) == ("opened", row, row)


def test_the_default_title_is_that_of_the_branch(harbour):
    assert harbour.open().title == "topic"


def test_each_repository_has_its_own_numbering(harbour):
    harbour.git.add_branches(FORK, {"main": harbour.start})
    rows = [harbour.open(), harbour.open(FORK), harbour.open(FORK, into=FORK)]
    assert [row.number for row in rows] == [1, 2, 1]


@pytest.mark.parametrize("branches", [("nothing", "main"), ("topic", "nothing")])
def test_an_unknown_branch_cannot_have_a_pull_request(harbour, branches):
    with pytest.raises(NotFound, match="ada/shop has no branch 'nothing'"):
        harbour.pull_requests.open(SHOP, SHOP, *branches)
    assert harbour.told == []


def test_a_change_is_reported_with_the_previous_state(harbour):
    row = harbour.open()
    edited = harbour.pull_requests.edit(row, title="Anvils", target_branch="release")
    # Whoever has an old row changes the newest one.
    closed = harbour.pull_requests.close(row)
    reopened = harbour.pull_requests.reopen(row)
    assert edited == replace(row, title="Anvils", target_branch="release")
    assert closed == replace(edited, state="CLOSED")
    assert reopened == harbour.pull_requests.current(row) == edited
    assert [(change.action, change.before, change.row) for change in harbour.told[1:]] == [
        ("edited", row, edited),
        ("closed", edited, closed),
        ("reopened", closed, reopened),
    ]


def test_new_commits_only_update_open_pull_requests_of_their_branch(harbour):
    row, closed, of_fork = harbour.open(), harbour.open(), harbour.open(FORK)
    closed = harbour.pull_requests.close(closed)
    before = len(harbour.told)
    newest = harbour.git.commit(SHOP, "topic", {"a": b"3"}, "More")
    harbour.git.commit(SHOP, "main", {"b": b"3"}, "Elsewhere")
    harbour.git.add_tag(SHOP, "topic", harbour.start)
    (change,) = harbour.told[before:]
    assert (change.action, change.before) == ("pushed", row)
    assert change.row == replace(row, commit=newest) == harbour.pull_requests.current(row)
    assert harbour.pull_requests.current(closed) == closed
    assert harbour.pull_requests.current(of_fork) == of_fork


def test_a_pull_request_stays_open_when_its_branch_is_deleted(harbour):
    row = harbour.open()
    harbour.git.delete_branches(SHOP, ["topic"])
    assert harbour.pull_requests.current(row) == row
    assert harbour.actions == ["opened"]


def test_a_host_can_close_a_pull_request_with_its_branch(git):
    class Closing(PullRequests):
        def branch_deleted(self, row):
            self.close(row)

    harbour = Harbour(git, Closing)
    row, of_fork = harbour.open(), harbour.open(FORK)
    git.delete_branches(SHOP, ["topic"])
    assert harbour.actions == ["opened", "opened", "closed"]
    assert harbour.pull_requests.current(row).state == "CLOSED"
    assert harbour.pull_requests.current(of_fork).is_open


def test_merging_uses_the_newest_commit_of_the_fork(harbour):
    row = harbour.open(FORK)
    newest = harbour.git.commit(FORK, "topic", {"a": b"3"}, "More")
    merged = harbour.pull_requests.merge(row)
    assert harbour.git.branches(SHOP)["main"] == merged.target_commit == newest
    assert (merged.is_open, merged.is_merged) == (False, True)
    assert harbour.actions == ["opened", "pushed", "merged"]
    assert harbour.told[-1].before.target_commit == harbour.start


@pytest.mark.parametrize("gone", [SHOP, FORK], ids=["target", "source"])
def test_a_pull_request_of_a_deleted_repository_cannot_be_merged(harbour, gone):
    row = harbour.open(FORK)
    harbour.gone.add(gone)
    with pytest.raises(NotFound, match="pull request 1 is gone"):
        harbour.pull_requests.merge(row)
    assert harbour.pull_requests.current(row).is_open
    assert harbour.actions == ["opened"]


def test_a_listener_can_read_the_pull_request_and_its_branch(git):
    heard = []

    def tell(change):
        now = harbour.pull_requests.current(change.row)
        heard.append((now, git.branches(SHOP)[now.source_branch]))

    harbour = Harbour(git, tell=tell)
    row = harbour.open()
    newest = git.commit(SHOP, "topic", {"a": b"3"}, "More")
    assert heard == [(row, harbour.topic), (replace(row, commit=newest), newest)]


def test_git_queries_do_not_block_other_threads(harbour, monkeypatch):
    """Pushes hold git's lock while they move pull requests: the other way round they would meet."""
    row, asked = harbour.open(), []

    def beside_others(name):
        ask = getattr(harbour.git, name)

        def beside(*arguments, **more):
            asked.append(name)
            assert others.submit(harbour.pull_requests.current, row).result(30)
            return ask(*arguments, **more)

        return beside

    with ThreadPoolExecutor(1) as others:
        for name in ("branches", "take"):
            monkeypatch.setattr(harbour.git, name, beside_others(name))
        harbour.open()
        harbour.pull_requests.merge(row)
    assert asked == ["branches", "branches", "take"]


@pytest.mark.parametrize("method", ["close", "current", "edit", "merge", "reopen"])
def test_a_removed_pull_request_is_not_found(harbour, method):
    row = harbour.open()
    harbour.pull_requests.clear()
    with pytest.raises(NotFound, match="no pull request 1 of ada/shop"):
        getattr(harbour.pull_requests, method)(row)
    assert harbour.open().number == 1
