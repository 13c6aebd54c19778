"""``.gitattributes`` has the same effect as in git."""

from __future__ import annotations

import itertools
import os
import subprocess
import tarfile
import time
from collections import deque
from dataclasses import replace
from io import BytesIO

import pytest
from dulwich.objects import ObjectID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycore.errors import Cancelled, LimitExceeded
from deploycore.git import Cancellation, GitSettings, RepositoryCache, export
from deploycore.git import operation as operation_module
from deploycore.git.checkout.applied import AppliedAttributes
from deploycore.git.checkout.attributes import Attributes, LineEnding, convert
from deploycore.git.checkout.changes import Changes
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import SHA1
from deploycore.git.progress import no_progress
from tests.git.servers import (
    DIRECTORY,
    FILE,
    GITLINK,
    LINK,
    SECRET,
    nothing_left,
    snapshot,
    source,
)

A = ".gitattributes"
MIB = 1024 * 1024

PIECES = st.sampled_from(
    [
        "*",
        "**",
        "***",
        "?",
        "/",
        "a",
        "b",
        ".c",
        "-",
        "[ab]",
        "[!a]",
        "[a-c]",
        "[b-a]",
        "[a-]",
        "[--0]",
        "[a-c-e]",
        "[\\a-\\c]",
        "[]a]",
        "[!]a]",
        "[a/b]",
        "[/]",
        "[&&~~||]",
        "[[:digit:]",
        "[[:alpha:]]",
        "[^[:alpha:]]",
        "[[:foo:]]",
        "[[:]",
        "[",
        "\\a",
        "\\/",
        "\\",
        "**/",
        "/**",
        "**\\/",
        "x*",
    ]
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
QUOTED = PATTERNS.map(lambda pattern: '"' + pattern.replace("\\", "\\\\") + '"')
ODD_QUOTED = st.sampled_from(
    ['"a', '"\\141"', '"\\q"', '"a\\', '"[attr]m"', '"[attr] n "', '"\\000b"', '""', '"!a"']
)
WORDS = st.sampled_from(
    [
        "export-ignore",
        "-export-ignore",
        "!export-ignore",
        "export-ignore=",
        "text",
        "-text",
        "-text=auto",
        "text=auto",
        "eol=crlf",
        "eol=lf",
        "crlf",
        "-crlf",
        "!text",
        "!eol",
        "binary",
        "-binary",
        "!binary",
        "mine",
        "-mine",
        "m",
        "-m",
        "!m",
        "m=x",
        "n",
        "-n",
        "filter=lfs",
        "-filter",
    ]
)
ODD_WORDS = st.sampled_from(["f/oo", "--text", "=", "!", "text==", "\f", "é"])
BLANKS = st.sampled_from([" ", " ", " ", "\t", "  \r", "\f"])
HEADS = st.one_of(
    PATTERNS,
    PATTERNS,
    PATTERNS,
    QUOTED,
    ODD_QUOTED,
    st.sampled_from(["[attr]m", "[attr]n", "[attr]mine", "[attr]binary", "[attr]", "[attr]/"]),
    st.sampled_from(["#a", "!a", " a", "\r*", "\f*", "\ufeffa"]),
)
LINES = st.builds(
    lambda head, blank, words, odd: head + blank + blank.join([*words, *odd]),
    HEADS,
    BLANKS,
    st.lists(WORDS, max_size=3),
    st.one_of(st.just([]), st.just([]), st.just([]), st.lists(ODD_WORDS, max_size=1)),
)
FILES = st.builds(
    lambda lines, end: end.join(lines).encode() + end.encode(),
    st.lists(LINES, max_size=7),
    st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\0\n"]),
)
PATHS = [
    "a",
    "b",
    "ab",
    "a.c",
    "x",
    "-",
    "0",
    "[a",
    "]a",
    "a]",
    "&",
    ":",
    '"a',
    "\ufeffa",
    "\fx",
    "a/b",
    "a/a.c",
    "b/a/x",
    "a/b/a/ab",
    "x/a/b/.c",
    "a/xa/b",
    "b/b/b/b",
    "a/",
    "b/",
    "a/b/",
    "b/a/",
    "x/a/b/",
]
ASKED = ["export-ignore", "text", "crlf", "eol", "filter"]

# Python 3.11.4 added filters, and 3.14 uses one by default that changes modes.
EXTRACTION = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare")
    subprocess.run(["git", "init", "-q", path], check=True)
    return path


@pytest.fixture
def operation():
    return Operation(GitSettings(), no_progress, Cancellation())


def checked(bare, files, paths):
    """What ``git check-attr`` says: for each path, its attributes.

    Of what is in the index, as ``git archive`` has it: the BOM and NUL are not the same in files.
    """

    def run(*command, given=b""):
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
        return subprocess.run(
            ["git", "-c", f"core.attributesFile={os.devnull}", *command],
            cwd=bare,
            env=os.environ | nothing,
            input=given,
            capture_output=True,
            check=True,
        ).stdout.decode()

    places = []
    for number, name in enumerate(["", "a/"]):
        (bare / f"content{number}").write_bytes(files.get(name, b""))
        places.append(f"{name}.gitattributes")
    hashes = run("hash-object", "-w", "--no-filters", "--", "content0", "content1").split()
    lines = "".join(f"100644 {each}\t{place}\n" for each, place in zip(hashes, places, strict=True))
    run("update-index", "--add", "--index-info", given=lines.encode())
    given = "\0".join(paths).encode() + b"\0"
    fields = run("check-attr", "--cached", "-z", "--stdin", *ASKED, given=given).split("\0")[:-1]
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


def assert_as_git_has_it(bare, mine, top, inner=b"", paths=PATHS):
    for path, values in checked(bare, {"": top, "a/": inner}, paths).items():
        name, directory = path.removesuffix("/").encode(), path.endswith("/")
        ignored = values["export-ignore"] == "set"
        assert mine.export_ignored(name, directory) == ignored, path
        if not directory:
            assert mine.line_ending(name) == ending(values), path
            assert mine.kept_in_lfs(name) == (values["filter"] == "lfs"), path


@settings(
    max_examples=int(os.environ.get("ATTRIBUTES_EXAMPLES", "150")),
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(top=FILES, inner=FILES)
def test_paths_have_the_same_attributes_as_in_git(bare, operation, top, inner):
    top = b"[attr]mine export-ignore -text\n" + top
    # In any order: what is in a file must not depend on which is read first.
    mine = Attributes({b"a/.gitattributes": inner, b".gitattributes": top}, operation)
    assert_as_git_has_it(bare, mine, top, inner)


@pytest.mark.parametrize(
    "line",
    [
        b'"a b" export-ignore',
        b'"\\141 b" export-ignore',
        b'"a\\qb" export-ignore',
        b"#a export-ignore",
        b"!a export-ignore",
        b"a export-ignore " + b"x" * 2048,
        b"\xef\xbb\xbfa export-ignore",
        b"a\texport-ignore\r",
        b"a[ export-ignore",
        b"a] export-ignore",
        b"[]a] export-ignore",
        b"[z-a] export-ignore",
        b"[[:digit:]4 export-ignore",
        b"[a/b]6 export-ignore",
        b"a export-ignore f/oo",
        b"a\x0cb export-ignore",
        b"b x\n\0\na export-ignore",
    ],
)
def test_unusual_lines_are_interpreted_as_in_git(bare, operation, line):
    paths = ["a", "a b", "#a", "!a", "a[", "a]", "]", "aqb", "a6", "94", "b", "\ufeffa"]
    mine = Attributes({b".gitattributes": line}, operation)
    assert_as_git_has_it(bare, mine, line, paths=paths)


CLASSES = "alnum alpha blank cntrl digit graph lower print punct space upper xdigit ascii Alpha"


@pytest.mark.parametrize("name", [*CLASSES.split(), ""])
def test_character_classes_match_as_in_git(bare, operation, name):
    line = f"[[:{name}:]] export-ignore\nx[^[:{name}:]] text eol=crlf\n".encode()
    each = [chr(number) for number in range(1, 128) if chr(number) not in "./"]
    mine = Attributes({b".gitattributes": line}, operation)
    assert_as_git_has_it(bare, mine, line, paths=each + [f"x{one}" for one in each])


@pytest.mark.parametrize(
    "lines",
    [
        "[attr]m export-ignore\n*.x m\nk.x -m\n",
        "[attr]m export-ignore\n*.x m\nk.x !m\n",
        "* text eol=crlf\n*.x binary\nk.x -binary\n",
        "[attr]m export-ignore\n*.x m\n[attr]m -text\n",
        "[attr]n m\n[attr]m export-ignore\n*.x n\n",
        "*.x m\n[attr]m export-ignore\n",
        "[attr]m m export-ignore\n*.x m\n",
        "[attr]m n export-ignore\n[attr]n m text\n*.x n\n",
    ],
)
def test_macros_expand_as_in_git(bare, operation, lines):
    top = lines.encode()
    mine = Attributes({b".gitattributes": top}, operation)
    assert_as_git_has_it(bare, mine, top, paths=["k.x", "l.x", "other"])


def test_macros_may_be_deeply_nested(operation):
    chain = b"".join(b"[attr]m%d m%d\n" % (number, number + 1) for number in range(5000))
    mine = Attributes({b".gitattributes": chain + b"[attr]m5000 export-ignore\na m0\n"}, operation)
    assert mine.export_ignored(b"a", False)


def test_a_set_of_unusual_characters_causes_no_warning(operation):
    lines = b"x[--0] export-ignore\nx[a--]y export-ignore\nx[&&||~~[[] export-ignore\n"
    mine = Attributes({b".gitattributes": lines}, operation)
    assert [mine.export_ignored(b"x" + one, False) for one in (b"-", b"/", b"0", b"|", b"1")] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_rules_count_toward_the_memory_limit():
    lines = b"".join(b"?%d text\n" % number for number in range(5000))
    settings = GitSettings(max_held_bytes=MIB)
    operation = Operation(settings, no_progress, Cancellation())
    with pytest.raises(LimitExceeded) as caught:
        Attributes({b".gitattributes": lines}, operation)
    assert caught.value.details == {"limit": "max_held_bytes"}


def test_irrelevant_attribute_lines_do_not_count_toward_the_limit(operation):
    Attributes({b".gitattributes": b"*.x diff=y linguist-generated\n" * 1000}, operation)
    assert operation.counts.held == 0


def test_thousands_of_names_are_matched_by_lookup(operation):
    lines = b"".join(b"d/f%d text\n*.e%d text\n" % (number, number) for number in range(10_000))
    mine = Attributes({b".gitattributes": lines}, operation)
    began = time.process_time()
    for number in range(1000):
        mine.line_ending(b"d/g%d" % number)
    assert time.process_time() - began < 1


def test_cancellation_stops_reading_and_matching(operation):
    lines = b"".join(b"?%d text\n" % number for number in range(1000))
    mine = Attributes({b".gitattributes": lines}, operation)
    operation.cancellation.cancel()
    with pytest.raises(Cancelled):
        mine.line_ending(b"a")
    with pytest.raises(Cancelled):
        Attributes({b".gitattributes": lines}, operation)


@pytest.mark.parametrize(
    "pattern", [b"*a" * 40 + b"b", b"**/" * 40 + b"b", b"a*" * 80, b"?*" * 60 + b"b"]
)
def test_no_pattern_is_slow_to_match(operation, pattern):
    mine = Attributes({b".gitattributes": pattern + b" export-ignore"}, operation)
    began = time.process_time()
    for path in (b"a" * 250, b"/".join([b"a"] * 120)):
        mine.export_ignored(path, False)
    assert time.process_time() - began < 5


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
def test_line_endings_are_converted_as_in_git(tmp_path, stock_git, operation, words, content):
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
    mine = Attributes({b".gitattributes": f"f {words}\n".encode()}, operation)
    assert convert(content, mine.line_ending(b"f")) == (tmp_path / "f").read_bytes()


def test_an_export_with_attributes_equals_git_archive(http_backend, stock_git, tmp_path):
    root, address = http_backend
    work = tmp_path / "work"
    stock_git("init", "-q", "-b", "main", work)
    # A file that is read and written in more than one step.
    large = b"".join(b"line %d\n" % number for number in range(120_000))
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
            tar.extractall(tmp_path / f"archive{number}", **EXTRACTION)
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
            assert snapshot(target) == snapshot(tmp_path / f"archive{number}")
        former = target


@pytest.mark.parametrize(
    "files",
    [
        {A: b"d/* export-ignore\n", "d/a": b"", "e": b""},
        {A: b"d/* export-ignore\n", "d/a/b": b"", "e": b""},
        {A: b"d/** export-ignore\n", "d/q/a": b"", "d/r": b"", "e": b""},
        {A: b"d/** export-ignore\n", "d/q/a": b"", "e": b""},
        {A: b"d/ export-ignore\n", "d/q/a": b"", "e": b""},
        {A: b"*.md export-ignore\n", "docs/a.md": b"", "d/e/f/b.md": b"", "e": b""},
        {A: b"l export-ignore\n", "d/l": (LINK, b"x"), "e": b""},
        {A: b"lib/ export-ignore\n", "d/lib": (GITLINK, b"1" * 40), "e/lib": b"", "f": b""},
        {A: b"lib export-ignore\n", "d/lib": (GITLINK, b"1" * 40), "f": b""},
        {"d/lib": (GITLINK, b"1" * 40), "f": b""},
        {".a/.gitattributes": b"x m\n", A: b"[attr]m export-ignore\n", ".a/x": b"", ".a/y": b""},
        {
            "d/.gitattributes": b"[attr]m export-ignore\nq m\nr export-ignore\n",
            "d/q": b"",
            "d/r": b"",
        },
    ],
)
def test_files_and_directories_equal_those_of_an_archive(make, target, settings, files):
    shop = make("shop", files)
    export(source(shop.url), "main", target, attributes=True, settings=settings)
    assert snapshot(target) == archived(shop, target.parent)


def test_empty_trees_are_omitted_as_in_an_archive(make, target, settings):
    shop = make("shop")
    empty = shop.tree()
    within = shop.tree((DIRECTORY, b"empty", empty))
    entries = [
        (DIRECTORY, b"d", within),
        (DIRECTORY, b"empty", empty),
        (FILE, b"f", shop.blob(b"")),
    ]
    shop.commit(shop.tree(*entries))
    export(source(shop.url), "main", target, attributes=True, settings=settings)
    assert snapshot(target) == archived(shop, target.parent) == {b"f": ("file", b"", False)}


def test_excluded_directories_stay_excluded_in_the_next_export(make, tmp_path, settings):
    shop = make("shop")
    options = {
        "attributes": True,
        "cache": RepositoryCache(tmp_path / "cache"),
        "settings": settings,
    }
    former = None
    for number in range(3):
        files = {A: b"d/e/* export-ignore\n", "d/e/q/a": b"", "d/g/h": b"", "f": b"%d" % number}
        shop.commit(shop.files(files))
        target = tmp_path / f"target{number}"
        export(source(shop.url), "main", target, former=former, **options)
        assert snapshot(target) == archived(shop, tmp_path / f"archive{number}")
        former = target


def archived(content, place):
    """What ``git archive`` makes of ``main``."""
    archive = subprocess.run(
        ["git", "archive", "main"], cwd=content.path, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(place / "archived", **EXTRACTION)
    return snapshot(place / "archived")


def test_a_slow_tree_stops_at_the_timeout(make, target, settings):
    """Rules that have to be tried for every path: neither parsing nor planning goes on."""
    rules = b"".join(b"?%d text\n" % number for number in range(20_000))
    shop = make("shop", {A: rules, **{f"f{number}": b"" for number in range(3000)}})
    began = time.process_time()
    with pytest.raises(LimitExceeded) as caught:
        export(
            source(shop.url),
            "main",
            target,
            attributes=True,
            settings=replace(settings, total_timeout=2),
        )
    assert caught.value.details == {"limit": "total_timeout"}
    assert time.process_time() - began < 6
    assert nothing_left(target)


@pytest.mark.parametrize(
    ("files", "times", "limit"),
    [
        ({"f": b""}, 40, "max_files"),
        ({A: b"f text\n"}, 40, "max_files"),
        ({A: b"f text\n"}, 16, "max_held_bytes"),
        ({"f": b""}, 129, "max_path_depth"),
    ],
)
def test_a_few_trees_that_expand_to_many_are_rejected(make, target, settings, files, times, limit):
    shop = make("shop")
    tree = shop.files(files)
    for number in range(times):
        same = (
            (DIRECTORY, b"b", tree) if limit != "max_path_depth" else (FILE, b"b", shop.blob(b""))
        )
        tree = shop.tree((DIRECTORY, b"a%d" % number, tree), same)
    shop.commit(tree)
    began = time.process_time()
    with pytest.raises(LimitExceeded) as caught:
        export(source(shop.url), "main", target, attributes=True, settings=settings)
    assert caught.value.details == {"limit": limit}
    assert time.process_time() - began < 10
    assert nothing_left(target)


def test_rules_and_paths_out_of_proportion_to_the_pack_are_rejected(
    make, target, settings, monkeypatch
):
    monkeypatch.setattr(operation_module, "_MATCH_LEAST", 100_000)
    rules = b"".join(b"x?%d text\n" % number for number in range(2000))
    shop = make("shop")
    tree = shop.files({A: b"f text\n", "f": b""})
    for number in range(8):
        tree = shop.tree((DIRECTORY, b"a%d" % number, tree), (DIRECTORY, b"b", tree))
    shop.commit(shop.tree((FILE, A.encode(), shop.blob(rules)), (DIRECTORY, b"d", tree)))
    with pytest.raises(LimitExceeded, match="exceed the limit for matching") as caught:
        export(source(shop.url), "main", target, attributes=True, settings=settings)
    assert caught.value.details == {"limit": "work"}
    assert nothing_left(target)
    export(source(shop.url), "main", target, attributes=False, settings=settings)
    shop.commit(shop.tree((FILE, A.encode(), shop.blob(b"x1 text\n")), (DIRECTORY, b"d", tree)))
    fewer = target.with_name("fewer")
    export(source(shop.url), "main", fewer, attributes=True, settings=settings)


WIDE = b"".join(b"*%d text\n" % number for number in range(1, 200))


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (b"".join(b"x?%d text\n" % number for number in range(2000)), b"d/file"),
        (b"".join(b"d/?%d text\n" % number for number in range(2000)), b"d/file"),
        (b"**/a/" * 300 + b"b text\n", b"a/" * 100 + b"c"),
        (b"*x" * 1000 + b" text\n", b"x" * 250),
        (b"* export-ignore\n" * 2000, b"d/file"),
        (b"".join(b"[attr]m%d m%d\n" % (n, n + 1) for n in range(500)) + b"* m0\n", b"a"),
        (b"* " + b" ".join(b"a%d" % n for n in range(250)) + b" text\n", b"a"),
        (WIDE, b"f" * 200),
    ],
    ids=["names", "paths", "any depth", "stars", "all match", "macros", "words", "endings"],
)
def test_matching_work_is_limited_for_every_kind_of_rule(operation, monkeypatch, rules, path):
    monkeypatch.setattr(operation_module, "_MATCH_LEAST", 100_000)
    mine = Attributes({b".gitattributes": rules}, operation)
    endings = (mine.line_ending(path + b"%d" % number) for number in range(100_000))
    with pytest.raises(LimitExceeded, match="exceed the limit for matching"):
        deque(endings, maxlen=0)


def test_lines_without_rules_count_toward_the_limit(operation, monkeypatch):
    monkeypatch.setattr(operation_module, "_MATCH_LEAST", 100_000)
    with pytest.raises(LimitExceeded, match="exceed the limit for matching"):
        Attributes({b".gitattributes": b"\n" * 200_000}, operation)


def test_the_attributes_of_a_large_repository_are_applied(operation):
    """As those of game engines, which keep a hundred kinds of files in LFS in any case."""
    kinds = [b"*.[pP][nN][gG]", b"*.[fF][bB][xX]", b"Assets/**/*.asset", b"**/Editor/*.dll"]
    rules = b"".join(kind + b"%d filter=lfs\n" % n for kind in kinds for n in range(25))
    mine = Attributes({b".gitattributes": rules}, operation)
    operation.allow_matching(4_000 * 60)  # what git has for so many files, at the least
    for number in range(4_000):
        path = b"Assets/Art/Level%d/Editor/File%d.png7" % (number % 100, number)
        assert mine.kept_in_lfs(path)
    allowed = operation_module._MATCH_LEAST + operation_module._MATCH_SHARE * 4_000 * 60
    assert operation.counts.matched < allowed / 5


def test_reading_attributes_shares_the_timeout_of_the_operation(make, settings):
    """What is left of the whole operation's time is all that there is."""
    shop = make("shop", {A: b"f text\n", "f": b""})
    clock = iter(itertools.chain([0.0], itertools.repeat(100.0)))
    late = Operation(settings, no_progress, Cancellation(), clock=lambda: next(clock))
    root = bytes.fromhex(shop.repo[shop.repo.refs[b"refs/heads/main"]].tree.decode())

    class Trees:
        object_format = SHA1
        packs = ()

        def read(self, name, kind):
            return shop.repo.object_store[ObjectID(name.hex().encode())].as_raw_string()

    with pytest.raises(LimitExceeded) as caught:
        Changes(root, Trees(), None, late, AppliedAttributes(archive=True))
    assert caught.value.details == {"limit": "total_timeout"}
