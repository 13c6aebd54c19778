"""Submodules: the right commit from the right URL, and credentials only for the right origin."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from deploycore.errors import Cancelled, GitError, LimitExceeded, RemoteRefused, UnsafeRepository
from deploycore.git import Cancellation, RepositoryCache, clone, export
from deploycore.git.submodules import base_path, find_submodules
from deploycore.git.wire.destination import SubmoduleDestinations
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

    def build(url, commit=None, name="shop"):
        return make(
            name,
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


def test_a_user_name_in_a_submodule_url_is_removed(shop_with, server, target, settings):
    shop = shop_with(
        "http://somebody:else@127.0.0.1:{server}/lib.git".replace("{server}", str(server.port))
    )
    server.credential = f"ada:{SECRET}"
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").exists()


def test_the_credential_is_sent_to_the_same_origin(shop_with, server, target, settings):
    server.credential = f"ada:{SECRET}"
    shop = shop_with("../lib.git")
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "vendor/lib/lib.txt").exists()


def test_another_host_receives_no_credential(make, other_server, target, settings):
    other = make("lib", {"lib.txt": b"lib"}, on=other_server)
    files = {"lib": (GITLINK, tip(other)), ".gitmodules": modules(lib=("lib", other.url))}
    shop = make("shop", files)
    export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert (target / "lib/lib.txt").exists()
    assert {authorisation for _, _, authorisation in other_server.requests} == {None}


def test_nested_submodule_urls_are_relative_to_their_parent(make, other_server, target, settings):
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
def test_forbidden_addresses_are_rejected(shop_with, target, settings, url):
    with pytest.raises(UnsafeRepository, match="vendor/lib") as caught:
        export(source(shop_with(url).url), "main", target, submodules=True, settings=settings)
    assert caught.value.message.isprintable()
    assert nothing_left(target)
    place = source(shop_with("../lib.git", name="corrected").url)
    export(place, "main", target, submodules=True, settings=settings)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".gitmodules": b""},
        {".gitmodules": modules(x=("other", "../lib.git"))},
        {".gitmodules": modules(x=("lib/", "../lib.git"))},
        {".gitmodules": modules(x=("./lib", "../lib.git"))},
        {".gitmodules": b"[submodule]\n\tpath = lib\n\turl = ../lib.git\n"},
    ],
)
def test_a_submodule_without_an_entry_stays_an_empty_directory(make, target, settings, files):
    """As with git clone --recurse-submodules, which does not say so."""
    shop = make("shop", {"a": b"", "lib": (GITLINK, b"1" * 40), **files})
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert snapshot(target)[b"lib"] == ("directory",)
    assert (done.submodules, done.notes) == (
        0,
        ("submodule 'lib' is left out: .gitmodules does not mention it",),
    )


def test_an_entry_without_a_submodule_is_ignored(make, target, settings):
    shop = make("shop", {"a": b"", ".gitmodules": modules(x=("lib", "../nowhere.git"))})
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (done.submodules, done.notes) == (0, ())


@pytest.mark.parametrize("url", ["", "\turl =\n"])
def test_an_entry_without_a_url_is_an_error(make, target, settings, url):
    entry = f'[submodule "x"]\n\tpath = lib\n{url}'.encode()
    shop = make("shop", {"lib": (GITLINK, b"1" * 40), ".gitmodules": entry})
    with pytest.raises(GitError, match=r"'lib' .* has no URL in \.gitmodules"):
        export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert nothing_left(target)
    lib = make("lib", {"f": b""})
    with_url = {"lib": (GITLINK, tip(lib)), ".gitmodules": modules(x=("lib", "../lib.git"))}
    shop.commit(shop.files(with_url))
    export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "lib/f").exists()


HOME = "https://git.example.com"
ENTRY = '[submodule "lib"]\n path = vendor/lib\n url = ../lib.git\n'
# What .gitmodules may look like, and whether git fetches the submodule, leaves it out or fails.
SPELLINGS = [
    (ENTRY, "fetched"),
    (
        ENTRY.upper().replace("VENDOR/LIB", "vendor/lib").replace("../LIB.GIT", "../lib.git"),
        "fetched",
    ),
    (ENTRY.replace("submodule", "Submodule").replace("path", "Path"), "fetched"),
    (ENTRY.replace("\n", "\r\n"), "fetched"),
    ("\ufeff" + ENTRY, "fetched"),
    (
        ENTRY.replace("vendor/lib", '"vendor/lib" ; where').replace("../lib.git", '"../lib.git"'),
        "fetched",
    ),
    (ENTRY.replace("../lib", "../\\\nlib"), "fetched"),
    (ENTRY.replace("]\n", "]"), "fetched"),
    (
        "[core]\n x = 1\n[submodule]\n update = none\n" + ENTRY + " branch = .\n shallow = true\n",
        "fetched",
    ),
    (ENTRY.replace("../lib", "../nope") + " url = ../lib.git\n", "fetched"),
    (ENTRY.replace("vendor/lib", "x") + " path = vendor/lib\n", "fetched"),
    (ENTRY.replace('"lib"', '"a"').replace("../lib", "../nope") + ENTRY, "fetched"),
    (
        '[submodule "lib"]\n path = vendor/lib\n[submodule "Lib"]\n path = x\n url = ../nope.git\n'
        '[SUBMODULE "lib"]\n url = ../lib.git\n',
        "fetched",
    ),
    ('[submodule "Lib"]\n path = vendor/lib\n[submodule "lib"]\n url = ../lib.git\n', "has no URL"),
    (ENTRY + " update = checkout\n", "fetched"),
    (ENTRY + " update = rebase\n", "fetched"),
    (ENTRY + " update = merge\n", "fetched"),
    (ENTRY + " update = none\n update = checkout\n", "fetched"),
    (ENTRY + " update = none\n", "update = none"),
    (ENTRY + " UPDATE = none\n", "update = none"),
    (ENTRY + " update = None\n", "update = 'None'"),
    (ENTRY + " update = !touch owned\n", "update = '!touch owned'"),
    (ENTRY + " update = junk\n", "update = 'junk'"),
    (ENTRY + "[broken\n", "cannot be read"),
]


@pytest.mark.parametrize(("content", "outcome"), SPELLINGS)
def test_gitmodules_is_parsed_as_in_git(content, outcome):
    top, notes = source(f"{HOME}/shop.git"), []

    def find():
        allowed = SubmoduleDestinations(top, lambda host: ["203.0.114.7"])
        links, files = {b"vendor/lib": b"1" * 20}, {b".gitmodules": content.encode()}
        return find_submodules(
            links, files.get, top, allowed, prefix=b"", depth=1, note=notes.append
        )

    if outcome == "fetched":
        assert [each.source.url for each in find()] == [f"{HOME}/lib.git"]
        assert notes == []
    elif outcome == "update = none":
        assert find() == []
        assert notes == ["submodule 'vendor/lib' is left out: it has update = none in .gitmodules"]
    else:
        with pytest.raises(GitError, match=re.escape(outcome)) as caught:
            find()
        if "update" in outcome:
            assert "replace its value with checkout or none" in caught.value.hint
            content = content.replace(outcome.partition(" = ")[2].strip("'"), "checkout")
            assert find()


def test_a_submodule_with_update_none_is_not_fetched(shop_with, server, target, settings):
    shop = shop_with("../lib.git\n\tupdate = none")
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert snapshot(target)[b"vendor/lib"] == ("directory",)
    assert done.submodules == 0
    assert not [path for _, path, _ in server.requests if path.startswith("/lib")]


# The URL of a submodule, where the repository above is at https://git.example.com/scm/acme/shop.git
# and is known as acme/shop; and where it is fetched from.
REWRITTEN = [
    ("git@git.example.com:acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("git@git.example.com:/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("git.example.com:acme/lib", f"{HOME}/scm/acme/lib"),
    ("git@GIT.Example.COM:acme/deep/lib.git", f"{HOME}/scm/acme/deep/lib.git"),
    ("ssh://git@git.example.com/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("ssh://git@git.example.com:7999/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("ssh://git.example.com/acme/lib.git/", f"{HOME}/scm/acme/lib.git/"),
    ("git+ssh://git@git.example.com/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("ssh://git@ssh.git.example.com:443/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("git@altssh.git.example.com:acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("git@git.example.com:acme/a b?c#d.git", f"{HOME}/scm/acme/a%20b%3Fc%23d.git"),
    ("git://git.example.com/scm/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("http://git.example.com/scm/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
    ("http://git.example.com:80/scm/acme/lib.git", f"{HOME}/scm/acme/lib.git"),
]
NOT_REWRITTEN = [
    "git@other.example.com:acme/lib.git",
    "git@evil-git.example.com:acme/lib.git",
    "git@git.example.com.evil.org:acme/lib.git",
    "ssh://git@other.example.com/acme/lib.git",
    "ssh://git.example.com@evil.org/acme/lib.git",
    "git://other.example.com/acme/lib.git",
    "http://other.example.com/acme/lib.git",
    "http://git.example.com:8080/acme/lib.git",
    "git@git.example.com:",
    "git@git.example.com:-oProxyCommand=touch owned",
    "ssh://git@git.example.com",
    "ssh://-oProxyCommand=touch@git.example.com:x/y",
    "ext::ssh git@git.example.com acme/lib",
]


def found_at(url, base="scm/"):
    notes = []
    top = source(f"{HOME}/scm/acme/shop.git", secret=SECRET)
    found = find_submodules(
        {b"lib": b"1" * 20},
        lambda path: modules(x=("lib", f'"{url}"')),
        top,
        SubmoduleDestinations(top, lambda host: ["203.0.114.7"]),
        prefix=b"",
        depth=1,
        base=base,
        note=notes.append,
    )
    return found[0].source, notes


@pytest.mark.parametrize(("url", "expected"), REWRITTEN)
def test_other_address_forms_of_the_own_host_are_fetched_over_https(url, expected):
    found, notes = found_at(url)
    assert found.url == expected
    assert found.credential is not None
    assert notes == [f"submodule 'lib' is fetched from {expected} instead of {url}"]


@pytest.mark.parametrize("url", NOT_REWRITTEN)
def test_other_address_forms_of_other_hosts_are_rejected(url):
    with pytest.raises(UnsafeRepository):
        found_at(url)


def test_the_base_url_of_a_host_is_derived_from_the_parent_repository():
    assert found_at("git@git.example.com:acme/lib.git", base="")[0].url == f"{HOME}/acme/lib.git"


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("https://h/acme/shop.git", "acme/shop", ""),
        ("https://h/scm/acme/shop.git", "acme/shop", "scm/"),
        ("https://h/a/b%20c/acme/shop", "acme/shop", "a/b%20c/"),
        ("https://h/acme/web/shop.git", "acme/web/shop", ""),
        ("https://h/acme%2Fweb/shop.git", "acme/web/shop", ""),
        ("https://h/xacme/shop.git", "acme/shop", ""),
        ("https://h/1234.git", "acme/shop", ""),
        ("https://h/scm/acme/shop.git", "", ""),
    ],
)
def test_the_base_path_of_a_host_is_derived_from_a_repository_url(url, name, expected):
    assert base_path(url, name) == expected


def test_an_ssh_submodule_on_the_own_host_is_fetched(shop_with, server, target, settings):
    server.credential = f"ada:{SECRET}"
    shop = shop_with("git@127.0.0.1:lib.git")
    done = export(
        source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings
    )
    assert (target / "vendor/lib/lib.txt").exists()
    assert done.notes == (
        f"submodule 'vendor/lib' is fetched from {server.origin}/lib.git instead of"
        " git@127.0.0.1:lib.git",
    )


def redirecting(server, location, status="301 Moved"):
    """Redirects the address without .git, as hosts do."""

    def interfere(environ, start_response):
        if "/lib.git/" in environ["PATH_INFO"] or "/lib" not in environ["PATH_INFO"]:
            return None
        start_response(status, [("Location", location.format(origin=server.origin))])
        return [b""]

    server.interfere = interfere


QUESTION = "info/refs?service=git-upload-pack"


@pytest.mark.parametrize(
    ("status", "location", "cached"),
    [
        *(
            (status, f"{{origin}}/lib.git/{QUESTION}", False)
            for status in (301, 302, 303, 307, 308)
        ),
        (301, f"/lib.git/{QUESTION}", False),
        (301, f"../../lib.git/{QUESTION}", False),
        (301, f"/lib.git/{QUESTION}", True),
    ],
)
def test_a_redirect_within_the_origin_is_followed(
    shop_with, server, target, settings, tmp_path, location, status, cached
):
    server.credential = f"ada:{SECRET}"
    shop = shop_with("../lib")
    redirecting(server, location, f"{status} Moved")
    cache = RepositoryCache(tmp_path / "cache") if cached else None
    options = {"submodules": True, "settings": settings, "cache": cache}
    for number in range(2):
        place = target.with_name(f"target{number}")
        done = export(source(shop.url, secret=SECRET), "main", place, **options)
        assert (place / "vendor/lib/lib.txt").exists()
    if not cached:
        assert done.notes == (f"{server.origin}/lib redirects to {server.origin}/lib.git",)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/login",
        "/lib.git",
        "/lib.git/info/refs",
        "/lib.git/info/refs?service=git-receive-pack",
        f"/x?lib.git/{QUESTION}",
        f"/lib/{QUESTION}",
        f"{{other}}/lib.git/{QUESTION}",
        f"https://127.0.0.1/lib.git/{QUESTION}",
        f"http://user@127.0.0.1/lib.git/{QUESTION}",
        "http://[/",
        "file:///etc/passwd",
    ],
)
def test_other_redirects_are_not_followed(
    shop_with, server, other_server, target, settings, location
):
    shop = shop_with("../lib")
    redirecting(server, location.replace("{other}", other_server.origin))
    with pytest.raises(RemoteRefused, match="redirects to") as caught:
        export(source(shop.url, secret=SECRET), "main", target, submodules=True, settings=settings)
    assert other_server.requests == []
    assert len([path for _, path, _ in server.requests if path.startswith("/lib")]) < 6
    assert "service=" not in caught.value.message
    assert nothing_left(target)
    server.interfere = None
    place = source(shop_with("../lib.git", name="moved").url)
    export(place, "main", target, submodules=True, settings=settings)


def test_a_repository_with_more_than_a_hundred_submodules_is_deployed(make, target, settings):
    lib = make("lib", {"f": b""})
    names = [f"l{number}" for number in range(172)]
    entries = {name: (name, "../lib.git") for name in names}
    files = {name: (GITLINK, tip(lib)) for name in names}
    shop = make("shop", {**files, ".gitmodules": modules(**entries)})
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert done.submodules == 172


@pytest.mark.parametrize("content", [b"[submodule", b"\x00\xff", b"path = x\n"])
def test_a_malformed_gitmodules_is_an_error(make, target, settings, content):
    shop = make("shop", {"lib": (GITLINK, b"1" * 40), ".gitmodules": content})
    with pytest.raises(GitError, match="gitmodules"):
        export(source(shop.url), "main", target, submodules=True, settings=settings)
    export(source(shop.url), "main", target.with_name("without"), settings=settings)
    lib = make("lib", {"f": b""})
    corrected = {"lib": (GITLINK, tip(lib)), ".gitmodules": modules(x=("lib", "../lib.git"))}
    shop.commit(shop.files(corrected))
    export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "lib/f").exists()


def test_includes_in_gitmodules_are_not_read(make, target, settings, tmp_path):
    (tmp_path / "included").write_bytes(modules(x=("lib", "https://127.0.0.1:9/lib.git")))
    including = f"[include]\n\tpath = {tmp_path}/included\n".encode()
    shop = make("shop", {"lib": (GITLINK, b"1" * 40), ".gitmodules": including})
    done = export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert done.notes == ("submodule 'lib' is left out: .gitmodules does not mention it",)


def test_a_missing_commit_is_reported_with_its_submodule(shop_with, target, settings):
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
    few = replace(settings, max_submodules=2)
    with pytest.raises(LimitExceeded, match="more than 2"):
        export(source(shop.url), "main", target, submodules=True, settings=few)
    assert nothing_left(target)
    export(source(shop.url), "main", target, submodules=True, settings=settings)
    assert (target / "l2/f").exists()


def test_submodules_that_are_too_deep_are_refused(make, target, settings):
    inner = make("r0", {"f": b""})
    for number in range(1, 4):
        url = f"../r{number - 1}.git"
        inner = make(
            f"r{number}", {"in": (GITLINK, tip(inner)), ".gitmodules": modules(x=("in", url))}
        )
    flat = replace(settings, max_submodule_depth=2)
    with pytest.raises(LimitExceeded, match="more than 2 submodules"):
        export(source(inner.url), "main", target, submodules=True, settings=flat)
    export(source(inner.url), "main", target, submodules=True, settings=settings)
    assert (target / "in/in/in/f").exists()


def test_files_of_submodules_count_toward_the_limits(make, target, settings):
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
            settings=replace(settings, max_files=8),
        )


def test_an_unsafe_submodule_is_refused(make, target, settings):
    lib = make("lib", {"l": (LINK, b"../a")})
    files = {"a": b"", "lib": (GITLINK, tip(lib)), ".gitmodules": modules(x=("lib", "../lib.git"))}
    with pytest.raises(UnsafeRepository):
        export(source(make("shop", files).url), "main", target, submodules=True, settings=settings)
    assert nothing_left(target)


def test_cancellation_during_a_submodule_fetch_leaves_nothing_behind(shop_with, target, settings):
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
