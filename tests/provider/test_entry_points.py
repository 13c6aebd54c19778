"""Entry points are found as importlib.metadata finds them."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys

import pytest

from deploycore.provider import entry_points
from deploycore.provider.entry_points import PROVIDER_GROUP, entry_points_by_name, key_of
from tests.distributions import write_distribution


@pytest.fixture
def sites(tmp_path, monkeypatch):
    """Two directories of the path, the first of which comes first, and nothing else."""
    found = [tmp_path / "first", tmp_path / "second"]
    for each in found:
        each.mkdir()
    monkeypatch.setattr(sys, "path", [*map(str, found), str(tmp_path / "missing")])
    return found


def found():
    installed = entry_points._installed()
    return {key_of(each) for group in entry_points._GROUPS for each in installed.get(group, ())}


def expected():
    importlib.invalidate_caches()
    points = [
        point
        for group in entry_points._GROUPS
        for point in importlib.metadata.entry_points(group=group)
    ]
    assert all(point.dist is not None for point in points)
    return {key_of(point) for point in points}


def test_the_plugins_of_this_environment_are_found():
    assert found() == expected() != set()


def test_the_first_place_on_the_path_hides_a_distribution_of_the_same_name(sites):
    first, second = sites
    write_distribution(first, "acme-forge", "new", "", version="2.0")
    write_distribution(second, "Acme.Forge", "old", "")
    write_distribution(second, "other", "other", "")
    assert found() == expected()
    assert list(entry_points_by_name(PROVIDER_GROUP)) == ["new", "other"]


def test_a_distribution_without_entry_points_hides_one_of_the_same_name_too(sites):
    first, second = sites
    (first / "acme_forge-2.0.dist-info").mkdir()
    write_distribution(second, "acme-forge", "old", "")
    assert found() == expected() == set()


def test_plugins_in_archives_and_eggs_are_found(sites, tmp_path, monkeypatch):
    first, second = sites
    write_distribution(first, "acme-zipped", "zipped", "")
    write_distribution(second, "acme-egg", "egg", "")
    archive = shutil.make_archive(str(tmp_path / "plugins"), "zip", first)
    egg = tmp_path / "acme_egg-1.0.egg"
    egg.mkdir()
    shutil.move(second / "acme_egg-1.0.dist-info", egg / "EGG-INFO")
    (egg / "EGG-INFO" / "METADATA").rename(egg / "EGG-INFO" / "PKG-INFO")
    monkeypatch.setattr(sys, "path", [archive, str(egg)])
    assert found() == expected()
    assert list(entry_points_by_name(PROVIDER_GROUP)) == ["egg", "zipped"]


def test_metadata_that_cannot_be_read_is_passed_over(sites):
    first, _ = sites
    (first / "old-1.0.egg-info").write_text("Name: old\n")
    (first / "dangling-1.0.dist-info").symlink_to(first / "missing")
    write_distribution(first, "acme-forge", "forge", "")
    assert found() == expected()
    assert list(entry_points_by_name(PROVIDER_GROUP)) == ["forge"]


def test_a_program_with_a_finder_of_its_own_is_asked(sites, tmp_path, monkeypatch):
    hidden = tmp_path / "hidden"
    write_distribution(hidden, "acme-hidden", "hidden", "")

    class Finder:
        @staticmethod
        def find_spec(*arguments):
            return None

        @staticmethod
        def find_distributions(context):
            context = importlib.metadata.DistributionFinder.Context(path=[str(hidden)])
            return importlib.metadata.MetadataPathFinder.find_distributions(context)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert list(entry_points_by_name(PROVIDER_GROUP)) == ["hidden"]
