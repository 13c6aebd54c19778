"""Watched paths: the patterns that match, the cost of matching, and their effect on an export."""

from __future__ import annotations

import os
import subprocess

import pytest

from deploycore.errors import ConfigurationError
from deploycore.git import NothingWatchedChanged, RepositoryCache, Watched, export
from deploycore.git.repositories.comparison import PathPatterns
from tests.git.servers import source

PATHS = [
    "a",
    "a/b",
    "a/b/c.txt",
    "docs/a.md",
    "src/docs/a.md",
    "src/a.py",
    "deep/src/a.py",
    "package.json",
    "deep/package.json",
    "!odd",
    "#odd",
    "x y",
]
PATTERNS = [
    ["src/"],
    ["/src/"],
    ["*.md"],
    ["a/*"],
    ["a/**"],
    ["**/b"],
    ["a/**/c.txt"],
    ["/package.json"],
    ["src/*", "!src/docs"],
    ["*.md", "!/docs/a.md"],
    ["[ab]"],
    ["?"],
    [r"\!odd"],
    [r"\#odd"],
    ["x y"],
    ["deep/*/a.py"],
    ["!a"],
]


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_patterns_match_as_in_gitignore(stock_git, tmp_path, patterns):
    stock_git("init", "-q", tmp_path)
    (tmp_path / ".git" / "info" / "exclude").write_text("".join(f"{p}\n" for p in patterns))
    asked = "".join(f"{path}\0" for path in PATHS)
    said = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=tmp_path,
        input=asked.encode(),
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        capture_output=True,
        check=False,
    ).stdout
    mine = PathPatterns(patterns)
    assert {path for path in PATHS if mine.match(path.encode())} == set(
        said.decode().split("\0")
    ) - {""}


@pytest.mark.parametrize("pattern", ["[a", "a\\", "[[:nothing:]]", "!a["])
def test_a_malformed_pattern_is_refused(pattern):
    with pytest.raises(ConfigurationError, match=r"is not a valid \.gitignore pattern"):
        PathPatterns(["src/", pattern])


def test_matching_a_hostile_path_takes_no_extra_work():
    """Each star doubles the work of an engine that backtracks: this one would never end."""

    def steps(path):
        taken = []
        assert not PathPatterns(["*a" * 60 + "b"], taken.append).match(path)
        return sum(taken)

    assert steps(b"a" * 250) == steps(b"x" * 250) < 250


@pytest.fixture
def cache(tmp_path):
    return RepositoryCache(tmp_path / "cache")


@pytest.fixture
def shop(make):
    return make("shop", {"src/a.py": b"1\n", "readme.md": b"1\n"})


@pytest.fixture
def deploy(shop, cache, tmp_path, settings):
    def export_to(name, **options):
        target = tmp_path / "releases" / name
        options.setdefault("cache", cache)
        done = export(source(shop.url), "main", target, settings=settings, **options)
        return target, done

    return export_to


def test_nothing_is_exported_if_no_watched_path_changed(deploy, shop, cache, tmp_path):
    _, first = deploy("1")
    shop.commit(shop.files({"src/a.py": b"1\n", "readme.md": b"2\n"}))
    written = []
    with pytest.raises(NothingWatchedChanged):
        deploy(
            "2",
            watched=Watched(first.commit, ("src/",)),
            progress=lambda progress: written.append((progress.phase, progress.files)),
        )
    assert {phase for phase, _ in written} <= {"connecting", "receiving"}
    assert os.listdir(tmp_path / "releases") == ["1"]


def test_objects_fetched_for_a_skipped_export_are_cached(deploy, shop, server):
    _, first = deploy("1")
    shop.commit(shop.files({"src/a.py": b"1\n", "readme.md": b"2\n"}))
    for _ in range(2):
        server.requests.clear()
        with pytest.raises(NothingWatchedChanged):
            deploy("2", watched=Watched(first.commit, ("src/",)))
    assert [method for method, _, _ in server.requests] == ["GET"]
    target, _ = deploy("2")
    assert (target / "readme.md").read_bytes() == b"2\n"


def test_an_export_is_made_if_a_watched_path_changed(deploy, shop):
    _, first = deploy("1")
    shop.commit(shop.files({"src/a.py": b"2\n", "readme.md": b"1\n"}))
    target, _ = deploy("2", watched=Watched(first.commit, ("src/",)))
    assert (target / "src" / "a.py").read_bytes() == b"2\n"


@pytest.mark.parametrize("cache", [None], ids=["no cache"])
def test_an_export_is_made_if_there_is_nothing_to_compare(deploy, shop, cache):
    _, first = deploy("1")
    shop.commit(shop.files({"readme.md": b"2\n"}))
    target, _ = deploy("2", watched=Watched(first.commit, ("nothing/",)))
    assert os.listdir(target) == ["readme.md"]
