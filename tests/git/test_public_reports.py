"""Faults that users of other tools and libraries have reported in public, tried on deploycore.

Each test names the report that it follows.
"""

from __future__ import annotations

import pytest

from deploycore.errors import GitError
from deploycore.git import export
from deploycore.git.packs.objects import SHA1, read_commit
from tests.git.servers import GITLINK, source

LOST = b"5" * 40
TREE = b"tree " + b"1" * 40 + b"\n"


def tip(content):
    return content.repo.refs[b"refs/heads/main"]


def module(path, url):
    return f'[submodule "lib"]\n\tpath = {path}\n\turl = {url}\n'.encode()


@pytest.mark.parametrize(
    ("report", "committer"),
    [
        ("libgit2/libgit2#1631", b"Ada <ada@example.com> 1370000000 -0:0"),
        ("gorakhargosh/watchdog#871", b"Ada <ada@example.com> 1313584730 +051800"),
        ("pjf/ipc-system-simple#20", b"Ada <ada@example.com>1212579725 +1000"),
        ("StanAngeloff/php.vim#96", b"Able Scraper <scraper@example.org> 1287367363 -700"),
        ("libgit2/pygit2#947", b"Ada <ada@example.com> -9223372036854775808 +0000"),
    ],
)
def test_a_commit_with_an_unusual_date_can_be_read(report, committer):
    text = TREE + b"author Ada <ada@example.com> 1370000000 +0000\n"
    found = read_commit(text + b"committer " + committer + b"\n\nSubject\n", SHA1)
    assert found.tree == bytes.fromhex("11" * 20), report
    assert found.subject == "Subject"


def test_a_submodule_without_an_entry_is_an_empty_directory(make, target, settings):
    """fluxcd/flux2#4564: 'entry not found', without a word of what was not found."""
    shop = make("shop", {"a": b"1", "vendor/lib": (GITLINK, LOST)})
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert list((target / "vendor/lib").iterdir()) == []
    assert any("vendor/lib" in note for note in done.notes)


@pytest.mark.parametrize("scheme", ["ssh://git@{host}/lib.git", "git@{host}:lib.git"])
def test_an_ssh_submodule_on_the_same_host_is_fetched(make, target, settings, scheme):
    """haampie/libtree#7: submodules by ssh kept people without a key from cloning."""
    lib = make("lib", {"lib.txt": b"lib"})
    url = scheme.format(host="127.0.0.1")
    shop = make(
        "shop", {"vendor/lib": (GITLINK, tip(lib)), ".gitmodules": module("vendor/lib", url)}
    )
    export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").read_bytes() == b"lib"


@pytest.mark.parametrize(
    ("report", "url", "commit"),
    [
        ("br101/horst#59", "../lib.git", LOST),
        ("fluxcd/source-controller#364", "../hidden.git", None),
    ],
)
def test_an_error_in_a_submodule_names_the_submodule(make, target, settings, report, url, commit):
    lib = make("lib", {"lib.txt": b"lib"})
    entry = (GITLINK, commit or tip(lib))
    shop = make("shop", {"vendor/lib": entry, ".gitmodules": module("vendor/lib", url)})
    with pytest.raises(GitError) as caught:
        export(source(shop.url), "main", target, submodules=True, settings=settings)
    told = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    assert "vendor/lib" in told, report
    assert not target.exists()
