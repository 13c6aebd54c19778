"""Submodules: the right commit from the right place, and the credential for nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploycore.errors import Cancelled, GitError, LimitExceeded, RemoteRefused, UnsafeRepository
from deploycore.git import Cancellation, clone, export
from tests.git.servers import GITLINK, LINK, SECRET, nothing_left, snapshot, source


def modules(**entries):
    return "".join(
        f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'
        for name, (path, url) in entries.items()
    ).encode()


def tip(content):
    return content.repo.refs[b"refs/heads/main"]


@pytest.fixture
def shop_with(make, server):
    """A repository with one submodule at ``vendor/lib``, whose URL is given."""
    lib = make("lib", {"lib.txt": b"lib"})

    def build(url, commit=None):
        return make(
            "shop",
            {
                "a": b"1",
                "vendor/lib": (GITLINK, commit or tip(lib)),
                ".gitmodules": modules(lib=("vendor/lib", url.format(server=server.origin))),
            },
        )

    return build


@pytest.mark.parametrize(
    "url", ["../lib.git", "./../lib.git", "../lib.git/", "{server}/lib.git", "../x/../lib.git"]
)
def test_relative_and_absolute_urls_are_found(shop_with, server, target, settings, url):
    shop = shop_with(url)
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").read_bytes() == b"lib"
    assert (done.submodules, done.files) == (1, 3)


def test_a_user_name_in_the_url_of_a_submodule_is_dropped(shop_with, server, target, settings):
    shop = shop_with(
        "http://somebody:else@127.0.0.1:{server}/lib.git".replace("{server}", str(server.port))
    )
    server.credential = f"ada:{SECRET}"
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").exists()


def test_the_credential_goes_along_to_the_same_origin(shop_with, server, target, settings):
    server.credential = f"ada:{SECRET}"
    shop = shop_with("../lib.git")
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").exists()


def test_another_host_gets_no_credential(make, other_server, target, settings):
    other = make("lib", {"lib.txt": b"lib"}, on=other_server)
    files = {"lib": (GITLINK, tip(other)), ".gitmodules": modules(lib=("lib", other.url))}
    shop = make("shop", files)
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "lib/lib.txt").exists()
    assert {authorisation for _, _, authorisation in other_server.requests} == {None}


def test_submodules_of_submodules_are_relative_to_where_they_came_from(
    make, other_server, target, settings
):
    inner = make("inner", {"f": b"inner"}, on=other_server)
    middle = make(
        "middle",
        {"in": (GITLINK, tip(inner)), ".gitmodules": modules(x=("in", "../inner.git"))},
        on=other_server,
    )
    shop = make(
        "shop", {"mid": (GITLINK, tip(middle)), ".gitmodules": modules(x=("mid", middle.url))}
    )
    done = export(
        source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings
    )
    assert (target / "mid/in/f").read_bytes() == b"inner"
    assert done.submodules == 2
    assert {authorisation for _, _, authorisation in other_server.requests} == {None}


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.com/lib.git",
        "ssh://git@example.com/lib.git",
        "git@example.com:lib.git",
        "git://example.com/lib.git",
        "ext::sh -c true",
        "file:///etc",
        "/etc",
        "-upload-pack=x",
        "ftp://example.com/x",
        "https://[bad/x",
        "https://",
        "https://a b/x",
        "https://%zz/x",
        "https://a..b/x",
        "https://example.com:99999/x",
        f"https://{'a' * 300}/x",
        "../lib\x1b[2J.git",
        "https://example.com/\x1b[2J.git",
        "https://example.com/x?y=z",
        "../../../lib.git",
        "../lib.git?x",
    ],
)
def test_addresses_that_must_not_be_used_are_refused(shop_with, target, settings, url):
    with pytest.raises(UnsafeRepository, match="vendor/lib") as caught:
        export(source(shop_with(url).url), "main", target, submodules=True, settings=settings)
    assert caught.value.message.isprintable()
    assert nothing_left(target)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".gitmodules": b""},
        {".gitmodules": modules(x=("other", "../lib.git"))},
        {".gitmodules": b'[submodule "x"]\n\tpath = lib\n'},
        {".gitmodules": (LINK, b"a")},
    ],
)
def test_a_submodule_without_an_entry_is_an_error(make, target, settings, files):
    shop = make("shop", {"a": b"", "lib": (GITLINK, b"1" * 40), **files})
    with pytest.raises(GitError, match=r"'lib' .* not in \.gitmodules"):
        export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert nothing_left(target)


@pytest.mark.parametrize("content", [b"[submodule", b"\x00\xff", b"path = x\n"])
def test_a_malformed_gitmodules_is_an_error(make, target, settings, content):
    shop = make("shop", {"lib": (GITLINK, b"1" * 40), ".gitmodules": content})
    with pytest.raises(GitError, match="gitmodules"):
        export(source(shop.url), "main", target, submodules=True, settings=settings)


def test_includes_of_gitmodules_are_not_read(make, target, settings, tmp_path):
    (tmp_path / "included").write_bytes(modules(x=("lib", "https://127.0.0.1:9/lib.git")))
    including = f"[include]\n\tpath = {tmp_path}/included\n".encode()
    shop = make("shop", {"lib": (GITLINK, b"1" * 40), ".gitmodules": including})
    with pytest.raises(GitError, match=r"not in \.gitmodules"):
        export(source(shop.url), "main", target, submodules=True, settings=settings)


def test_a_commit_that_is_not_there_is_told_with_the_submodule(shop_with, target, settings):
    shop = shop_with("../lib.git", commit=b"1" * 40)
    with pytest.raises(RemoteRefused, match="1" * 40) as caught:
        export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert caught.value.details["submodule"] == "vendor/lib"
    assert nothing_left(target)


def test_too_many_submodules_are_refused(make, target, settings):
    lib = make("lib", {"f": b""})
    files = {f"l{number}": (GITLINK, tip(lib)) for number in range(3)}
    entries = {f"l{number}": (f"l{number}", "../lib.git") for number in range(3)}
    shop = make("shop", {**files, ".gitmodules": modules(**entries)})
    few = replace(settings, submodules_most=2)
    with pytest.raises(LimitExceeded, match="submodules_most is 2"):
        export(source(shop.url), "main", target, submodules=True, settings=few)
    assert nothing_left(target)


def test_submodules_that_are_too_deep_are_refused(make, target, settings):
    inner = make("r0", {"f": b""})
    for number in range(1, 4):
        url = f"../r{number - 1}.git"
        inner = make(
            f"r{number}", {"in": (GITLINK, tip(inner)), ".gitmodules": modules(x=("in", url))}
        )
    flat = replace(settings, submodule_depth_most=2)
    with pytest.raises(LimitExceeded, match="submodule_depth_most is 2"):
        export(source(inner.url), "main", target, submodules=True, settings=flat)
    export(source(inner.url), "main", target, submodules=True, settings=settings)
    assert (target / "in/in/in/f").exists()


def test_files_of_submodules_count_towards_the_limits(make, target, settings):
    lib = make("lib", {f"f{number}": b"" for number in range(10)})
    shop = make(
        "shop", {"lib": (GITLINK, tip(lib)), ".gitmodules": modules(x=("lib", "../lib.git"))}
    )
    with pytest.raises(LimitExceeded):
        export(
            source(shop.url),
            "main",
            target,
            submodules=True,
            settings=replace(settings, files_most=8),
        )


def test_an_unsafe_submodule_is_refused(make, target, settings):
    lib = make("lib", {"l": (LINK, b"../a")})
    files = {"a": b"", "lib": (GITLINK, tip(lib)), ".gitmodules": modules(x=("lib", "../lib.git"))}
    with pytest.raises(UnsafeRepository):
        export(source(make("shop", files).url), "main", target, submodules=True, settings=settings)
    assert nothing_left(target)


def test_cancelling_while_submodules_are_fetched_leaves_nothing(shop_with, target, settings):
    cancellation = Cancellation()

    def listen(now):
        if now.phase == "submodules":
            cancellation.cancel()

    with pytest.raises(Cancelled):
        export(
            source(shop_with("../lib.git").url),
            "main",
            target,
            submodules=True,
            progress=listen,
            cancellation=cancellation,
            settings=settings,
        )
    assert nothing_left(target)


def test_a_clone_has_submodules_as_plain_files_and_is_clean(shop_with, target, settings, stock_git):
    shop = shop_with("../lib.git")
    done = clone(source(shop.url), "main", target, submodules=True, settings=settings)
    assert done.submodules == 1
    assert snapshot(target)[b"vendor/lib/lib.txt"] == ("file", b"lib", False)
    assert stock_git("status", "--porcelain", at=target) == ""
