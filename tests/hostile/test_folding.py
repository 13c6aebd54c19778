"""Names that are the same on a file system that ignores case cause an error, and never the wrong
file.

Few machines that run the tests have such a file system, so the calls that make files fold case
and Unicode's forms here, as HFS+ and NTFS do.
"""

from __future__ import annotations

import os
import unicodedata

import pytest

from deploycore.errors import UnsafeRepository
from tests.git.servers import DIRECTORY, FILE, LINK


def folded(path):
    text = os.fsdecode(path)
    return os.fsencode(unicodedata.normalize("NFD", text).casefold())


@pytest.fixture
def folding(monkeypatch):
    for name in ("open", "mkdir", "stat"):
        original = getattr(os, name)

        def call(path, *arguments, original=original, dir_fd=None, **options):
            if dir_fd is not None:
                path = folded(path)
            return original(path, *arguments, dir_fd=dir_fd, **options)

        monkeypatch.setattr(os, name, call)
    link = os.symlink

    def make_link(target, path, *, dir_fd=None):
        return link(target, folded(path) if dir_fd is not None else path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "symlink", make_link)


COLLISIONS = [
    ("two files", "the later content would replace the reviewed one", b"a", FILE, b"A", FILE),
    ("two forms", "é as one code point, and as two", b"\xc3\xa9", FILE, b"e\xcc\x81", FILE),
    ("file and directory", "one must go", b"a", FILE, b"A", DIRECTORY),
    ("link and file", "written through the link", b"a", LINK, b"A", FILE),
    ("link and directory", "CVE-2021-21300: files through the link", b"a", LINK, b"A", DIRECTORY),
]


@pytest.mark.parametrize(
    ("reason", "first", "mode", "second", "other"),
    [each[1:] for each in COLLISIONS],
    ids=[each[0] for each in COLLISIONS],
)
def test_names_that_collide_on_disk_are_rejected(
    folding, make, refused, attempt, reason, first, mode, second, other
):
    shop = make()
    below = shop.files({"f": b"inner"})
    content = {FILE: shop.blob(b"x"), LINK: shop.blob(b"b"), DIRECTORY: below}
    shop.commit(
        shop.tree(
            *sorted(
                [
                    (mode, first, content[mode]),
                    (other, second, content[other]),
                    (DIRECTORY, b"b", below),
                ],
                key=lambda entry: entry[1],
            )
        )
    )
    error = refused(UnsafeRepository, shop.url)
    assert "Rename one of the two" in error.hint
    renamed = [(mode, b"c", content[mode]), (other, second, content[other])]
    shop.commit(shop.tree(*sorted([*renamed, (DIRECTORY, b"b", below)], key=lambda each: each[1])))
    assert isinstance(attempt(shop.url), dict)


def test_distinct_names_are_written(folding, make, attempt):
    """The folding itself breaks nothing."""
    shop = make("shop", {"a": b"1", "d/b": b"2"})
    assert attempt(shop.url)[b"d/b"] == ("file", b"2", False)
