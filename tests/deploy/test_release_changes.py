"""Which files differ between two releases, within limits."""

from __future__ import annotations

import os

import pytest

from deploycore.deploy import release_changes
from deploycore.deploy.release_changes import compare_releases


@pytest.fixture
def releases(tmp_path):
    """Two directories: ``releases(old={"a": "1"}, new={"a": "2"})``."""

    def make(old, new):
        for name, content in (("old", old), ("new", new)):
            for path, text in {"": None, **content}.items():
                place = tmp_path / name / path
                place.parent.mkdir(parents=True, exist_ok=True)
                if text is None:
                    place.mkdir(exist_ok=True)
                elif text.startswith("->"):
                    place.symlink_to(text[2:])
                else:
                    place.write_text(text)
        return tmp_path / "old", tmp_path / "new"

    return make


def found(changes) -> tuple[list[str], list[str], list[str]]:
    return changes.added, changes.changed, changes.removed


def test_files_are_compared_by_their_content(releases):
    old = {"same": "1", "changed": "1", "sub/gone": "1", "longer": "1"}
    new = {"same": "1", "changed": "2", "sub/new": "1", "longer": "12"}
    changes = compare_releases(*releases(old, new))
    assert found(changes) == (["sub/new"], ["changed", "longer"], ["sub/gone"])
    assert changes.counts == {"added": 1, "changed": 2, "removed": 1}
    assert changes.is_all


def test_links_are_compared_and_not_followed(releases):
    old = {"same": "->/etc", "other": "->/etc", "file": "1"}
    new = {"same": "->/etc", "other": "->/usr", "file": "->/etc/passwd"}
    assert found(compare_releases(*releases(old, new))) == ([], ["file", "other"], [])


def test_a_file_replaced_by_a_directory_is_listed_as_both(releases):
    changes = compare_releases(*releases({"a": "1"}, {"a/b": "1"}))
    assert found(changes) == (["a/b"], [], ["a"])


def test_a_hard_link_is_unchanged_without_being_read(releases):
    old, new = releases({"a": "1"}, {})
    os.link(old / "a", new / "a")
    assert found(compare_releases(old, new)) == ([], [], [])


@pytest.mark.parametrize("limit", ["ENTRIES_MOST", "BYTES_MOST", "SECONDS_MOST"])
def test_an_expensive_comparison_is_truncated_and_marked(releases, monkeypatch, limit):
    monkeypatch.setattr(release_changes, limit, -1)
    changes = compare_releases(*releases({"a": "1"}, {"a": "2"}))
    assert not changes.is_all


def test_a_long_list_of_changes_is_truncated(releases, monkeypatch):
    monkeypatch.setattr(release_changes, "NAMED_MOST", 2)
    changes = compare_releases(*releases({}, {str(number): "" for number in range(5)}))
    assert (changes.added, changes.counts["added"]) == (["0", "1"], 5)


def test_a_missing_directory_has_no_files(releases, tmp_path):
    old, _ = releases({"a": "1"}, {})
    assert found(compare_releases(old, tmp_path / "none")) == ([], [], ["a"])
