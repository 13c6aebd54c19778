"""Malicious repositories write nothing outside the target, or nothing at all."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from deploycore.errors import DeploycoreError, GitError, LimitExceeded, UnsafeRepository
from tests.git.servers import DIRECTORY, EXECUTABLE, FILE, GITLINK, LINK, Content

NOBODY = b"1" * 40


@dataclass(frozen=True)
class Case:
    """A tree that must be refused.

    Attributes:
        reason: What it would do, or did to others.
        build: Writes the tree.
    """

    name: str
    reason: str
    build: Callable[[Content], bytes]
    kind: type[DeploycoreError] = UnsafeRepository


def named(name: bytes, reason: str, mode: int = FILE) -> Case:
    """A tree with a file (or what else the mode says) of this name."""

    def build(shop: Content) -> bytes:
        inner = shop.files({"config": b"[core]"}) if mode == DIRECTORY else shop.blob(b"x")
        return shop.tree((mode, name, inner))

    return Case(f"{name[:40]!r} {mode:o}", reason, build)


def link(target: bytes, reason: str, at: str = "l") -> Case:
    """A tree with a symbolic link, a file and a directory."""
    return Case(
        f"{at} -> {target[:40]!r}",
        reason,
        lambda shop: shop.files({at: (LINK, target), "a/f": b"", "d/e/f": b""}),
    )


def entries(name: str, reason: str, *of: tuple[int, bytes]) -> Case:
    """A tree of exactly these modes and names."""

    def build(shop: Content) -> bytes:
        below = shop.files({"f": b"through"})
        return shop.tree(
            *((mode, each, below if mode == DIRECTORY else shop.blob(b"a")) for mode, each in of)
        )

    return Case(name, reason, build)


def deep(shop: Content) -> bytes:
    tree = shop.files({"f": b""})
    for _ in range(5000):
        tree = shop.tree((DIRECTORY, b"d" * 10, tree))
    return tree


def exponential(shop: Content) -> bytes:
    tree = shop.files({f"f{number}": b"" for number in range(10)})
    for _ in range(12):
        tree = shop.tree(*((DIRECTORY, b"%d" % number, tree) for number in range(10)))
    return tree


TREES = [
    named(b"..", "the directory above the target would become a file"),
    named(b"..", "files would be written above the target", DIRECTORY),
    named(b".", "the target itself would be replaced"),
    named(b"", "the path would end in a slash and mean its directory"),
    named(b"/etc/passwd", "a join with an absolute path forgets what it is joined to"),
    named(b"../escape", "one entry that is a whole path"),
    named(b"a/b", "a path in a name goes around the check of `a`"),
    named(b"a/../../b", "as above, and out"),
    named(b".git", "a config in it would be obeyed by the next git", DIRECTORY),
    named(b".git", "a file that tells where the repository is"),
    named(b".GIT", "the same on file systems that fold case", DIRECTORY),
    named(b".gIt", "the same on file systems that fold case", DIRECTORY),
    named(b".git ", "Windows drops the space", DIRECTORY),
    named(b".git.", "Windows drops the dot", DIRECTORY),
    named(b".git . .", "Windows drops them all", DIRECTORY),
    named(b"git~1", "the short name of .git on NTFS", DIRECTORY),
    named(b"GIT~1", "the short name in capitals", DIRECTORY),
    named(b".git::$INDEX_ALLOCATION", "NTFS: the directory by its stream", DIRECTORY),
    named(b".git:stream", "NTFS: a stream of .git"),
    named(b".git\\config", "a backslash parts directories on Windows"),
    named(b"a\\.git\\config", "as above, further down"),
    named(b".g\xe2\x80\x8cit", "HFS+ leaves out code points that are not seen", DIRECTORY),
    named(b"\xef\xbb\xbf.git", "as above, in front", DIRECTORY),
    named(b".gi\xe2\x80\xaet", "as above, the one that turns the text around", DIRECTORY),
    named(b"x" * 256, "no file system has such a name: it would fail half-way"),
    Case("too deep", "paths over PATH_MAX, and recursion without end", deep, LimitExceeded),
    Case(
        "exponential",
        "fourteen trees describe ten billions of files",
        exponential,
        LimitExceeded,
    ),
    entries("twice a file", "which of the two is it that was reviewed?", *[(FILE, b"a")] * 2),
    entries(
        "a link and a directory",
        "CVE-2014-9390's kin: written through the link",
        (LINK, b"a"),
        (DIRECTORY, b"a"),
    ),
    entries(
        "a directory and a file",
        "one of the two must go, or the checkout fails half-way",
        (DIRECTORY, b"a"),
        (FILE, b"a"),
    ),
    entries(
        "twice, apart",
        "in a tree that is not sorted the two do not stand together",
        (FILE, b"a"),
        (FILE, b"b"),
        (LINK, b"a"),
    ),
    entries("a device", "a mode that git does not have", (0o060000, b"sda")),
    entries("a pipe", "reading it would wait for ever", (0o010000, b"pipe")),
    entries("no mode", "neither file nor directory", (0, b"a")),
]

ESCAPING_LINKS = [
    link(b"/etc/passwd", "a release that is served would show it"),
    link(b"..", "the directory above, with the other releases"),
    link(b"../beside/victim", "a neighbour by its name"),
    link(b"../..", "climbs from a directory below", at="a/l"),
    link(b"a/../../x", "climbs after going down"),
    link(b"./../x", "climbs behind a dot"),
    link(b"l2/../../x", "what `..` is behind another link, only that link knows", at="a/l"),
    link(b"/etc", "absolute, where submodules are told", at=".gitmodules"),
    link(b"../x", "climbs, where attributes are told", at=".gitattributes"),
]

IMPOSSIBLE_LINKS = [
    link(b"", "no file system has a link to nothing"),
    link(b"a\0b", "all behind the NUL would be cut off"),
    link(b"x" * 5000, "longer than a path may be"),
]


@pytest.mark.parametrize(
    "case", TREES + ESCAPING_LINKS + IMPOSSIBLE_LINKS, ids=lambda case: case.name
)
def test_a_dangerous_tree_is_refused(make, refused, case):
    shop = make()
    shop.commit(case.build(shop))
    refused(case.kind, shop.url, max_files=20_000)


@pytest.mark.parametrize("case", ESCAPING_LINKS, ids=lambda case: case.name)
def test_escaping_links_become_files_on_request(make, attempt, case):
    """Whoever serves the release then serves the target's name, and nothing of this machine."""
    shop = make()
    shop.commit(case.build(shop))
    written = attempt(shop.url, escaping_links="write-as-files", submodules=True)
    path, target = case.name.split(" -> ")
    assert written[path.encode()] == ("file", literal_eval(target), False)
    assert written[b"a/f"] == ("file", b"", False)


