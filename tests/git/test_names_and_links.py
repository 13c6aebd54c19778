"""Unusual names and links are written. Those that git rejects, or that lead out, are rejected."""

from __future__ import annotations

import os
import subprocess

import pytest

from deploycore.errors import UnsafeRepository
from deploycore.git import RepositoryCache, clone, export
from deploycore.git.checkout.names import _fault, _is_gitmodules
from deploycore.git.wording import quoted, shown
from tests.git.servers import DIRECTORY, FILE, GITLINK, LINK, nothing_left, snapshot, source

ODD_NAMES = [
    *(
        b"...",
        b"....",
        b" ",
        b"  ",
        b". ",
        b".. ",
        b". .",
        b".. .",
        b"a ",
        b"a.",
        b".a",
        b"-",
        b"~",
    ),
    *(b"git~2", b"git~10", b".git~1", b".gitx", b".git,", b"...git", b" .git", b".g it", b"xgit~1"),
    *(
        b".git\t",
        b".git\n",
        b".git\xc2\xa0",
        b"\xff.git",
        b".gi",
        b"git",
        b"a:.git",
        b".g\xc4\xb1t",
    ),
    *(
        b"a\\b",
        b"\\",
        b"..\\x",
        b"x\\..\\y",
        b".\\x",
        b"a:b",
        b"con",
        b"NUL",
        b"aux.txt",
        b"*",
        b"?",
    ),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"a\nb", b"\x1b[2J", b"'", b'"', b"x" * 255, b"\xe2\x80\x8c"),
    *(b".gitattributes", b".gitignore", b".mailmap", b".gitmodules", b"gitmod~1", b"C:"),
]
DANGEROUS_NAMES = [
    *(
        b".",
        b"..",
        b".git",
        b".GIT",
        b".gIt",
        b".git ",
        b".git.",
        b".git..",
        b".git. .",
        b".git ...",
    ),
    *(b".git::$INDEX_ALLOCATION", b".git:x", b".Git :x", b"git~1", b"GIT~1", b"git~1 ", b"git~1."),
    *(b"git~1:x", b"GIT~1 . .", b".git\\x", b"a\\.git\\b", b".git \\x", b"a\\git~1"),
]
# Git takes these on Linux; git fsck does not, and hosts refuse a push with them.
DANGEROUS_ON_MACOS = [
    *(
        b".g\xe2\x80\x8cit",
        b"\xe2\x80\x8c.git",
        b".git\xe2\x80\x8d",
        b".\xe2\x80\xaegit",
        b".git\xff",
    ),
    *(b".gi\xef\xbb\xbft", b".GIT\xe2\x80\x8f", b".git\xef\xbf\xbe"),
]
# Of links alone.
GITMODULES = [
    *(b".gitmodules", b".GITMODULES", b".gitmodules ", b".gitmodules.", b".gitmodules::x"),
    *(b"gitmod~1", b"GITMOD~4", b"gi7eba~1", b"GI7EB~10", b"gi7e~123", b"g~123456", b"~1000000"),
]
NO_GITMODULES = [
    *(b".gitmodulesx", b"gitmodules", b"gitmod~5", b"gitmod~10", b"gi7eba~0", b"gi7eba~12"),
    *(b"gi7ebb~1", b"gi7eb~1", b"x~123456", b"~0000000", b"12345678", b"gi7eba~x", b"gitmodul"),
]


def is_taken(git, mode, name):
    entry = b"%o %s\t%s\0" % (mode, b"1" * 40, name)
    command = ["git", "-C", git, "update-index", "-z", "--index-info"]
    done = subprocess.run(command, input=entry, capture_output=True)
    return done.returncode == 0 and b"ignoring" not in done.stderr.lower()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_unusual_name_is_not_an_error(name):
    assert not _fault(name)


@pytest.mark.parametrize("name", DANGEROUS_NAMES + DANGEROUS_ON_MACOS)
def test_a_dangerous_name_is_an_error(name):
    assert _fault(name)


@pytest.mark.parametrize("name", GITMODULES)
def test_gitmodules_names_are_recognized(name):
    assert _is_gitmodules(name)


@pytest.mark.parametrize("name", NO_GITMODULES)
def test_other_names_are_not_taken_for_gitmodules(name):
    assert not _is_gitmodules(name)


