"""Files of a repository at shared paths: they become the first content, are replaced, or cause an
error."""

from __future__ import annotations

import os

import pytest

from deploycore.applications.application import Shared
from deploycore.deploy.releases import Releases
from deploycore.deploy.shared import link_shared
from deploycore.errors import DeployError


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


@pytest.fixture
def release(target):
    place = target / "releases" / "1"
    place.mkdir(parents=True)
    (place / "other").mkdir()
    (place / "other" / "f").write_text("of the repository")
    return place


@pytest.fixture
def link(target, release):
    def run(**shared):
        link_shared(Releases(target), release, Shared(**shared), lambda text: None)

    return run


@pytest.mark.parametrize("to", ["other", "nowhere", ".", "/etc", "../../shared/data", "data"])
@pytest.mark.parametrize("kind", ["directories", "files"])
def test_a_link_from_the_repository_is_replaced(link, target, release, to, kind):
    os.symlink(to, release / "data")
    link(**{kind: ["data"]})
    assert os.readlink(release / "data") == "../../shared/data"
    kept = target / "shared" / "data"
    assert list(kept.iterdir()) == [] if kind == "directories" else kept.read_bytes() == b""
    assert (release / "other" / "f").read_text() == "of the repository"


def test_a_file_in_place_of_a_shared_directory_is_rejected(link, target, release):
    (release / "data").write_text("x")
    with pytest.raises(DeployError, match=r"has a file at 'data', where .* a directory") as caught:
        link(directories=["data"])
    assert "'data'" in caught.value.hint
    assert "shared/files" in caught.value.hint
    assert not (target / "shared" / "data").exists()
    link(files=["data"])
    assert (target / "shared" / "data").read_text() == "x"


def test_a_directory_in_place_of_a_shared_file_is_rejected(link, target, release):
    (release / "conf").mkdir()
    (release / "conf" / ".env").mkdir()
    with pytest.raises(DeployError, match=r"has a directory at 'conf/.env', where") as caught:
        link(files=["conf/.env"])
    assert "shared/directories" in caught.value.hint
    assert not (target / "shared" / "conf").exists()
    (release / "conf" / ".env").rmdir()
    link(files=["conf/.env"])
    assert (target / "shared" / "conf" / ".env").read_text() == ""


@pytest.mark.parametrize("shared", [{"directories": ["a/b/c"]}, {"files": ["a/b/c"]}])
def test_a_file_in_place_of_a_parent_of_a_shared_path_is_rejected(link, release, shared):
    (release / "a").mkdir()
    (release / "a" / "b").write_text("x")
    with pytest.raises(DeployError, match=r"has a file at 'a/b', where .* 'a/b/c'") as caught:
        link(**shared)
    assert "Remove 'a/b'" in caught.value.hint
    (release / "a" / "b").unlink()
    link(**shared)
    assert (release / "a" / "b" / "c").is_symlink()


@pytest.mark.parametrize("shared", [{"directories": ["a/b"]}, {"files": ["a/b"]}])
def test_a_file_in_place_of_a_parent_in_the_shared_directory_is_rejected(link, target, shared):
    (target / "shared").mkdir()
    (target / "shared" / "a").write_text("x")
    with pytest.raises(
        DeployError, match=r"shared/a/b cannot be created, because .*shared/a is not a directory"
    ) as caught:
        link(**shared)
    assert f"Move {target / 'shared' / 'a'} away" in caught.value.hint
    (target / "shared" / "a").rename(target / "a-of-before")
    link(**shared)


def test_any_other_error_is_reported_with_the_shared_path(link, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", "/somewhere/else")

    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", refuse)
        with pytest.raises(
            DeployError, match=r"'data' cannot be linked .* denied at '/somewhere/else'"
        ) as caught:
            link(directories=["data"])
    assert "the permissions of /somewhere/else" in caught.value.hint
    link(directories=["data"])


def test_an_existing_shared_path_replaces_the_content_of_the_repository(link, target, release):
    (target / "shared" / "data").mkdir(parents=True)
    (release / "data").write_text("x")
    link(directories=["data"])
    assert os.readlink(release / "data") == "../../shared/data"