@pytest.mark.parametrize("case", IMPOSSIBLE_LINKS, ids=lambda case: case.name)
def test_links_that_no_file_system_supports_are_always_rejected(make, refused, case):
    shop = make()
    shop.commit(case.build(shop))
    refused(case.kind, shop.url, escaping_links="write-as-files")


def test_a_link_through_a_link_written_as_a_file_does_not_escape(make, attempt, target):
    """`out` would have led outside, and `in` through it; links within stay links."""
    shop = make()
    within = {"in": (LINK, b"out/victim"), "good": (LINK, b"a/f"), "a/f": b"1"}
    shop.commit(shop.files({"out": (LINK, b"../beside"), **within}))
    written = attempt(shop.url, escaping_links="write-as-files")
    assert written[b"out"] == ("file", b"../beside", False)
    assert written[b"good"] == ("link", b"a/f")
    assert not (target / "in").exists()


def test_files_are_not_written_through_a_link_to_a_directory(make, attempt):
    """Links are made last: a directory of the same name in another case stands beside it."""
    shop = make()
    inner = shop.files({"f": b"1"})
    shop.commit(
        shop.tree((DIRECTORY, b"A", inner), (LINK, b"a", shop.blob(b"b")), (DIRECTORY, b"b", inner))
    )
    written = attempt(shop.url)
    assert written[b"a"] == ("link", b"b")
    assert written[b"A/f"] == written[b"b/f"] == ("file", b"1", False)


@pytest.mark.parametrize("name", [b"CON", b"nul.txt", b"a:b", b"COM1", b"trailing.", b"\xff\xfe"])
def test_names_that_are_only_unusual_on_other_systems_are_written(make, attempt, name):
    """What Windows has as devices, and what is no text, are plain files here."""
    shop = make()
    shop.commit(shop.tree((FILE, name, shop.blob(b"1"))))
    assert attempt(shop.url) == {name: ("file", b"1", False)}


@pytest.mark.parametrize("mode", [0o104755, 0o102755, 0o101777, 0o100777])
def test_file_modes_grant_only_execution(make, attempt, target, mode):
    """setuid, setgid, sticky and writable by all are no part of what git has."""
    shop = make()
    shop.commit(shop.tree((mode, b"f", shop.blob(b"1"))))
    assert attempt(shop.url) == {b"f": ("file", b"1", True)}
    assert (target / "f").stat().st_mode & 0o7022 == 0


def test_an_unsorted_tree_is_written_completely(make, attempt):
    """git's own reader would not find the second file in it."""
    shop = make()
    shop.commit(shop.tree((EXECUTABLE, b"z", shop.blob(b"1")), (FILE, b"a", shop.blob(b"2"))))
    assert attempt(shop.url) == {b"a": ("file", b"2", False), b"z": ("file", b"1", True)}


def modules(url: str, path: str = "lib", name: str = "lib") -> bytes:
    return f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'.encode()


