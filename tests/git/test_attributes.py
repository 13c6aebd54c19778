"""``.gitattributes``: what stock git makes of it, and no more."""

from __future__ import annotations

import os
import subprocess
import tarfile
import time
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycore.git import RepositoryCache, export
from deploycore.git.attributes import Attributes, LineEnding, convert
from tests.git.servers import SECRET, snapshot, source

PIECES = st.sampled_from(
    [
        "*",
        "**",
        "?",
        "/",
        "a",
        "b",
        ".c",
        "[ab]",
        "[!a]",
        "[a-c]",
        "\\a",
        "**/",
        "/**",
        "[[:alpha:]]",
        "x*",
    ]
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
WORDS = st.sampled_from(
    [
        "export-ignore",
        "-export-ignore",
        "!export-ignore",
        "text",
        "-text",
        "text=auto",
        "eol=crlf",
        "eol=lf",
        "binary",
        "crlf",
        "-crlf",
        "mine",
        "!text",
        "!eol",
    ]
)
LINES = st.tuples(PATTERNS, st.lists(WORDS, min_size=1, max_size=2).map(" ".join)).map(" ".join)
FILES = st.lists(LINES, max_size=6).map(lambda lines: "\n".join(lines).encode() + b"\n")
PATHS = [
    "a",
    "b",
    "ab",
    "a.c",
    "x",
    "a/b",
    "a/a.c",
    "b/a/x",
    "a/b/a/ab",
    "x/a/b/.c",
    "a/xa/b",
    "b/b/b/b",
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare")
    subprocess.run(["git", "init", "-q", path], check=True)
    return path


def checked(bare, files, paths):
    """What ``git check-attr`` says: for each path, its attributes."""
    for name in ("", "a"):
        (bare / name).mkdir(exist_ok=True)
        (bare / name / ".gitattributes").write_bytes(files.get(name, b""))
    command = ["git", "check-attr", "-z", "--stdin", "export-ignore", "text", "crlf", "eol"]
    done = subprocess.run(
        command, cwd=bare, input="\0".join(paths).encode() + b"\0", capture_output=True, check=True
    )
    fields = done.stdout.decode().split("\0")[:-1]
    found = {path: {} for path in paths}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        found[path][name] = value
    return found


def ending(values):
    text = values["text"]
    if text not in ("set", "unset", "auto", "input"):
        text = values["crlf"]
    if text == "unset" or values["eol"] != "crlf":
        return LineEnding.UNCHANGED
    return LineEnding.CRLF_IF_TEXT if text == "auto" else LineEnding.CRLF


@settings(
    max_examples=150,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(top=FILES, inner=FILES)
def test_paths_have_the_attributes_that_git_gives_them(bare, top, inner):
    top = b"[attr]mine export-ignore -text\n" + top
    mine = Attributes({b".gitattributes": top, b"a/.gitattributes": inner})
    for path, values in checked(bare, {"": top, "a": inner}, PATHS).items():
        ignored = values["export-ignore"] == "set"
        assert mine.export_ignored(path.encode(), False) == ignored, path
        assert mine.line_ending(path.encode()) == ending(values), path


@pytest.mark.parametrize(
    "line",
    [
        b'"a b" export-ignore',
        b'"\\141 b" export-ignore',
        b"#a export-ignore",
        b"!a export-ignore",
        b"a export-ignore " + b"x" * 2048,
        b"\xef\xbb\xbfa export-ignore",
        b"a\texport-ignore\r",
        b"a[ export-ignore",
        b"a] export-ignore",
        b"[]a] export-ignore",
        b"[z-a] export-ignore",
    ],
)
def test_odd_lines_mean_what_they_mean_to_git(bare, line):
    mine = Attributes({b".gitattributes": line})
    paths = ["a", "a b", "#a", "!a", "a[", "a]", "]"]
    for path, values in checked(bare, {"": line}, paths).items():
        ignored = values["export-ignore"] == "set"
        assert mine.export_ignored(path.encode(), False) == ignored, path


@pytest.mark.parametrize(
    "pattern", [b"*a" * 40 + b"b", b"**/" * 40 + b"b", b"a*" * 80, b"?*" * 60 + b"b"]
)
def test_no_pattern_takes_long(pattern):
    mine = Attributes({b".gitattributes": pattern + b" export-ignore"})
    began = time.monotonic()
    for path in (b"a" * 250, b"/".join([b"a"] * 120)):
        mine.export_ignored(path, False)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a\n",
        b"a\r\n",
        b"a\nb\r\n",
        b"a\rb\n",
        b"a\0\n",
        b"\n\n\n",
        b"a\n\x1a",
        b"\x01\n" * 3,
        b"text " * 100 + b"\x02\n",
        b"\x7f" * 3 + b"x" * 500 + b"\n",
        "é\n".encode() * 9,
        b"\r",
        b"\r\r\n",
    ],
)
@pytest.mark.parametrize(
    "words", ["text eol=crlf", "text=auto eol=crlf", "eol=crlf", "text", "-text eol=crlf"]
)
def test_line_endings_are_those_of_git(tmp_path, stock_git, words, content):
    stock_git("init", "-q", tmp_path)
    (tmp_path / ".gitattributes").write_text(f"f {words}\n")
    blob = (
        subprocess.run(
            ["git", "hash-object", "-w", "--stdin"],
            cwd=tmp_path,
            input=content,
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .strip()
    )
    stock_git("add", ".gitattributes", at=tmp_path)
    stock_git("update-index", "--add", "--cacheinfo", f"100644,{blob},f", at=tmp_path)
    stock_git("checkout-index", "-f", "f", at=tmp_path)
    mine = Attributes({b".gitattributes": f"f {words}\n".encode()})
    assert convert(content, mine.line_ending(b"f")) == (tmp_path / "f").read_bytes()


def test_an_export_with_attributes_is_what_git_archives(http_backend, stock_git, tmp_path):
    root, address = http_backend
    work = tmp_path / "work"
    stock_git("init", "-q", "-b", "main", work)
    large = b"".join(b"line %d\n" % number for number in range(300_000))
    files = {
        ".gitattributes": b"*.bat text eol=crlf\n.git* export-ignore\nd/tests/ export-ignore\n"
        b"*.any text=auto eol=crlf\n",
        "a.bat": b"one\ntwo\n",
        "large.bat": large,
        "large.any": large,
        "binary.any": large + b"\0",
        "d/.gitattributes": b"*.txt export-ignore\nkept.txt !export-ignore\n",
        "d/a.txt": b"out",
        "d/kept.txt": b"in",
        "d/tests/x": b"out",
        "d/e/tests": b"a file",
        "a.txt": b"in",
    }
    cache, former = RepositoryCache(tmp_path / "cache"), None
    for number in range(3):
        if number == 2:
            files["d/.gitattributes"] = b""
        files["a.txt"] = b"%d" % number
        for path, content in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
        stock_git("add", "-A", at=work)
        stock_git("commit", "-qm", str(number), at=work)
        if number:
            stock_git("push", "-q", root / f"{tmp_path.name}.git", "main", at=work)
        else:
            stock_git("clone", "-q", "--bare", work, root / f"{tmp_path.name}.git")
        archive = subprocess.run(
            ["git", "archive", "main"], cwd=work, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(tmp_path / f"archive{number}", filter="tar")
        for reuse in ("copy", "hard-link"):
            target = tmp_path / f"{reuse}{number}"
            export(
                source(f"{address}/{tmp_path.name}.git", secret=SECRET),
                "main",
                target,
                attributes=True,
                cache=cache,
                former=former,
                reuse=reuse,
            )
            assert _without_empty(snapshot(target)) == snapshot(tmp_path / f"archive{number}")
        former = target


def _without_empty(found):
    """git leaves out a directory of which nothing is left."""
    return {
        path: what
        for path, what in found.items()
        if what != ("directory",) or any(other.startswith(path + b"/") for other in found)
    }