def test_git_accepts_and_rejects_the_same_names(stock_git, tmp_path):
    stock_git("init", "-q", tmp_path)
    taken = {name for name in ODD_NAMES + DANGEROUS_NAMES if is_taken(tmp_path, FILE, name)}
    assert taken == set(ODD_NAMES)
    stock_git("config", "core.protectHFS", "true", at=tmp_path)
    assert not [name for name in DANGEROUS_ON_MACOS if is_taken(tmp_path, FILE, name)]
    links = {name for name in GITMODULES + NO_GITMODULES if is_taken(tmp_path, LINK, name)}
    assert links == set(NO_GITMODULES)


def test_unusual_names_are_written(make, target, settings):
    shop = make()
    inner = shop.tree((FILE, b" ", shop.blob(b"2")))
    entries = [(FILE, name, shop.blob(b"1")) for name in ODD_NAMES] + [(DIRECTORY, b".....", inner)]
    shop.commit(shop.tree(*sorted(entries, key=lambda each: each[1])))
    export(source(shop.url), "main", target, settings=settings)
    expected = dict.fromkeys(ODD_NAMES, ("file", b"1", False))
    expected |= {b".....": ("directory",), b"...../ ": ("file", b"2", False)}
    assert snapshot(target) == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b" ", "' '"),
        (b"a ", "'a '"),
        (b"\x1b[2J", r"'\x1b[2J'"),
        (b"a\nb", r"'a\nb'"),
        (b"\xff", r"'\xff'"),
        ("\u202e".encode(), r"'\u202e'"),
        ("Grüße".encode(), "'Grüße'"),
        (b"it's", '"it\'s"'),
        (b"", "''"),
    ],
)
def test_a_path_is_shown_with_visible_characters(path, text):
    assert quoted(path) == text
    assert quoted(path).isprintable()


def test_a_long_path_is_truncated():
    assert len(shown(b"x" * 5000)) == 200


def test_a_dangerous_name_is_shown_with_its_spaces(make, target, settings):
    shop = make()
    shop.commit(shop.tree((DIRECTORY, b"a", shop.tree((FILE, b".git ", shop.blob(b"1"))))))
    with pytest.raises(UnsafeRepository, match=r"'a/\.git ', which Windows takes for \.git"):
        export(source(shop.url), "main", target, settings=settings)


WITHIN = {"a/f": b"1", "d/e/f": b"2", "vendor/lib": (GITLINK, b"1" * 40)}


@pytest.mark.parametrize(
    ("at", "to"),
    [
        ("l", b"vendor/lib/../../a/f"),
        ("d/l", b"../vendor/lib/../../a"),
        ("l", b"vendor/lib/.."),
        ("l", b"vendor/lib/inner/file"),
        ("vendor/l", b"lib/../../d"),
    ],
)
def test_a_link_through_a_submodule_path_may_stay_within_the_target(make, target, settings, at, to):
    shop = make("shop", {**WITHIN, at: (LINK, to)})
    export(source(shop.url), "main", target, settings=settings)
    assert snapshot(target)[at.encode()] == ("link", to)


@pytest.mark.parametrize(
    "to", [b"vendor/lib/../../..", b"vendor/lib/../../../x", b"vendor/lib/x/.."]
)
def test_a_link_that_may_leave_through_a_submodule_is_rejected(make, target, settings, to):
    """What is within the submodule is not known: there, x may be a link."""
    shop = make("shop", {**WITHIN, "l": (LINK, to)})
    with pytest.raises(UnsafeRepository):
        export(source(shop.url), "main", target, settings=settings)
    assert nothing_left(target)


LINKS = {
    "a/f": b"1",
    "test/passwd": (LINK, b"/etc/passwd"),
    "test/deep/up": (LINK, b"../../.."),
    "in": (LINK, b"a/f"),
}
AS_LINKS = {
    b"test/passwd": ("link", b"/etc/passwd"),
    b"test/deep/up": ("link", b"../../.."),
    b"in": ("link", b"a/f"),
}


def links_at(target):
    return {path: what for path, what in snapshot(target).items() if what[0] == "link"}


def test_a_clone_has_links_as_git_writes_them(make, target, settings, stock_git, tmp_path):
    shop = make("shop", LINKS)
    clone(source(shop.url), "main", target, settings=settings)
    assert links_at(target) == AS_LINKS
    assert stock_git("status", "--porcelain", at=target) == ""
    stock_git("clone", "-q", shop.path, tmp_path / "by-git")
    assert snapshot(tmp_path / "by-git") == snapshot(target)


def test_a_clone_can_reject_links_or_write_them_as_files(make, target, settings):
    shop = make("shop", LINKS)
    with pytest.raises(UnsafeRepository, match="a link to '/etc/passwd', which leads out"):
        clone(source(shop.url), "main", target, escaping_links="refuse", settings=settings)
    assert nothing_left(target)
    clone(source(shop.url), "main", target, escaping_links="write-as-files", settings=settings)
    assert snapshot(target)[b"test/passwd"] == ("file", b"/etc/passwd", False)