SUBMODULE_URLS = [
    ("ext::sh -c 'touch owned'", "git's transport that runs a command"),
    ("file:///etc", "files of this machine"),
    ("/etc", "files of this machine, without a scheme"),
    ("-u./payload", "an option in the place of an address (CVE-2018-17456)"),
    ("--upload-pack=touch owned", "as above, in full"),
    ("ssh://-oProxyCommand=touch owned/x", "an option for ssh (CVE-2017-1000117)"),
    ("git@example.com:lib.git", "ssh, which would use the keys of whoever deploys"),
    ("git://example.com/lib.git", "neither encrypted nor authenticated"),
    ("http://example.com/lib.git", "not encrypted"),
    ("http://169.254.169.254/latest", "a cloud's own address for credentials"),
    ("https://exa mple.com/x", "no address"),
    ("../../../../lib.git", "points above the root of its host"),
    ("https://example.com/\x1b[2Jlib.git", "clears the screen of who reads the error"),
]


@pytest.mark.parametrize(("url", "reason"), SUBMODULE_URLS)
def test_a_dangerous_submodule_url_is_rejected(make, refused, url, reason):
    shop = make("shop", {"lib": (GITLINK, NOBODY), ".gitmodules": modules(url)})
    refused(UnsafeRepository, shop.url, submodules=True)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"..", "a submodule above the target"),
        (b".git", "a submodule in the place of the repository"),
        (b".GIT", "as above, where case is folded"),
        (b"git~1", "as above, by its short name"),
        (b"a/b", "a path in a name"),
    ],
)
def test_a_dangerous_submodule_path_is_rejected(make, refused, path, reason):
    shop = make()
    file = shop.blob(modules("../lib.git", path.decode()))
    shop.commit(shop.tree((FILE, b".gitmodules", file), (GITLINK, path, NOBODY)))
    refused(UnsafeRepository, shop.url, submodules=True)


@pytest.mark.parametrize("name", ["../../hooks", "..", "a/../../b", ".git/hooks"])
def test_the_name_of_a_submodule_is_not_used_as_a_path(make, attempt, name):
    """CVE-2018-11235: git kept its repository below the name; here names mean nothing."""
    lib = make("lib", {"f": b"1"})
    at = lib.repo.refs[b"refs/heads/main"]
    shop = make("shop", {"lib": (GITLINK, at), ".gitmodules": modules("../lib.git", name=name)})
    assert attempt(shop.url, submodules=True)[b"lib/f"] == ("file", b"1", False)


def test_a_submodule_through_a_link_is_refused(make, refused):
    """CVE-2024-32002: `A/lib` is fetched through the link `a` where case is folded."""
    lib = make("lib", {"f": b"1"})
    at = lib.repo.refs[b"refs/heads/main"]
    shop = make()
    inner = shop.tree((GITLINK, b"lib", at))
    file = shop.blob(modules("../lib.git", "a/lib"))
    shop.commit(
        shop.tree(
            (FILE, b".gitmodules", file), (LINK, b"a", shop.blob(b"b")), (DIRECTORY, b"a", inner)
        )
    )
    refused(UnsafeRepository, shop.url, submodules=True)


def test_a_link_that_escapes_from_a_submodule_is_rejected(make, refused):
    """It would show what is above the submodule, by way of a repository nobody reviews."""
    lib = make("lib", {"l": (LINK, b"../../beside")})
    at = lib.repo.refs[b"refs/heads/main"]
    shop = make("shop", {"lib": (GITLINK, at), ".gitmodules": modules("../lib.git")})
    refused(UnsafeRepository, shop.url, submodules=True)


def test_the_nesting_of_submodules_is_limited(make, refused):
    """A commit can't hold itself, yet a chain of them can be as long as somebody likes."""
    inner = make("shop", {"f": b""})
    at = inner.repo.refs[b"refs/heads/main"]
    for number in range(20):
        inner.repo.refs[b"refs/heads/%d" % number] = at
        at = inner.commit(
            inner.files({"in": (GITLINK, at), ".gitmodules": modules("../shop.git", "in")})
        ).encode()
    refused(LimitExceeded, inner.url, submodules=True)


def test_thousands_of_submodules_are_rejected_before_the_first_fetch(make, server, refused):
    """Each one is a connection, and a server somewhere that did not ask for it."""
    names = [f"l{number}" for number in range(3000)]
    files = dict.fromkeys(names, (GITLINK, NOBODY))
    text = b"".join(modules("../lib.git", name, name) for name in names)
    shop = make("shop", {**files, ".gitmodules": text})
    refused(LimitExceeded, shop.url, submodules=True)
    assert not [path for _, path, _ in server.requests if "lib.git" in path]


def test_a_gitmodules_that_is_a_link_is_not_read(make, refused):
    """The file it leads to would decide where submodules come from."""
    shop = make(
        "shop",
        {"lib": (GITLINK, NOBODY), ".gitmodules": (LINK, b"m"), "m": modules("../lib.git")},
    )
    refused(GitError, shop.url, submodules=True)
