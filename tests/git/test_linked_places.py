"""Links above a target belong to the operator. They are followed once, and later changes have no
effect."""

from __future__ import annotations

import os

import pytest

from deploycore.errors import GitError
from deploycore.git import RepositoryCache, clone, export
from tests.git.servers import source


@pytest.fixture
def shop(make):
    return make("shop", {"a.txt": b"a", "deep/b": b"b"})


@pytest.fixture
def linked(tmp_path):
    """A link to a directory, as ``/tmp`` is one on macOS."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    return tmp_path / "linked"


@pytest.mark.parametrize("below", ["target", "new/deep/target", "a/../target"])
@pytest.mark.parametrize("how", [clone, export])
def test_a_linked_directory_above_the_target_is_followed(shop, linked, settings, how, below):
    target = linked / below
    if ".." in below:
        (linked / "a").mkdir()
    how(source(shop.url), "main", target, settings=settings)
    assert (target / "deep/b").read_bytes() == b"b"
    assert linked.is_symlink()
    assert not [each for each in os.listdir(linked) if each.startswith(".")]


@pytest.mark.parametrize("how", [clone, export])
def test_a_link_changed_during_the_export_has_no_effect(shop, linked, tmp_path, settings, how):
    (tmp_path / "other").mkdir()

    def change(event):
        linked.unlink(missing_ok=True)
        linked.symlink_to("other")

    how(source(shop.url), "main", linked / "target", settings=settings, progress=change)
    assert os.listdir(tmp_path / "real") == ["target"]
    assert os.listdir(tmp_path / "other") == []


@pytest.mark.parametrize("leads_to", ["nowhere", "broken"])
def test_a_dangling_link_is_reported_and_nothing_is_created(shop, tmp_path, settings, leads_to):
    broken = tmp_path / "broken"
    broken.symlink_to(leads_to)
    with pytest.raises(GitError, match=r"is a link to .* which does not exist") as caught:
        export(source(shop.url), "main", broken / "target", settings=settings)
    assert "mount its disk" in caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["broken"]


def test_a_cache_behind_a_link_is_used(shop, linked, tmp_path, settings):
    cache = RepositoryCache(linked / "cache")
    for name in ("one", "two"):
        export(source(shop.url), "main", tmp_path / name, cache=cache, settings=settings)
        assert (tmp_path / name / "a.txt").read_bytes() == b"a"
    assert os.listdir(tmp_path / "real" / "cache")
