"""The releases to keep, and the release to roll back to, depend only on the history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploycore.deploy.selection import find_way_back, surplus_releases, withdrawn_commits
from deploycore.store import DeploymentRecord, ReleaseHistory

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int, release: str, kind="deploy", state="healthy", previous=None):
    """Releases are named after their commit: ``b2`` is the second release of commit ``b``."""
    return DeploymentRecord(
        number, "shop", kind, state, "main", release[0], release, previous, "", AT, AT, AT,
        None, None, None, None, None, 1, 1, {}, False, 1, False, "", "",
    )  # fmt: skip


class Story:
    """What happened to an application: ``a1`` deploys, ``a1!failed`` ends so, ``<a1`` rolls back
    to it."""

    def __init__(self, text: str) -> None:
        self.live: str | None = None
        self.previous: str | None = None
        made, events = {}, []
        for number, word in enumerate(text.split(), 1):
            release, _, state = word.lstrip("<").partition("!")
            kind = "rollback" if word.startswith("<") else "deploy"
            found = record(number, release, kind, state or "healthy", self.live)
            if kind == "deploy":
                made[release] = found
            if not state:
                events.append(found)
                self.previous, self.live = self.live, release
        self.names = sorted(made)
        self.history = ReleaseHistory(made, events)

    def way_back(self) -> str | None:
        return find_way_back(self.names, self.live, self.history)

    def surplus(self, keep: int) -> set[str]:
        return set(
            surplus_releases(
                self.names,
                live=self.live,
                previous=self.previous,
                keep=keep,
                history=self.history,
            )
        )


@pytest.mark.parametrize(
    ("story", "goes_to"),
    [
        ("", None),
        ("a1", None),
        ("a1 a2 a3", None),
        ("a1 b1", "a1"),
        ("a1 b1 b2 b3 b4 b5 b6", "a1"),
        ("a1 a2 b1 b2", "a2"),
        ("a1 b1!failed c1", "a1"),
        ("a1 b1!rolled_back c1", "a1"),
        ("a1 b1 b2!failed", "a1"),
        # Nobody goes forward, or back to what was gone back from.
        ("a1 b1 <a1", None),
        ("a1 b1 c1 <b1", "a1"),
        ("a1 b1 c1 <a1", None),
        ("a1 b1 <a1 c1", "a1"),
        ("a1 b1 b2 <a1 c1", "a1"),
        # A person made it live again: it is good again.
        ("a1 b1 <a1 b2 c1", "b2"),
        ("a1 b1 <a1 <b1", "a1"),
        ("a1 b1 <a1 <b1 c1", "b1"),
        # The branch came back to a former commit.
        ("a1 b1 a2", "b1"),
        # What was live last, not what was made last.
        ("a1 b1 c1 <a1 d1", "a1"),
        # Between copies of one commit nothing is judged.
        ("a1 b1 b2 <b1 c1", "b1"),
    ],
)
def test_a_rollback_selects_the_last_successful_release_of_another_commit(story, goes_to):
    assert Story(story).way_back() == goes_to


def test_without_a_known_live_release_the_last_successful_one_is_selected():
    story = Story("a1 b1")
    assert find_way_back(story.names, None, story.history) == "b1"
    assert find_way_back([*story.names, "foreign"], "foreign", story.history) == "b1"


@pytest.mark.parametrize(
    ("story", "withdrawn"),
    [
        ("a1 b1", ""),
        ("a1 b1 <a1", "b"),
        ("a1 b1 <a1 b2", ""),
        ("a1 b1 <a1 <b1", ""),
        ("a1 b1 c1 <b1 <a1", "bc"),
        ("a1 b1 <a1!rolled_back", ""),
        ("a1 b1 <a1 b2!failed", "b"),
    ],
)
def test_a_rollback_withdraws_a_commit_until_it_is_live_again(story, withdrawn):
    assert withdrawn_commits(Story(story).history) == set(withdrawn)


@pytest.mark.parametrize(
    ("story", "keep", "gone"),
    [
        ("a1 b1", 2, ""),
        ("a1 b1 c1", 2, "a1"),
        ("a1 b1 c1 d1 e1", 3, "a1 b1"),
        # Copies count for nothing, and go first; the one before the live one may be in use.
        ("a1 b1 b2 b3 b4 b5 b6", 2, "b1 b2 b3 b4"),
        ("a1 b1 b2 b3 b4 b5 b6", 5, "b1 b2"),
        ("a1 b1 c1 c2", 3, ""),
        ("a1 b1 b2 c1", 3, "b1"),
        ("a1 a2 a3 b1", 2, "a1 a2"),
        # Nor does what never worked, or was rolled back from.
        ("a1 b1!failed c1!failed d1!failed e1", 2, "b1 c1 d1"),
        ("a1 b1 <a1 c1 <a1 d1", 2, "b1 c1"),
        ("a1 b1 <a1 c1 <a1 d1", 4, ""),
        # The way back stays, however old it is.
        ("a1 b1 c1 d1 <a1 e1", 2, "b1 c1 d1"),
        # What has not come to its end is somebody's.
        ("a1 b1!building c1 d1", 2, "a1"),
    ],
)
def test_pruning_keeps_the_configured_number_of_successful_commits(story, keep, gone):
    assert Story(story).surplus(keep) == set(gone.split())


def test_directories_missing_from_the_history_are_not_pruned():
    story = Story("a1 b1 c1")
    found = surplus_releases(
        [*story.names, "backup-before-migration", "lost+found"],
        live="c1",
        previous="b1",
        keep=2,
        history=story.history,
    )
    assert found == ["a1"]
