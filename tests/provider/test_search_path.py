"""Entry points are searched again only if the module search path has changed."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from deploycore.errors import PluginError
from deploycore.provider import entry_points, registry, search_path
from deploycore.provider.installed import plugin_reports
from tests.distributions import write_distribution

GROUP = "deploycore.providers"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory of the path, last changed an hour ago, with one provider; alone on the path."""
    site = tmp_path / "site"
    write_distribution(site, "acme-one", "one", "")
    age(site)
    monkeypatch.setattr(sys, "path", [str(site)])
    return site


@pytest.fixture
def searches(monkeypatch):
    """The searches that were made."""
    made = []
    search = entry_points._candidates

    def count():
        made.append("all groups")
        return search()

    monkeypatch.setattr(entry_points, "_candidates", count)
    return made


def age(site):
    changed = os.stat(site).st_mtime - 3600
    os.utime(site, (changed, changed))


def test_an_unchanged_search_path_is_searched_once(site, searches):
    for _ in range(3):
        assert list(registry.entry_points_by_name(GROUP)) == ["one"]
    assert list(registry.entry_points_by_name("deploycore.observers")) == []
    assert searches == ["all groups"]


def test_installed_upgraded_or_removed_plugins_are_detected_at_once(site):
    assert list(registry.entry_points_by_name(GROUP)) == ["one"]
    write_distribution(site, "acme-two", "two", "")
    assert list(registry.entry_points_by_name(GROUP)) == ["one", "two"]
    shutil.rmtree(site / "acme_one-1.0.dist-info")
    write_distribution(site, "acme-one", "uno", "", version="2.0")
    found = registry.entry_points_by_name(GROUP)
    assert list(found) == ["two", "uno"]
    assert registry.label_of(found["uno"][0]) == "acme-one 2.0"
    shutil.rmtree(site)
    assert registry.entry_points_by_name(GROUP) == {}


def test_a_plugin_without_metadata_is_named_in_errors(site):
    """What is left of an installation that was cut off, next to plugins that work."""
    left = site / "acme_left-1.0.dist-info"
    left.mkdir()
    (left / "entry_points.txt").write_text(f"[{GROUP}]\nleft = acme_left:Provider\n")
    reports = {each.kind: each for each in plugin_reports() if each.type == "provider"}
    assert list(reports) == ["left", "one"]
    (origin,) = reports["left"].origins
    assert (origin.distribution, origin.version) == ("an unknown distribution", "")
    assert "The plugin an unknown distribution cannot be imported" in str(reports["left"].problem)
    with pytest.raises(PluginError, match="an unknown distribution"):
        registry.load_plugin("left")


def test_a_result_for_a_recently_changed_directory_is_not_cached(site):
    """The next change may come within the same tick of the file system's clock."""
    listed = search_path.kept_while_unchanged(lambda: len(list(site.glob("*.txt"))))
    (site / "one.txt").touch()
    changed = os.stat(site)
    assert listed() == 1
    (site / "two.txt").touch()
    os.utime(site, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert listed() == 2


def test_a_changed_search_path_is_searched_again(site, tmp_path, monkeypatch):
    assert list(registry.entry_points_by_name(GROUP)) == ["one"]
    other = tmp_path / "other"
    write_distribution(other, "acme-other", "other", "")
    age(other)
    sys.path.append(str(other))
    assert list(registry.entry_points_by_name(GROUP)) == ["one", "other"]
    sys.path.remove(str(other))
    assert list(registry.entry_points_by_name(GROUP)) == ["one"]
    monkeypatch.chdir(other)
    sys.path[:] = [""]
    assert list(registry.entry_points_by_name(GROUP)) == ["other"]
    monkeypatch.chdir(site)
    assert list(registry.entry_points_by_name(GROUP)) == ["one"]


def test_unreadable_directories_are_not_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing"), "null\0", str(tmp_path)])
    assert [state[1:] for state in search_path._state_of_path()[:2]] == [(0, 0)] * 2