def test_an_export_rejects_escaping_links_and_lists_the_options(make, target, settings):
    shop = make("shop", {"a": b"1", "test/passwd": (LINK, b"/etc/passwd")})
    with pytest.raises(UnsafeRepository) as caught:
        export(source(shop.url), "main", target, settings=settings)
    assert "links: write-as-files" in caught.value.hint
    assert "links: {allow: ['test/passwd']}" in caught.value.hint
    assert nothing_left(target)


@pytest.mark.parametrize(
    "allowed", [["test/"], ["test/passwd", "test/deep/"], ["test/deep/up", "test/passwd"]]
)
def test_allowed_links_are_written(make, target, settings, allowed):
    shop = make("shop", LINKS)
    export(source(shop.url), "main", target, allowed_links=allowed, settings=settings)
    assert links_at(target) == AS_LINKS


@pytest.mark.parametrize(
    "allowed", [["test/passwd"], ["test"], ["tes/"], ["passwd"], ["test/deep/up/x"]]
)
def test_links_that_are_not_allowed_are_rejected(make, target, settings, allowed):
    shop = make("shop", LINKS)
    with pytest.raises(UnsafeRepository):
        export(source(shop.url), "main", target, allowed_links=allowed, settings=settings)
    assert nothing_left(target)


def test_a_link_in_a_submodule_is_allowed_by_its_whole_path(make, server, target, settings):
    lib = make("lib", {"l": (LINK, b"/etc/passwd")})
    modules = b'[submodule "lib"]\npath = vendor/lib\nurl = ../lib.git\n'
    tip = lib.repo.refs[b"refs/heads/main"]
    shop = make("shop", {"vendor/lib": (GITLINK, tip), ".gitmodules": modules})
    options = {"submodules": True, "settings": settings}
    with pytest.raises(UnsafeRepository, match="'vendor/lib/l'"):
        export(source(shop.url), "main", target, allowed_links=["l"], **options)
    export(source(shop.url), "main", target, allowed_links=["vendor/lib/l"], **options)
    assert links_at(target) == {b"vendor/lib/l": ("link", b"/etc/passwd")}


def test_each_export_applies_its_own_link_rules(make, target, settings, tmp_path):
    """What a former release has as a link is asked about again."""
    shop = make("shop", LINKS)
    options = {"settings": settings, "cache": RepositoryCache(tmp_path / "cache")}
    export(source(shop.url), "main", target, allowed_links=["test/"], **options)
    again = target.with_name("again")
    with pytest.raises(UnsafeRepository):
        export(source(shop.url), "main", again, former=target, **options)
    assert os.listdir(target.parent) == ["target"]
    export(source(shop.url), "main", again, former=target, allowed_links=["test/"], **options)
    assert links_at(again) == AS_LINKS


def test_nothing_is_written_through_a_link(make, server, target, settings, tmp_path):
    """Submodules are fetched when the links of the repository above are there."""
    outside = tmp_path / "outside"
    (outside / "lib").mkdir(parents=True)
    lib = make("lib", {"f": b"1"})
    modules = b'[submodule "lib"]\npath = vendor/lib\nurl = ../lib.git\n'
    tip = lib.repo.refs[b"refs/heads/main"]
    shop = make()
    below = shop.files({"lib": (GITLINK, tip)})
    link = shop.blob(os.fsencode(outside))
    entries = [(FILE, b".gitmodules", shop.blob(modules)), (LINK, b"vendor", link)]
    shop.commit(shop.tree(*entries, (DIRECTORY, b"vendor", below)))
    with pytest.raises(UnsafeRepository, match="in its directory twice"):
        clone(source(shop.url), "main", target, submodules=True, settings=settings)
    shop.commit(shop.tree(entries[0], (LINK, b"Vendor", link), (DIRECTORY, b"vendor", below)))
    clone(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/f").exists()
    assert os.listdir(outside / "lib") == []


@pytest.mark.parametrize("name", [".gitmodules", ".GITMODULES", "a/gitmod~1"])
def test_a_gitmodules_file_that_is_a_link_is_rejected(make, target, settings, name):
    shop = make("shop", {"m": b"", name: (LINK, b"m")})
    with pytest.raises(UnsafeRepository, match=r"in the place of \.gitmodules"):
        clone(source(shop.url), "main", target, settings=settings)
    assert nothing_left(target)
